//! The control socket and the admin server: HTTP/1.1 with JSON, for `slackwater drain` and for
//! curl.
//!
//! The law: nobody who connects here can hold the gateway. Connections are counted, a request
//! has ten seconds from connect to answer, and who follows `/events` must read them.

mod events;
mod guard;
mod routes;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use events::Progress;
pub use guard::{Kept, Key, check as may_operate};
pub use routes::{PageAddress, drain_request, selection};
pub use socket::{ControlSocket, SocketError};
pub(crate) use socket::{is_live, is_private};

use self::routes::{Conversation, Scope};
use super::status::Operations;

/// A server that runs until [`Self::finish`].
#[derive(Debug)]
pub struct Server {
    ending: CancellationToken,
    tasks: TaskTracker,
}

/// Connections at a time, in each server.
const MOST_CONNECTIONS: usize = 32;

/// From connect to the last byte of the answer, events apart.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long [`Server::finish`] waits for the last events to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long accepting pauses when the process is out of descriptors or memory.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_secs(1);

impl Server {
    /// Serves everything on the control socket; `page` is where an operator's browser finds the
    /// admin port's page, with its key, if there is one.
    pub fn control(
        socket: ControlSocket,
        operations: Arc<dyn Operations>,
        page: Option<String>,
    ) -> Self {
        Self::start(
            operations,
            Scope::Control { page: page.map(Into::into) },
            move |server| async move {
                loop {
                    let accepted = socket.listener().accept().await;
                    server.admit(accepted.map(|(stream, _)| (stream, true))).await;
                }
            },
        )
    }

    /// Serves the page and what it needs, metrics and what balancers ask on a TCP port: to look to
    /// everybody, to operate to who has the key.
    pub fn admin(listener: TcpListener, operations: Arc<dyn Operations>, key: Key) -> Self {
        Self::start(operations, Scope::Admin(Arc::new(key)), move |server| async move {
            let is_local = |peer: SocketAddr| peer.ip().to_canonical().is_loopback();
            loop {
                let accepted = listener.accept().await;
                let accepted = accepted.map(|(stream, peer)| (stream, is_local(peer)));
                server.admit(accepted).await;
            }
        })
    }

    /// Stops accepting, sends whoever follows `/events` the last one, and returns when all have
    /// read it, or after two seconds. The [`Operations`] must still answer meanwhile; they are
    /// asked for that last event.
    pub async fn finish(self) {
        self.ending.cancel();
        self.tasks.close();
        if tokio::time::timeout(LAST_WORDS, self.tasks.wait()).await.is_err() {
            tracing::debug!("a reader of /events did not take its last event");
        }
    }

    fn start<F: Future<Output = std::convert::Infallible> + Send + 'static>(
        operations: Arc<dyn Operations>,
        scope: Scope,
        accepting: impl FnOnce(Acceptor) -> F,
    ) -> Self {
        let server = Self { ending: CancellationToken::new(), tasks: TaskTracker::new() };
        let accepting = accepting(Acceptor {
            places: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            conversation: Conversation {
                operations,
                scope,
                is_local: false,
                ending: server.ending.clone(),
            },
            tasks: server.tasks.clone(),
        });
        let ending = server.ending.clone();
        server.tasks.spawn(async move { ending.run_until_cancelled(accepting).await });
        server
    }
}

/// What the accept loop of a server needs.
struct Acceptor {
    places: Arc<Semaphore>,
    conversation: Conversation,
    tasks: TaskTracker,
}

impl Acceptor {
    /// Serves a connection, which may be one from this machine, once there is a place for it; until then the next ones wait in the
    /// kernel's queue.
    async fn admit<S>(&self, accepted: io::Result<(S, bool)>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, is_local) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "control connection not accepted");
                tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
                return;
            }
        };
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
        let conversation = Conversation { is_local, ..self.conversation.clone() };
        self.tasks.spawn(async move {
            converse(stream, conversation).await;
            drop(place);
        });
    }
}

/// One connection, which carries one request.
async fn converse<S>(stream: S, conversation: Conversation)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let following = events::Following::default();
    let service = service_fn(|request| {
        let (conversation, following) = (conversation.clone(), following.clone());
        async move { Ok::<_, std::convert::Infallible>(conversation.answer(request, following).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = following.overdue(PATIENCE) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "control connection ended early");
    }
}
