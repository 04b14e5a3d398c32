//! The front as clients see it: raw bytes over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::StatusCode;
use slackwater::front::listener::Refusal;
use slackwater::front::websocket::{Binary, Event, Settings as WebSocketSettings};
use slackwater::front::{
    Access, Arrival, Client, Denied, Front, Handler, ListenAddress, Listener, Settings, handshake,
};
use slackwater::operate::readiness::Probe;

mod descriptors;
mod gate;
mod http;
mod unix;

/// Tells each client its address, and then echoes.
struct Greeter {
    places: AtomicUsize,
}

impl Greeter {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places: places.into() })
    }
}

impl Handler for Greeter {
    type Permit = ();

    fn admit(&self, _arrival: Arrival<'_>) -> Result<(), Denied> {
        let take = |places: usize| places.checked_sub(1);
        let taken = self.places.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        taken.map(drop).map_err(|_| Denied::FULL)
    }

    fn health(&self, probe: Probe) -> (StatusCode, String) {
        match probe {
            Probe::Live => (StatusCode::OK, "ok".to_owned()),
            Probe::Ready => (StatusCode::NOT_FOUND, "draining".to_owned()),
        }
    }

    fn connected(self: Arc<Self>, client: Client<()>) -> impl Future<Output = ()> + Send + 'static {
        let Client { mut websocket, address, .. } = client;
        async move {
            websocket.send(address.to_string());
            loop {
                match websocket.next().await {
                    Ok(Event::Text(text)) => drop(websocket.send(text)),
                    Ok(Event::Close { .. } | Event::Violation { .. }) => websocket.finish(),
                    Ok(
                        Event::Binary(_)
                        | Event::Ping
                        | Event::Partial
                        | Event::Pong(_)
                        | Event::Written,
                    ) => {}
                    Err(_) => return,
                }
            }
        }
    }
}

fn settings() -> Settings {
    Settings {
        rules: handshake::Rules::default(),
        health_path: None,
        proxies: Default::default(),
        quota: Default::default(),
        handshake_timeout: Duration::from_secs(10),
        reverse_lookup: false,
        tls: None,
        upgrade_headers: Vec::new(),
        other_headers: Vec::new(),
        websocket: WebSocketSettings {
            max_message: 1 << 20,
            binary: Binary::TextIfUtf8,
            compress_from: None,
        },
    }
}

/// A front on a port of the kernel's choice.
fn start(settings: Settings) -> (Front, SocketAddr) {
    start_with(settings, Refusal::Shut, usize::MAX)
}

fn start_with(settings: Settings, refusal: Refusal, places: usize) -> (Front, SocketAddr) {
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let listener = Listener::bind(any, refusal, &Access::default()).unwrap();
    let front = Front::start(vec![listener], settings, Greeter::new(places));
    let ListenAddress::Tcp(address) = front.addresses()[0].clone() else { unreachable!() };
    (front, address)
}
