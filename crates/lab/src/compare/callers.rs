//! The clients: one that speaks to the bus itself, as OpenSRF's own do, and one on a WebSocket. Each
//! blocks in one system call while it waits, and sends a call in one write.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::resp::Wire;
use super::{text, xmpp};
use crate::bus::{Account, Kind};
use crate::raw::{frame, handshake, opcode};

/// How calls are made.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// Straight to the router.
    Bus { account: Account, router: String },
    /// Through whatever listens there.
    WebSocket(SocketAddr),
}

/// One client: it makes one call after the other.
pub(super) trait Caller: Send {
    /// A call of `service` from beginning to end.
    fn call(&mut self, service: &str) -> io::Result<()>;
}

impl Way {
    /// Connects a client with a number of its own.
    pub(super) fn connect(&self, number: u64) -> io::Result<Box<dyn Caller>> {
        Ok(match self {
            Self::Bus { account, router } if account.bus == Kind::Xmpp => Box::new(OnXmpp {
                wire: xmpp::Wire::connect(account, &text::resource("bare", number))?,
                router: format!("{router}@{}", account.domain),
                calls: 0,
            }),
            Self::Bus { account, router } => Box::new(OnBus {
                wire: Wire::connect(account)?,
                address: text::address(account, "bare", number),
                list: format!("opensrf:router:{router}:{}", account.domain),
                calls: 0,
            }),
            Self::WebSocket(address) => Box::new(OnWebSocket::connect(*address, number)?),
        })
    }
}

struct OnBus {
    wire: Wire,
    address: String,
    list: String,
    calls: u64,
}

impl Caller for OnBus {
    /// RPUSH and BLPOP go out together, which OpenSRF's clients do not do: no way is faster.
    fn call(&mut self, service: &str) -> io::Result<()> {
        self.calls += 1;
        let to = text::any_worker_of(service);
        let request = text::request(self.calls);
        let sent = text::envelope(&to, &self.address, "thread", "xid", &request);
        self.wire.queue(&[b"RPUSH", self.list.as_bytes(), sent.as_bytes()]);
        self.wire.queue(&[b"BLPOP", self.address.as_bytes(), b"10"]);
        self.wire.flush()?;
        self.wire.reply()?;
        let popped = self.wire.reply()?.popped().ok_or(io::ErrorKind::TimedOut)?;
        judge(&String::from_utf8_lossy(&popped), self.calls)
    }
}

struct OnXmpp {
    wire: xmpp::Wire,
    router: String,
    calls: u64,
}

impl Caller for OnXmpp {
    fn call(&mut self, service: &str) -> io::Result<()> {
        self.calls += 1;
        let to = format!("{}/{service}", self.router);
        self.wire.queue(&xmpp::message(&to, "", "thread", &text::request(self.calls)));
        self.wire.flush()?;
        let answers = self.wire.take()?;
        judge(&answers[0].body, self.calls)
    }
}

struct OnWebSocket {
    stream: TcpStream,
    unread: Vec<u8>,
    thread: String,
    calls: u64,
}

impl OnWebSocket {
    fn connect(address: SocketAddr, number: u64) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(handshake("/", "").as_bytes())?;
        let mut client =
            Self { stream, unread: Vec::new(), thread: format!("thread {number}"), calls: 0 };
        let end = loop {
            if let Some(end) = client.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            client.read_more()?;
        };
        let head: Vec<u8> = client.unread.drain(..end).collect();
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        Ok(client)
    }

    /// The text of the next frame, which is a whole message.
    fn read_text(&mut self) -> io::Result<String> {
        loop {
            if let Some((begin, end)) = payload(&self.unread) {
                let text = String::from_utf8_lossy(&self.unread[begin..end]).into_owned();
                self.unread.drain(..end);
                return Ok(text);
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut space = [0; 4096];
        match self.stream.read(&mut space)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.unread.extend(&space[..length]);
                Ok(())
            }
        }
    }
}

impl Caller for OnWebSocket {
    fn call(&mut self, service: &str) -> io::Result<()> {
        self.calls += 1;
        let sent = text::wrapper(service, &self.thread, &text::request(self.calls));
        self.stream.write_all(&frame(opcode::TEXT, true, sent.as_bytes()))?;
        let answer = self.read_text()?;
        judge(&answer, self.calls)
    }
}

/// Where the payload of the first frame begins and ends (RFC 6455 §5.2); servers do not mask.
fn payload(bytes: &[u8]) -> Option<(usize, usize)> {
    let &[_, second, ref rest @ ..] = bytes else { return None };
    let (begin, length): (usize, usize) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let end = begin.checked_add(length)?;
    (bytes.len() >= end).then_some((begin, end))
}

fn judge(answer: &str, trace: u64) -> io::Result<()> {
    let right = text::is_answer(answer, trace);
    right.then_some(()).ok_or_else(|| io::Error::other(format!("no answer to {trace}: {answer}")))
}
