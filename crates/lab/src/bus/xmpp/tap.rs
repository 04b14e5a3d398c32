//! A way to an XMPP server on which every message that passes is read along, both ways.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use slackwater_bus::xmpp::parser::{Item, Parser};
use slackwater_bus::xmpp::stanza::{self, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::server::HOST;

/// The largest stanza that is read, bytes.
const LARGEST: usize = 16 << 20;

/// What has passed, in its order.
#[derive(Debug, Default)]
pub struct Passed {
    /// Towards the server.
    pub out: Vec<Message>,
    /// From the server.
    pub back: Vec<Message>,
}

/// A running one; it ends when it is dropped.
#[derive(Debug)]
pub struct Tap {
    port: u16,
    passed: Arc<Mutex<Passed>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Out,
    Back,
}

impl Tap {
    /// Leads to the server at this port.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((HOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let passed = Arc::<Mutex<Passed>>::default();
        let task = tokio::spawn(accept(listener, server, Arc::clone(&passed)));
        Ok(Self { port, passed, task })
    }

    /// The port that leads to the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All that has passed so far: once whoever used it has ended, all there is.
    #[must_use]
    pub fn take(&self) -> Passed {
        std::mem::take(&mut *self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: u16, passed: Arc<Mutex<Passed>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect((HOST, server)).await else { continue };
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let ((client_reads, client_writes), (server_reads, server_writes)) =
            (client.into_split(), server.into_split());
        connections.spawn(carry(client_reads, server_writes, Way::Out, Arc::clone(&passed)));
        connections.spawn(carry(server_reads, client_writes, Way::Back, Arc::clone(&passed)));
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    passed: Arc<Mutex<Passed>>,
) {
    let (mut parser, mut bytes) = (Parser::new(LARGEST), vec![0; 64 * 1024]);
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let piece = &bytes[..length];
        // A stream that begins again, as it does behind a login.
        if piece.starts_with(b"<?xml") {
            parser = Parser::new(LARGEST);
        }
        let mut items = Vec::new();
        if let Err(error) = parser.feed(piece, &mut items) {
            tracing::warn!(%error, ?way, "what passes is not XMPP");
        }
        {
            let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
            let stanzas = items.into_iter().filter_map(|item| match item {
                Item::Stanza(stanza) => stanza::read(stanza),
                Item::Opened(_) | Item::TooLarge(_) | Item::Closed => None,
            });
            match way {
                Way::Out => passed.out.extend(stanzas),
                Way::Back => passed.back.extend(stanzas),
            }
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}
