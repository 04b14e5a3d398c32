//! The clients: one that speaks to the bus itself, as OpenSRF's own do, and one on a WebSocket. Each
//! blocks in one system call while it waits, and sends a call in one write.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::resp::Wire;
use super::{text, xmpp};
use crate::bus::{Account, Kind};
use crate::raw::{frame, handshake, opcode};

/// For whatever should come at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// How calls are made.
#[derive(Debug, Clone)]
pub(in crate::bench) enum Way {
    /// Straight to the router.
    Bus { account: Account, router: String },
    /// Through whatever listens there.
    WebSocket(SocketAddr),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Call<'a> {
    pub(in crate::bench) service: &'a str,
    /// Bytes of the text in the request; `None`: a small one.
    pub(in crate::bench) length: Option<usize>,
}

impl<'a> Call<'a> {
    pub(in crate::bench) fn small(service: &'a str) -> Self {
        Self { service, length: None }
    }
}

/// One client: it makes one call after the other.
pub(in crate::bench) trait Caller: Send {
    /// A call from beginning to end; gives the bytes of its answer.
    fn call(&mut self, call: Call<'_>) -> io::Result<usize>;
}

impl Way {
    /// Connects a client with a number of its own.
    pub(in crate::bench) fn connect(&self, number: u64) -> io::Result<Box<dyn Caller>> {
        Ok(match self {
            Self::Bus { account, router } if account.bus == Kind::Xmpp => Box::new(OnXmpp {
                wire: xmpp::Wire::connect(account, &text::resource("bare", number))?,
                router: format!("{router}@{}", account.domain),
                thread: text::thread(number),
                calls: 0,
            }),
            Self::Bus { account, router } => Box::new(OnBus {
                wire: Wire::connect(account)?,
                address: text::address(account, "bare", number),
                list: format!("opensrf:router:{router}:{}", account.domain),
                thread: text::thread(number),
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
    thread: String,
    calls: u64,
}

impl OnBus {
    fn wait(&mut self) {
        self.wire.queue(&[b"BLPOP", self.address.as_bytes(), b"10"]);
    }
}

impl Caller for OnBus {
    /// RPUSH and BLPOP go out together, which OpenSRF's clients do not do: no way is faster.
    fn call(&mut self, call: Call<'_>) -> io::Result<usize> {
        self.calls += 1;
        let to = text::any_worker_of(call.service);
        let request = text::request(self.calls, call.length);
        let sent = text::envelope(&to, &self.address, &self.thread, text::XID, &request);
        self.wire.queue(&[b"RPUSH", self.list.as_bytes(), sent.as_bytes()]);
        self.wait();
        self.wire.flush()?;
        self.wire.reply()?;
        let mut answer = Answer::to(self.calls);
        loop {
            let popped = self.wire.reply()?.popped().ok_or(io::ErrorKind::TimedOut)?;
            if answer.is_whole_with(&String::from_utf8_lossy(&popped))? {
                return Ok(answer.bytes);
            }
            self.wait();
            self.wire.flush()?;
        }
    }
}

struct OnXmpp {
    wire: xmpp::Wire,
    router: String,
    thread: String,
    calls: u64,
}

impl Caller for OnXmpp {
    fn call(&mut self, call: Call<'_>) -> io::Result<usize> {
        self.calls += 1;
        let to = format!("{}/{}", self.router, call.service);
        let request = text::request(self.calls, call.length);
        self.wire.queue(&xmpp::message(&to, "", &self.thread, &request));
        self.wire.flush()?;
        let mut answer = Answer::to(self.calls);
        loop {
            for stanza in self.wire.take()? {
                if answer.is_whole_with(&stanza.body)? {
                    return Ok(answer.bytes);
                }
            }
        }
    }
}

/// A client on a WebSocket.
pub(in crate::bench) struct OnWebSocket {
    stream: TcpStream,
    unread: Vec<u8>,
    thread: String,
    calls: u64,
}

impl OnWebSocket {
    /// Connects one with a number of its own.
    pub(in crate::bench) fn connect(address: SocketAddr, number: u64) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(handshake("/", "").as_bytes())?;
        let mut client =
            Self { stream, unread: Vec::new(), thread: text::thread(number), calls: 0 };
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

    /// Sends a request, and waits for nothing. Gives its number.
    pub(in crate::bench) fn send(&mut self, call: Call<'_>) -> io::Result<u64> {
        self.calls += 1;
        let request = text::request(self.calls, call.length);
        let sent = text::wrapper(call.service, &self.thread, &request);
        self.stream.write_all(&frame(opcode::TEXT, true, sent.as_bytes()))?;
        Ok(self.calls)
    }

    /// Reads until so many requests are answered, whichever they are.
    pub(in crate::bench) fn read_answers(&mut self, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let text = self.read_text()?;
            if text::answer_to(&text).is_none() {
                return Err(io::Error::other(format!("no answer: {text}")));
            }
            count -= usize::from(text::is_last(&text));
        }
        Ok(())
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
        let mut space = [0; 128 * 1024];
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
    fn call(&mut self, call: Call<'_>) -> io::Result<usize> {
        let mut answer = Answer::to(self.send(call)?);
        while !answer.is_whole_with(&self.read_text()?)? {}
        Ok(answer.bytes)
    }
}

/// The texts of calls, for clients of another kind.
pub(in crate::bench) mod texts {
    /// What a WebSocket client sends for its call with this number.
    pub(in crate::bench) fn request(service: &str, trace: u64, length: Option<usize>) -> String {
        super::text::wrapper(service, &super::text::thread(1), &super::text::request(trace, length))
    }

    /// Whether a text ends the answer to a call.
    pub(in crate::bench) fn is_end_of(text: &str, trace: u64) -> bool {
        super::text::answer_to(text) == Some(trace) && super::text::is_last(text)
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

/// What has come of the answer to a call.
struct Answer {
    trace: u64,
    bytes: usize,
}

impl Answer {
    fn to(trace: u64) -> Self {
        Self { trace, bytes: 0 }
    }

    /// Takes the next text; gives whether that was all.
    fn is_whole_with(&mut self, text: &str) -> io::Result<bool> {
        if text::answer_to(text) != Some(self.trace) {
            return Err(io::Error::other(format!("no answer to {}: {text}", self.trace)));
        }
        self.bytes += text.len();
        Ok(text::is_last(text))
    }
}
