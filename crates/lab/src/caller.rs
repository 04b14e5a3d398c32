//! A client with a ledger: it sends requests that name themselves, checks what comes back, and
//! leaves as the close contract asks.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::ledger::{Key, Ledger, Totals, Verdict};
use crate::opensrf::{self, Answer};
use crate::process::Gateway;
use crate::raw::{End, RawClient, opcode};

/// The service that counts what it executes by label.
pub const DEMO: &str = "slackwater.demo";

/// One client on one connection.
#[derive(Debug)]
pub struct Caller<S = TcpStream> {
    /// The connection.
    pub raw: RawClient<S>,
    ledger: Ledger,
}

/// What a client hears.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// Requests that have come to their end, and what concerns no request: the answers to CONNECT.
    Answers {
        /// In order.
        settled: Vec<(Key, Verdict)>,
        /// In order.
        others: Vec<Answer>,
    },
    /// A Ping, with its payload. It is for the caller to answer.
    Ping(Vec<u8>),
    /// The Close.
    Close {
        /// 0 if it had none.
        code: u16,
        /// Why.
        reason: String,
    },
}

/// Where sites have their gateway. A balancer passes nothing else on.
pub const PATH: &str = "/osrf-websocket-translator";

/// The trace of every CONNECT that these clients send; requests have others.
const CONNECT_TRACE: u32 = 0;

impl Caller {
    /// Connects.
    ///
    /// # Errors
    /// The gateway refuses.
    pub async fn connect(server: SocketAddr) -> io::Result<Self> {
        Ok(Self::on(RawClient::connect(server, PATH).await?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    /// On a connection with its handshake done.
    pub fn on(raw: RawClient<S>) -> Self {
        Self { raw, ledger: Ledger::default() }
    }

    /// Sends a request of `slackwater.demo`; its results must be `wanted`. If a session is open
    /// on the thread, it is for that.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn call(
        &mut self,
        (thread, trace): (&str, u32),
        method: &str,
        params: &Value,
        wanted: impl IntoIterator<Item = Value>,
    ) -> io::Result<()> {
        self.expect((thread, trace), wanted);
        let method = format!("{DEMO}.{method}");
        self.raw.send_text(&opensrf::request(DEMO, thread, trace, &method, params)).await
    }

    /// Enters a request that the caller sends itself.
    pub fn expect(
        &mut self,
        (thread, trace): (&str, u32),
        wanted: impl IntoIterator<Item = Value>,
    ) {
        self.ledger.ask((thread.to_owned(), trace), wanted);
    }

    /// Has `value` sent back, and the request counted under `label`.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn echo(&mut self, key: (&str, u32), value: Value, label: &str) -> io::Result<()> {
        self.call(key, "wait", &json!([0, value, label]), [value]).await
    }

    /// What comes next. Cancel-safe.
    ///
    /// # Errors
    /// The connection is gone, or an answer has come that was not asked for.
    pub async fn hear(&mut self) -> io::Result<Heard> {
        let frame = self.raw.read_frame().await?;
        match frame.opcode {
            opcode::PING => Ok(Heard::Ping(frame.payload)),
            opcode::CLOSE => {
                let (code, reason) = frame.payload.split_first_chunk().unwrap_or((&[0; 2], &[]));
                let reason = String::from_utf8_lossy(reason).into_owned();
                Ok(Heard::Close { code: u16::from_be_bytes(*code), reason })
            }
            _ => self.take(&String::from_utf8_lossy(&frame.payload)),
        }
    }

    /// Answers a Ping.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn pong(&mut self, payload: &[u8]) -> io::Result<()> {
        self.raw.send_frame(opcode::PONG, true, payload).await
    }

    /// Hears, and answers pings, until no request is open.
    ///
    /// # Errors
    /// The connection is gone, or closed.
    pub async fn until_answered(&mut self) -> io::Result<()> {
        while self.ledger.open() > 0 {
            match self.hear().await? {
                Heard::Answers { .. } => {}
                Heard::Ping(payload) => self.pong(&payload).await?,
                close @ Heard::Close { .. } => {
                    return Err(io::Error::other(format!("{close:?} before an answer")));
                }
            }
        }
        Ok(())
    }

    /// Requests without their final answer.
    #[must_use]
    pub fn open(&self) -> usize {
        self.ledger.open()
    }

    /// Echoes the gateway's Close and sees TCP end. Gives what the client has seen.
    ///
    /// # Errors
    /// TCP ended otherwise than with a FIN, or did not end.
    pub async fn leave(mut self, code: u16) -> io::Result<Totals> {
        self.raw.close(code).await?;
        match self.raw.end().await? {
            End::Fin => Ok(self.ledger.close()),
            End::Reset => Err(io::Error::other("reset behind the Close")),
        }
    }

    /// What the client has seen on a connection that is gone already.
    #[must_use]
    pub fn abandon(self) -> Totals {
        self.ledger.close()
    }

    fn take(&mut self, text: &str) -> io::Result<Heard> {
        let answers = opensrf::answers(text);
        if answers.is_empty() {
            return Err(io::Error::other(format!("no answer: {text}")));
        }
        let (mut settled, mut others) = (vec![], vec![]);
        for answer in answers {
            if answer.trace == CONNECT_TRACE {
                others.push(answer);
            } else {
                settled.extend(self.ledger.hear(&answer).map_err(io::Error::other)?);
            }
        }
        Ok(Heard::Answers { settled, others })
    }
}

/// How many requests with this label the bus has executed, asked over a connection of its own.
///
/// # Errors
/// It is not answered.
pub async fn executed_by_bus(gateway: &Gateway, label: &str) -> io::Result<u64> {
    let mut raw = gateway.connect().await?;
    let method = format!("{DEMO}.count");
    raw.send_text(&opensrf::request(DEMO, "count", 1, &method, &json!([label, 0]))).await?;
    loop {
        if let crate::raw::Message::Text(text) = raw.read_message().await?
            && let Some(count) = opensrf::answers(&text).iter().find_map(|a| a.content.as_u64())
        {
            return Ok(count);
        }
    }
}
