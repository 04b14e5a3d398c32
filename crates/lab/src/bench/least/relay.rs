//! The least that can stand between a WebSocket and the bus: it copies bytes from one to the other
//! and knows nothing of what they say. What any gateway must cost at least.
//!
//! Law: nothing is shared. Each client has a task and connections to the bus of its own, so
//! that no message goes from one task to another.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

use super::resp::{self, Reply};
use super::{text, xmpp};
use crate::bus::{Account, Kind};

/// Relays until it cannot accept any more. Tells `ready` where it listens.
///
/// # Errors
/// It cannot listen.
pub async fn serve(
    account: Account,
    router: &str,
    listen: SocketAddr,
    ready: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    ready(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (account, router) = (account.clone(), router.to_owned());
        tokio::spawn(async move {
            if let Err(error) = relay(stream, &account, &router).await {
                tracing::debug!(%error, "a client's relay has ended");
            }
        });
    }
}

async fn relay(stream: TcpStream, account: &Account, router: &str) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    stream.set_nodelay(true)?;
    let accepted = ServerBuilder::new().accept(stream).await;
    let (_, client) = accepted.map_err(io::Error::other)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    match account.bus {
        Kind::Redis => relay_to_redis(client, account, router, number).await,
        Kind::Xmpp => relay_to_xmpp(client, account, router, number).await,
    }
}

async fn relay_to_xmpp(
    mut client: WebSocketStream<TcpStream>,
    account: &Account,
    router: &str,
    number: u64,
) -> io::Result<()> {
    let (account, resource) = (account.clone(), text::resource("relay", number));
    let domain = account.domain.clone();
    let connecting = tokio::task::spawn_blocking(move || xmpp::Wire::connect(&account, &resource));
    let wire = connecting.await??.stream;
    wire.set_nonblocking(true)?;
    let (mut stream, mut unread) = (TcpStream::from_std(wire)?, BytesMut::new());
    loop {
        if let Some((stanza, length)) = xmpp::read(&unread) {
            unread.advance(length);
            let (thread, messages) = (stanza.thread, stanza.body);
            let frame = format!(r#"{{"thread":"{thread}","osrf_msg":{messages}}}"#);
            client.send(Message::text(frame)).await.map_err(io::Error::other)?;
            continue;
        }
        tokio::select! {
            message = client.next() => {
                let Some(Ok(message)) = message else { return Ok(()) };
                let Some(sent) = message.as_text() else { continue };
                let part = |begin, end| text::between(sent, begin, end).unwrap_or_default();
                let service = part("\"service\":\"", "\"");
                let thread = part("\"thread\":\"", "\"");
                let messages = text::last_field(sent, "\"osrf_msg\":").unwrap_or_default();
                let to = format!("{router}@{domain}/{service}");
                let stanza = xmpp::message(&to, "", thread, messages);
                stream.write_all(stanza.as_bytes()).await?;
            }
            read = stream.read_buf(&mut unread) => {
                if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

async fn relay_to_redis(
    mut client: WebSocketStream<TcpStream>,
    account: &Account,
    router: &str,
    number: u64,
) -> io::Result<()> {
    let router = &format!("opensrf:router:{router}:{}", account.domain);
    let address = text::address(account, "relay", number);
    let mut pushing = Bus::connect(account).await?;
    let mut waiting = Bus::connect(account).await?;
    let mut wait = Vec::new();
    resp::write(&mut wait, &[b"BLPOP", address.as_bytes(), b"1"]);
    waiting.stream.write_all(&wait).await?;
    loop {
        tokio::select! {
            message = client.next() => {
                let Some(Ok(message)) = message else { return Ok(()) };
                if let Some(sent) = message.as_text().and_then(|sent| envelope(sent, &address)) {
                    pushing.forget_answers();
                    let mut push = Vec::new();
                    resp::write(&mut push, &[b"RPUSH", router.as_bytes(), sent.as_bytes()]);
                    pushing.stream.write_all(&push).await?;
                }
            }
            reply = waiting.reply() => {
                let popped = reply?.popped();
                // The client first: its answer need not wait for our next question.
                if let Some(popped) = popped.and_then(|popped| String::from_utf8(popped).ok()) {
                    copy(&mut client, &popped).await?;
                }
                waiting.stream.write_all(&wait).await?;
            }
        }
    }
}

fn envelope(sent: &str, from: &str) -> Option<String> {
    let service = text::between(sent, "\"service\":\"", "\"")?;
    let thread = text::between(sent, "\"thread\":\"", "\"")?;
    let messages = text::last_field(sent, "\"osrf_msg\":")?;
    Some(text::envelope(&text::any_worker_of(service), from, thread, text::XID, messages))
}

async fn copy(client: &mut WebSocketStream<TcpStream>, popped: &str) -> io::Result<()> {
    let thread = text::between(popped, "\"thread\":\"", "\"").unwrap_or_default();
    let messages = text::last_field(popped, "\"body\":").unwrap_or_default();
    let frame = format!(r#"{{"thread":"{thread}","osrf_msg":{messages}}}"#);
    client.send(Message::text(frame)).await.map_err(io::Error::other)
}

/// A connection to Redis.
struct Bus {
    stream: TcpStream,
    unread: BytesMut,
}

impl Bus {
    async fn connect(account: &Account) -> io::Result<Self> {
        let stream = TcpStream::connect((account.domain.as_str(), account.port)).await?;
        stream.set_nodelay(true)?;
        let mut bus = Self { stream, unread: BytesMut::new() };
        bus.stream.write_all(&resp::login(account)).await?;
        bus.reply().await?;
        Ok(bus)
    }

    /// The next answer. Cancel-safe.
    async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some((reply, length)) = resp::read(&self.unread)? {
                self.unread.advance(length);
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Throws away what Redis says of the pushes so far.
    fn forget_answers(&mut self) {
        // Nothing there, or the end, which the next push will notice.
        drop(self.stream.try_read(&mut [0; 1024]));
    }
}
