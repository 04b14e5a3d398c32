//! The front: everything between a listening socket and a WebSocket message.
//!
//! Law: a client reaches its [`Handler`] with its handshake done and nothing lost, one task and
//! one descriptor each; and once [`Front::refuse`] has returned, no new one does.
//!
//! The way in: [`listener`] accepts, `http` reads one request, [`handshake`] judges it,
//! [`websocket`] speaks from there on.

use std::future::Future;
use std::io;
use std::sync::Arc;

use ::http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::operate::readiness::Probe;

mod accept;
pub mod access;
pub mod address;
pub mod handshake;
mod http;
pub mod inherited;
pub mod listener;
pub mod origin;
pub(crate) mod page;
pub mod proxy_header;
pub mod quota;
pub mod stream;
pub mod tls;
pub mod websocket;

pub use self::access::Access;
pub use self::address::{ClientAddress, ClientHeader, Proxies};
pub use self::http::{Answer, Body, Settings};
pub(crate) use self::http::{page, text};
pub use self::inherited::Inherited;
pub use self::listener::{ListenAddress, ListenError, Listener};
pub(crate) use self::page::Page;
pub use self::quota::Quota;
pub use self::stream::Stream;
pub use self::tls::Tls;
pub use self::websocket::WebSocket;

/// Whom the clients are handed to.
pub trait Handler: Send + Sync + 'static {
    /// Held for as long as a client is connected.
    type Permit: Send + Sync + 'static;

    /// Reserves a place for one more client, whose handshake is good and not answered yet.
    ///
    /// # Errors
    /// There is none: the handshake is answered so.
    fn admit(&self, arrival: Arrival<'_>) -> Result<Self::Permit, Denied>;

    /// Answers a load balancer, while the front serves.
    fn health(&self, probe: Probe) -> (StatusCode, String);

    /// Whether requests that ask for no WebSocket are answered by [`serve`](Self::serve), and not
    /// by the front's own page.
    fn serves(&self) -> bool {
        false
    }

    /// Answers a request that asks for no WebSocket.
    fn serve(
        &self,
        request: Request<Incoming>,
        client: ClientAddress,
    ) -> impl Future<Output = Answer> + Send {
        let _unread = (request, client);
        std::future::ready(text(StatusCode::NOT_FOUND, "nothing here"))
    }

    /// A client is there. The body of this function runs before [`Front::refuse`] can return; the
    /// future is spawned as the client's task, and the connection ends with it.
    fn connected(
        self: Arc<Self>,
        client: Client<Self::Permit>,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// Somebody whose handshake is good.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The head of the handshake.
    pub request: &'a ::http::request::Parts,
    /// Who it is, as far as we can know.
    pub client: ClientAddress,
    /// The name of its host, if that was looked for and found.
    pub host: Option<&'a str>,
}

/// Why there is no place for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The status that says so; 503 goes with `Retry-After`.
    pub status: StatusCode,
    /// The same in words.
    pub why: &'static str,
}

impl Denied {
    /// No further client is taken now.
    pub const FULL: Self =
        Self { status: StatusCode::SERVICE_UNAVAILABLE, why: "this server is full" };
}

/// A client whose handshake is done.
#[derive(Debug)]
pub struct Client<P> {
    /// Its WebSocket.
    pub websocket: WebSocket,
    /// Who it is, as far as we can know.
    pub address: ClientAddress,
    /// Its place.
    pub permit: P,
}

/// What becomes of listening sockets that are not ours to shut, when the front refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The process stays: they are answered 503.
    Stay,
    /// The process is ending: their queue is left to whoever listens there next. Who was accepted
    /// from them just before is still served, since he would not be refused there either.
    Leave,
}

/// The running front. Dropping it stops the accept loops and closes the listening sockets.
#[derive(Debug)]
pub struct Front {
    gate: watch::Sender<Order>,
    settings: watch::Sender<Arc<Settings>>,
    undecided: TaskTracker,
    loops: Vec<watch::Receiver<Obeyed>>,
    addresses: Vec<ListenAddress>,
    tasks: JoinSet<()>,
}

/// What the gate tells the accept loops and the handshakes under way.
#[derive(Debug, Clone, Copy)]
struct Order {
    /// Grows with every order, so that one can wait for its own to be obeyed.
    number: u64,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Serving,
    Refusing(Then),
}

