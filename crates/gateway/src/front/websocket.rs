//! One WebSocket, seen from the server: messages in, messages out, and how it ends.
//!
//! Law: [`WebSocket::next`] drives everything. It reads, it writes what was queued, it answers
//! pings and closes; it may be dropped at any await and called again, and nothing is lost. What
//! bytes mean is the core's business (`slackwater_core::websocket`).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use slackwater_bus::turns;
pub use slackwater_core::websocket::{Agreed, can_be_sent};
use slackwater_core::websocket::{
    Deflater, Inflater, MAX_CONTROL, Message, Opcode, Reader, Violation, Writer,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;

/// What a WebSocket accepts.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Largest message taken, in bytes of payload; a larger one is a violation (1009).
    pub max_message: usize,
    /// What becomes of binary messages.
    pub binary: Binary,
    /// Messages of so many bytes and more are sent compressed where that was agreed on. `None`:
    /// nothing is ever agreed on.
    pub compress_from: Option<usize>,
}

/// What becomes of binary messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// One that holds UTF-8 is given as [`Event::Text`].
    TextIfUtf8,
    /// All are given as [`Event::Binary`].
    Kept,
}

/// What [`WebSocket::next`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping; its pong is queued.
    Ping,
    /// A pong, asked for or not, with its payload.
    Pong(Vec<u8>),
    /// The peer's Close frame. If it came first, the answer to it is queued. What the peer sends
    /// behind it is thrown away.
    Close {
        /// `None` when the frame had none (RFC 6455 §7.1.5 calls this 1005).
        code: Option<u16>,
        /// At most 123 bytes.
        reason: String,
    },
    /// The peer broke the protocol or a limit. Unless a Close was sent before, one is queued with
    /// this code. What the peer sends from here on is thrown away.
    Violation {
        /// 1002 protocol, 1007 not UTF-8, 1009 too big (RFC 6455 §7.4.1).
        code: u16,
        /// What was wrong, in a few words.
        reason: &'static str,
    },
    /// So much more of a message has come that it is worth counting; see
    /// [`WebSocket::half_read`].
    Partial,
    /// All that was queued by `send`, `ping` and `close` has reached the kernel.
    Written,
}

/// Why there will be no further [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// The peer has closed its side of the stream.
    #[error("end of stream")]
    Eof,
    /// The connection was reset or failed.
    #[error("connection lost: {0}")]
    Lost(io::ErrorKind),
}

/// The server's side of one WebSocket.
#[derive(Debug)]
pub struct WebSocket<S = Stream> {
    stream: S,
    /// Read and not yet decoded.
    ahead: Bytes,
    reader: Reader,
    writer: Writer,
    settings: Settings,
    compression: Option<Agreed>,
    reading: Reading,
    bytes_in: u64,
    bytes_out: u64,
    /// Bytes that had been read when [`Event::Partial`] was told last, or a message.
    read_at_partial: u64,
    /// Something was written that the stream may still hold (TLS does).
    unflushed: bool,
    /// `Written` is owed when all has gone.
    owes_written: bool,
    pongs_queued: usize,
    close_sent: bool,
    finish: Finish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Messages,
    Discarding,
    Ended(Ending),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    NotAsked,
    WhenFlushed,
    Done,
}

/// How much of an unfinished message makes an [`Event::Partial`].
const PARTIAL: u64 = 64 * 1024;

/// A peer that pings and does not read its pongs is not read from any further.
const MAX_PONGS_QUEUED: usize = 64;

/// What is left of a control frame's payload beside a close code.
const MAX_REASON: usize = MAX_CONTROL - 2;

/// Bytes of one read. They are on the stack, so that who waits needs none.
const READ: usize = 16 * 1024;

/// Pieces of one write, and bytes.
const PIECES: usize = 16;
const WRITE: usize = 256 * 1024;

/// A message of more bytes than this goes out as it is: other clients wait while one is deflated.
const COMPRESS_TO: usize = 1024 * 1024;

