//! An echo server on the gateway's own front: what conformance suites are run against.

use std::sync::Arc;
use std::time::Duration;

use slackwater::front::websocket::{Binary, Event, Settings as WebSocketSettings};
use slackwater::front::{Arrival, Client, Denied, Handler, Settings, WebSocket};

/// Sends text back as text and binary as binary.
#[derive(Debug)]
pub struct Echo;

/// Largest message that is sent back, in bytes.
pub const MAX_MESSAGE: usize = 16 << 20;

/// How long a client that takes nothing more, or has been sent our Close, is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everybody may connect, at any path.
#[must_use]
pub fn settings() -> Settings {
    Settings {
        rules: slackwater::front::handshake::Rules::default(),
        health_path: None,
        proxies: Default::default(),
        quota: Default::default(),
        handshake_timeout: Duration::from_secs(10),
        reverse_lookup: false,
        tls: None,
        upgrade_headers: Vec::new(),
        other_headers: Vec::new(),
        websocket: WebSocketSettings {
            max_message: MAX_MESSAGE,
            binary: Binary::Kept,
            compress_from: Some(1),
        },
    }
}

impl Handler for Echo {
    type Permit = ();

    fn admit(&self, _arrival: Arrival<'_>) -> Result<(), Denied> {
        Ok(())
    }

    fn health(&self, _probe: slackwater::operate::readiness::Probe) -> (http::StatusCode, String) {
        (http::StatusCode::OK, "ok".to_owned())
    }

    fn connected(self: Arc<Self>, client: Client<()>) -> impl Future<Output = ()> + Send + 'static {
        let Client { websocket, .. } = client;
        echo(websocket)
    }
}

async fn echo(mut websocket: WebSocket) {
    let mut ending = false;
    loop {
        let event = if ending {
            tokio::time::timeout(PATIENCE, websocket.next()).await
        } else {
            Ok(websocket.next().await)
        };
        let mut sent = false;
        match event {
            Ok(Ok(Event::Text(text))) => sent = websocket.send(text),
            Ok(Ok(Event::Binary(payload))) => sent = websocket.send_binary(payload),
            Ok(Ok(Event::Close { .. } | Event::Violation { .. })) => {
                ending = true;
                websocket.finish();
            }
            Ok(Ok(Event::Ping | Event::Pong(_) | Event::Partial | Event::Written)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        if sent {
            // One message at a time: the next is read when this one is written.
            let written = tokio::time::timeout(PATIENCE, websocket.written()).await;
            let Ok(Ok(_)) = written else { return };
        }
    }
}