impl Order {
    fn refuses(&self) -> bool {
        match self.mode {
            Mode::Serving => false,
            Mode::Refusing(_) => true,
        }
    }

    /// Whether those who come from an inherited socket go to whoever listens there next.
    fn leaves(&self) -> bool {
        match self.mode {
            Mode::Serving | Mode::Refusing(Then::Stay) => false,
            Mode::Refusing(Then::Leave) => true,
        }
    }
}

/// The last order that an accept loop has carried out, and how that went.
#[derive(Debug)]
struct Obeyed {
    number: u64,
    result: io::Result<()>,
}

/// What all accept loops and handshakes share.
#[derive(Debug)]
struct Shared<H> {
    /// Each connection goes by what this is when it is accepted.
    settings: watch::Receiver<Arc<Settings>>,
    handler: Arc<H>,
    gate: watch::Receiver<Order>,
    /// What each client address has taken of the places.
    taken: Arc<quota::Taken>,
    /// Connections accepted while serving that are neither clients nor answered yet. Always
    /// closed, which means only that one can wait for it to be empty.
    undecided: TaskTracker,
}

impl Front {
    /// Begins to accept.
    pub fn start<H: Handler>(
        listeners: Vec<Listener>,
        settings: Settings,
        handler: Arc<H>,
    ) -> Self {
        let (gate, orders) = watch::channel(Order { number: 0, mode: Mode::Serving });
        let undecided = TaskTracker::new();
        undecided.close();
        let (settings, current) = watch::channel(Arc::new(settings));
        let shared = Arc::new(Shared {
            settings: current,
            handler,
            gate: orders,
            taken: Arc::default(),
            undecided: undecided.clone(),
        });
        let addresses = listeners.iter().map(|listener| listener.address().clone()).collect();
        let mut tasks = JoinSet::new();
        let loops = listeners
            .into_iter()
            .map(|listener| {
                let (report, obeyed) = watch::channel(Obeyed { number: 0, result: Ok(()) });
                tasks.spawn(accept::run(listener, Arc::clone(&shared), report));
                obeyed
            })
            .collect();
        Self { gate, settings, undecided, loops, addresses, tasks }
    }

    /// Where it listens, with the ports that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Who is accepted from now on is let in by these.
    pub fn configure(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// Takes no new clients. Whoever waits in a queue or is in the middle of a handshake is
    /// answered 503; then the sockets are shut, so that further connects are refused, except
    /// those that are to answer 503 for good ([`Listener`]). When this returns, every handshake
    /// has been answered and every client that was admitted has been handed over.
    ///
    /// # Errors
    /// A socket could not be shut; the others are.
    pub async fn refuse(&self, then: Then) -> io::Result<()> {
        let number = self.order(Mode::Refusing(then));
        let result = self.obeyed(number).await;
        let mut gate = self.gate.subscribe();
        tokio::select! {
            () = self.undecided.wait() => {}
            // Another order came; there is nothing to wait for any more.
            _ = gate.wait_for(|order| order.number != number) => {}
        }
        result
    }

    /// Takes new clients again, on the same addresses.
    ///
    /// # Errors
    /// A socket could not listen again, since somebody took its address; the others do.
    pub async fn reopen(&self) -> io::Result<()> {
        self.obeyed(self.order(Mode::Serving)).await
    }

    /// Ends the accept loops and closes the sockets; the files of unix sockets are removed.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }

    fn order(&self, mode: Mode) -> u64 {
        let mut number = 0;
        self.gate.send_modify(|order| {
            order.number += 1;
            order.mode = mode;
            number = order.number;
        });
        number
    }

    async fn obeyed(&self, number: u64) -> io::Result<()> {
        let mut first_failure = Ok(());
        for obeyed in &self.loops {
            let mut obeyed = obeyed.clone();
            let result = match obeyed.wait_for(|obeyed| obeyed.number >= number).await {
                Ok(obeyed) => match &obeyed.result {
                    Ok(()) => Ok(()),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                },
                Err(_ended) => Err(io::Error::other("the accept loop has ended")),
            };
            first_failure = first_failure.and(result);
        }
        first_failure
    }
}
