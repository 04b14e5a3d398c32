//! A WebSocket client made by hand: it can send half a frame, keep silent, stop reading, and see
//! whether TCP ended with a FIN or a reset.
//!
//! Law: it does nothing by itself except, if asked, answer pings; and it waits for nothing longer
//! than its patience.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split,
};
use tokio::net::TcpStream;

/// Opcodes (RFC 6455 §5.2).
pub mod opcode {
    /// A further fragment of a message.
    pub const CONTINUATION: u8 = 0x0;
    /// A text message, or its first fragment.
    pub const TEXT: u8 = 0x1;
    /// A binary message, or its first fragment.
    pub const BINARY: u8 = 0x2;
    /// The Close handshake.
    pub const CLOSE: u8 = 0x8;
    /// A ping.
    pub const PING: u8 = 0x9;
    /// The answer to a ping.
    pub const PONG: u8 = 0xa;
}

/// The client's side of one connection, over TCP or what a test puts in its place.
#[derive(Debug)]
pub struct RawClient<S = TcpStream> {
    stream: S,
    buffer: BytesMut,
    /// Whether [`read_message`](Self::read_message) answers pings on its way. True at first.
    pub answer_pings: bool,
    /// How long any one call waits for the server; then it fails with `TimedOut`. 10 s at first.
    pub patience: Duration,
}

/// A frame as the server sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// See [`opcode`].
    pub opcode: u8,
    /// The last of its message.
    pub fin: bool,
    /// As it was sent: servers do not mask.
    pub payload: Vec<u8>,
}

/// A whole message from the server, or its Close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// The server's Close frame.
    Close {
        /// `None` when the frame had none.
        code: Option<u16>,
        /// May be empty.
        reason: String,
    },
}

/// How TCP ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order.
    Fin,
    /// By a reset.
    Reset,
}

/// The key of RFC 6455 §1.3, and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The mask of every frame. A server cannot tell it from a random one.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const PATIENCE: Duration = Duration::from_secs(10);

/// The request that opens a WebSocket, with further header lines, each ending in CR LF.
#[must_use]
pub fn handshake(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// A frame as a client sends it, masked.
#[must_use]
pub fn frame(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode | if fin { 0x80 } else { 0 }];
    let length = payload.len();
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        frame.push(0x80 | short);
    } else if let Ok(middle) = u16::try_from(length) {
        frame.push(0x80 | 126);
        frame.extend(middle.to_be_bytes());
    } else {
        frame.push(0x80 | 127);
        frame.extend((length as u64).to_be_bytes());
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Sends bytes to a server and returns all that comes back until it ends the connection.
///
/// # Errors
/// No connection, a reset, or no end within ten seconds.
pub async fn exchange(server: SocketAddr, request: &[u8]) -> io::Result<String> {
    within(PATIENCE, async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })
    .await
}

impl RawClient {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// No connection, or an answer other than 101; the error's text is the answer.
    pub async fn connect(server: SocketAddr, path: &str) -> io::Result<Self> {
        Self::over(TcpStream::connect(server).await?, path).await
    }

    /// Shakes hands on a connection that the caller made, say with a small receive buffer.
    ///
    /// # Errors
    /// An answer other than 101; the error's text is the answer.
    pub async fn over(stream: TcpStream, path: &str) -> io::Result<Self> {
        let mut client = Self::without_handshake(stream)?;
        client.send_bytes(handshake(path, "").as_bytes()).await?;
        client.finish_handshake().await?;
        Ok(client)
    }