thread_local! {
    // Between two messages they hold nothing of a client's, but much memory.
    static DEFLATER: RefCell<Deflater> = RefCell::default();
    static INFLATER: RefCell<Inflater> = RefCell::default();
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes over a stream on which the handshake is done. `read_ahead` is what was read of the
    /// client's frames already; `compression` is what was agreed on.
    pub fn new(
        stream: S,
        read_ahead: &[u8],
        settings: Settings,
        compression: Option<Agreed>,
    ) -> Self {
        Self {
            stream,
            // Copied: it may be a small part of a large buffer, or nothing of one.
            ahead: Bytes::copy_from_slice(read_ahead),
            reader: Reader::new(settings.max_message, compression.is_some()),
            writer: Writer::default(),
            settings,
            compression,
            reading: Reading::Messages,
            bytes_in: read_ahead.len() as u64,
            bytes_out: 0,
            read_at_partial: 0,
            unflushed: false,
            owes_written: false,
            pongs_queued: 0,
            close_sent: false,
            finish: Finish::NotAsked,
        }
    }

    /// The next thing that happens. Cancel-safe.
    ///
    /// After our own Close the peer's messages go on coming until its Close; after the peer's
    /// Close, or a violation, only `Written` can still come before the end.
    ///
    /// # Errors
    /// The connection is over, for the reading side at least; so it stays.
    pub async fn next(&mut self) -> Result<Event, Ending> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Writes and reads nothing: the next thing that happens is [`Event::Written`], if anything is
    /// queued; else nothing does. Cancel-safe.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn written(&mut self) -> Result<Event, Ending> {
        poll_fn(|context| {
            ready!(self.poll_flush(context))?;
            match std::mem::take(&mut self.owes_written) {
                true => Poll::Ready(Ok(Event::Written)),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Queues a text message. False when a Close was sent or received: then it goes nowhere.
    pub fn send(&mut self, text: String) -> bool {
        self.queue_data(Opcode::Text, text.into_bytes())
    }

    /// Queues a binary message. False as for [`send`](Self::send).
    pub fn send_binary(&mut self, payload: Vec<u8>) -> bool {
        self.queue_data(Opcode::Binary, payload)
    }

    /// Queues a ping. Of the payload the first 125 bytes are sent. False as for
    /// [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        self.queue_control(Opcode::Ping, payload)
    }

    /// Queues a Close frame. A reason above 123 bytes is cut. A code that must not be sent (see
    /// [`can_be_sent`]) goes out as 1011. False when there was a Close before, from either side.
    pub fn close(&mut self, code: u16, reason: &str) -> bool {
        let code = if can_be_sent(code) { code } else { 1011 };
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(cut(reason, MAX_REASON).as_bytes());
        let queued = self.queue_control(Opcode::Close, &payload);
        self.close_sent |= queued;
        queued
    }

    /// Sends our FIN once all that is queued is written; [`next`](Self::next) does it.
    pub fn finish(&mut self) {
        if self.finish == Finish::NotAsked {
            self.finish = Finish::WhenFlushed;
        }
    }

    /// From here on no text or binary message is told, or held while it comes.
    pub fn skip_messages(&mut self) {
        self.reader.skip_messages();
    }

    /// Whether a message of the peer's is half read or was read and not yet told.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        self.reading == Reading::Messages && (!self.ahead.is_empty() || self.reader.mid_message())
    }

    /// Bytes of the peer's that were read and have not become a message yet.
    #[must_use]
    pub fn half_read(&self) -> u64 {
        if self.mid_message() { (self.reader.held() + self.ahead.len()) as u64 } else { 0 }
    }

    /// Bytes queued that the kernel has not taken yet.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.writer.waiting()
    }

    /// Bytes read from the peer since the handshake.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes written to the kernel since the handshake.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Ending>> {
        if let Reading::Ended(ending) = self.reading {
            return Poll::Ready(Err(ending));
        }
        match self.poll_flush(context) {
            Poll::Ready(Ok(())) => {
                if std::mem::take(&mut self.owes_written) {
                    return Poll::Ready(Ok(Event::Written));
                }
            }
            Poll::Ready(Err(ending)) => return Poll::Ready(Err(ending)),
            Poll::Pending if self.pongs_queued >= MAX_PONGS_QUEUED => return Poll::Pending,
            Poll::Pending => {}
        }
        match self.reading {
            Reading::Messages => self.poll_message(context),
            Reading::Discarding => self.poll_discard(context).map(Err),
            Reading::Ended(ending) => Poll::Ready(Err(ending)),
        }
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Ending>> {
        loop {
            if !self.ahead.is_empty() || self.reader.is_inflating() {
                let mut bytes = &self.ahead[..];
                let read =
                    INFLATER.with_borrow_mut(|inflater| self.reader.read(&mut bytes, inflater));
                let taken = self.ahead.len() - bytes.len();
                self.ahead.advance(taken);
                if self.ahead.is_empty() {
                    self.ahead = Bytes::new();
                }
                match read {
                    Ok(Some(message)) => return Poll::Ready(Ok(self.receive(message))),
                    Ok(None) if self.reader.is_inflating() => {
                        turns::worked(turns::FULL);
                        return turns::later(context);
                    }
                    Ok(None) => {}
                    Err(violation) => return Poll::Ready(Ok(self.refuse(violation))),
                }
            }
            let mut space = [MaybeUninit::uninit(); READ];
            let mut buffer = ReadBuf::uninit(&mut space);
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                return Poll::Ready(Err(self.end(Ending::Lost(error.kind()))));
            }
            let mut bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Err(self.end(Ending::Eof)));
            }
            self.bytes_in += bytes.len() as u64;
            turns::worked(bytes.len());
            match INFLATER.with_borrow_mut(|inflater| self.reader.read(&mut bytes, inflater)) {
                Ok(Some(message)) => {
                    self.ahead = Bytes::copy_from_slice(bytes);
                    return Poll::Ready(Ok(self.receive(message)));
                }
                Ok(None) if self.reader.is_inflating() => {
                    self.ahead = Bytes::copy_from_slice(bytes);
                }
                Ok(None) if self.bytes_in - self.read_at_partial >= PARTIAL => {
                    self.read_at_partial = self.bytes_in;
                    return Poll::Ready(Ok(Event::Partial));
                }
                Ok(None) => {}
                Err(violation) => return Poll::Ready(Ok(self.refuse(violation))),
            }
        }
    }

    /// Writes what is queued, as far as the kernel takes it.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        if let Reading::Ended(ending @ Ending::Lost(_)) = self.reading {
            return Poll::Ready(Err(ending));
        }
        if let Err(error) = ready!(self.poll_write(context)) {
            return Poll::Ready(Err(self.end(Ending::Lost(error.kind()))));
        }
        self.pongs_queued = 0;
        if self.finish == Finish::WhenFlushed {
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_shutdown(context)) {
                return Poll::Ready(Err(self.end(Ending::Lost(error.kind()))));
            }
            self.finish = Finish::Done;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.writer.waiting() > 0 {
            if turns::is_full() {
                return turns::later(context);
            }
            let mut slices = [IoSlice::new(&[]); PIECES];
            let (mut count, mut room) = (0, WRITE);
            for (slice, piece) in slices.iter_mut().zip(self.writer.pieces()) {
                let piece = &piece[..piece.len().min(room)];
                *slice = IoSlice::new(piece);
                room -= piece.len();
                count += 1;
                if room == 0 {
                    break;
                }
            }
            let slices = &slices[..count];
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.writer.take(written);
            self.bytes_out += written as u64;
            turns::worked(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and throws away, to the end of the stream.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let mut space = [MaybeUninit::uninit(); 4096];
            let mut buffer = ReadBuf::uninit(&mut space);
            let ending = match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    self.bytes_in += buffer.filled().len() as u64;
                    turns::worked(buffer.filled().len());
                    if turns::is_full() {
                        return turns::later(context);
                    }
                    continue;
                }
                Ok(()) => Ending::Eof,
                Err(error) => Ending::Lost(error.kind()),
            };
            return Poll::Ready(self.end(ending));
        }
    }

    fn receive(&mut self, message: Message) -> Event {
        self.read_at_partial = self.bytes_in;
        match message {
            Message::Text(text) => Event::Text(text),
            Message::Binary(bytes) => match self.settings.binary {
                Binary::TextIfUtf8 => String::from_utf8(bytes)
                    .map_or_else(|error| Event::Binary(error.into_bytes()), Event::Text),
                Binary::Kept => Event::Binary(bytes),
            },
            Message::Ping(payload) => {
                // Nothing follows our Close.
                if !self.close_sent {
                    self.pongs_queued += 1;
                    self.writer.control(Opcode::Pong, &payload);
                }
                Event::Ping
            }
            Message::Pong(payload) => Event::Pong(payload),
            Message::Close { code, reason } => {
                if !self.close_sent {
                    let code = code.map(u16::to_be_bytes);
                    self.writer.control(Opcode::Close, code.as_ref().map_or(&[], |code| code));
                }
                self.discard();
                Event::Close { code, reason }
            }
        }
    }

    fn refuse(&mut self, Violation { code, reason }: Violation) -> Event {
        self.close(code, reason);
        self.discard();
        Event::Violation { code, reason }
    }

    /// From here on nothing that the peer sends means anything, and nothing is sent.
    fn discard(&mut self) {
        self.reading = Reading::Discarding;
        self.ahead = Bytes::new();
        self.reader = Reader::new(0, false);
    }

    fn end(&mut self, ending: Ending) -> Ending {
        self.reading = Reading::Ended(ending);
        ending
    }

    fn queue_data(&mut self, opcode: Opcode, payload: Vec<u8>) -> bool {
        if self.closed() {
            return false;
        }
        match self.deflated(&payload) {
            Some(deflated) => self.writer.data(opcode, deflated, true),
            None => self.writer.data(opcode, payload, false),
        }
        self.owes_written = true;
        true
    }

    fn queue_control(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        if self.closed() {
            return false;
        }
        self.writer.control(opcode, payload);
        self.owes_written = true;
        true
    }

    /// A Close was sent or received.
    fn closed(&self) -> bool {
        self.close_sent || self.reading == Reading::Discarding
    }

    /// The payload deflated, if it is to be.
    fn deflated(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let agreed = self.compression?;
        let from = self.settings.compress_from?;
        if !(from..=COMPRESS_TO).contains(&payload.len()) {
            return None;
        }
        DEFLATER.with_borrow_mut(|deflater| deflater.deflate(payload, agreed.window))
    }
}

impl WebSocket<Stream> {
    /// Bytes that the client has not taken from the kernel ([`Stream::unsent`]). What the kernel
    /// has not taken is [`unwritten`](Self::unwritten).
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.stream.unsent()
    }

    /// Ends the connection with a reset ([`Stream::abort`]).
    pub fn abort(self) {
        self.stream.abort();
    }
}

/// The longest beginning of `text` of at most `bytes` that ends between two characters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests;