    /// For callers that send the handshake themselves.
    ///
    /// # Errors
    /// The socket takes no options.
    pub fn without_handshake(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::on(stream))
    }

    /// The socket, to ask or set what this client does not.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    /// On a stream of any kind, without a handshake: TLS, say.
    #[must_use]
    pub fn on(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new(), answer_pings: true, patience: PATIENCE }
    }

    /// Reading and writing apart, for a client that does both at once. The reading half sees
    /// frames ([`read_frame`](RawClient::read_frame)) and answers nothing.
    #[must_use]
    pub fn into_halves(self) -> (RawClient<ReadHalf<S>>, WriteHalf<S>) {
        let Self { stream, buffer, answer_pings, patience } = self;
        let (read, write) = split(stream);
        (RawClient { stream: read, buffer, answer_pings, patience }, write)
    }

    /// Reads the answer to a handshake made by [`handshake`].
    ///
    /// # Errors
    /// It is not a 101 with the right accept key; the error's text is the answer.
    pub async fn finish_handshake(&mut self) -> io::Result<()> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer.split_to(end)).into_owned();
        let accepts = |line: &str| {
            line.split_once(": ").is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("sec-websocket-accept") && value == ACCEPT
            })
        };
        if head.starts_with("HTTP/1.1 101 ") && head.lines().any(accepts) {
            Ok(())
        } else {
            Err(io::Error::other(head))
        }
    }

    /// Sends a text message in one frame.
    ///
    /// # Errors
    /// The connection is gone, or the server does not read.
    pub async fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.send_frame(opcode::TEXT, true, text.as_bytes()).await
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The connection is gone, or the server does not read.
    pub async fn send_frame(&mut self, opcode: u8, fin: bool, payload: &[u8]) -> io::Result<()> {
        self.send_bytes(&frame(opcode, fin, payload)).await
    }

    /// Sends bytes as they are: half a frame, say.
    ///
    /// # Errors
    /// The connection is gone, or the server does not read.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.patience, self.stream.write_all(bytes)).await
    }

    /// Sends a Close frame.
    ///
    /// # Errors
    /// The connection is gone, or the server does not read.
    pub async fn close(&mut self, code: u16) -> io::Result<()> {
        self.send_frame(opcode::CLOSE, true, &code.to_be_bytes()).await
    }

    /// Sends our FIN; reading goes on.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next message, put together from its frames. Pings are answered if
    /// [`answer_pings`](Self::answer_pings) says so, pongs skipped.
    ///
    /// # Errors
    /// As for [`read_frame`](Self::read_frame); `InvalidData` for frames that a server must not
    /// send.
    pub async fn read_message(&mut self) -> io::Result<Message> {
        let mut begun: Option<(u8, Vec<u8>)> = None;
        loop {
            let Frame { opcode, fin, payload } = self.read_frame().await?;
            match (opcode, &mut begun) {
                (opcode::PING, _) => {
                    if self.answer_pings {
                        self.send_frame(opcode::PONG, true, &payload).await?;
                    }
                    continue;
                }
                (opcode::PONG, _) => continue,
                (opcode::CLOSE, _) => return close_message(&payload),
                (opcode::CONTINUATION, Some((_, message))) => message.extend(payload),
                (opcode::TEXT | opcode::BINARY, None) => begun = Some((opcode, payload)),
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "frame out of place")),
            }
            if fin && let Some((opcode, message)) = begun.take() {
                return match opcode {
                    opcode::TEXT => text(message).map(Message::Text),
                    _ => Ok(Message::Binary(message)),
                };
            }
        }
    }

    /// The Close that comes next, answered, and how TCP ended.
    ///
    /// # Errors
    /// Something else comes next; or see [`RawClient::end`].
    pub async fn closed(&mut self) -> io::Result<(Option<u16>, String, End)> {
        match self.read_message().await? {
            Message::Close { code, reason } => {
                self.close(code.unwrap_or(1000)).await?;
                let end = self.end().await?;
                self.shutdown().await.ok();
                Ok((code, reason, end))
            }
            other @ (Message::Text(_) | Message::Binary(_)) => {
                Err(io::Error::other(format!("{other:?} in place of a Close")))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> RawClient<S> {
    /// The next frame. Cancel-safe.
    ///
    /// # Errors
    /// `UnexpectedEof` at the server's FIN, `ConnectionReset`, `TimedOut`.
    pub async fn read_frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(frame);
            }
            self.read_more().await?;
        }
    }

    /// Reads, throws away, and says how TCP ended.
    ///
    /// # Errors
    /// It has not ended in time.
    pub async fn end(&mut self) -> io::Result<End> {
        loop {
            self.buffer.clear();
            match self.read_more().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(End::Fin),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(End::Reset);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match within(self.patience, self.stream.read_buf(&mut self.buffer)).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let (&first, rest) = self.buffer.split_first()?;
        let (&second, rest) = rest.split_first()?;
        let (header, length) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let length = usize::try_from(length).ok()?;
        if self.buffer.len() < header + length {
            return None;
        }
        self.buffer.advance(header);
        let payload = self.buffer.split_to(length).to_vec();
        // Thousands of clients may wait after something large.
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Some(Frame { opcode: first & 0x0f, fin: first & 0x80 != 0, payload })
    }
}

async fn within<T>(
    patience: Duration,
    operation: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::time::timeout(patience, operation).await?
}

fn close_message(payload: &[u8]) -> io::Result<Message> {
    match payload.split_first_chunk() {
        Some((code, reason)) => Ok(Message::Close {
            code: Some(u16::from_be_bytes(*code)),
            reason: text(reason.to_vec())?,
        }),
        None => Ok(Message::Close { code: None, reason: String::new() }),
    }
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
