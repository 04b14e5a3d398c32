//! One WebSocket, seen from the server: messages in, messages out, and how it ends.
//!
//! Law: [`WebSocket::next`] drives everything. It reads, it writes what was queued, it answers
//! pings and closes; it may be dropped at any await and called again, and nothing is lost. Nobody
//! else names the WebSocket crate.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_websockets::proto::ProtocolError;
use tokio_websockets::{CloseCode, Config, Error, Limits, Message, ServerBuilder, WebSocketStream};

use super::metered::Metered;
use super::stream::Stream;

/// What a WebSocket accepts.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Largest message taken, in bytes of payload; a larger one is a violation (1009).
    pub max_message: usize,
    /// What becomes of binary messages.
    pub binary: Binary,
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
        reason: String,
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
    /// Detached while there is a codec.
    stream: Metered<S>,
    /// The WebSocket crate's codec keeps the buffers that it once needed, and 8 KiB in any case.
    /// So there is one only while something is half read or half written, or a Close was seen: an
    /// idle client has no buffer.
    codec: Option<Box<WebSocketStream<Metered<S>>>>,
    settings: Settings,
    reading: Reading,
    /// Messages that `next` has told of, to compare with those that have arrived.
    told: u64,
    /// Bytes that had been read when a message was told last, and when [`Event::Partial`] was.
    read_at_message: u64,
    read_at_partial: u64,
    /// Something was queued since the last complete flush.
    dirty: bool,
    /// `Written` is owed when the flush is complete.
    owes_written: bool,
    /// Bytes queued, ever. Only compared with the bytes written while `dirty`.
    queued: u64,
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

/// The payload of a control frame (RFC 6455 §5.5), and what is left of it beside a close code.
const MAX_CONTROL: usize = 125;
const MAX_REASON: usize = MAX_CONTROL - 2;

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes over a stream on which the handshake is done. `read_ahead` is what was read of the
    /// client's frames already.
    pub fn new(stream: S, read_ahead: &[u8], settings: Settings) -> Self {
        Self {
            stream: Metered::new(stream, read_ahead),
            codec: None,
            settings,
            reading: Reading::Messages,
            told: 0,
            read_at_message: 0,
            read_at_partial: 0,
            dirty: false,
            owes_written: false,
            queued: 0,
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
        self.queue(Message::text(text))
    }

    /// Queues a binary message. False as for [`send`](Self::send).
    pub fn send_binary(&mut self, payload: Vec<u8>) -> bool {
        self.queue(Message::binary(payload))
    }

    /// Queues a ping. Of the payload the first 125 bytes are sent. False as for
    /// [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        let payload = payload[..payload.len().min(MAX_CONTROL)].to_vec();
        self.queue(Message::ping(payload))
    }

    /// Queues a Close frame. A reason above 123 bytes is cut. A code that must not be sent (see
    /// [`can_be_sent`]) goes out as 1011. False when there was a Close before, from either side.
    pub fn close(&mut self, code: u16, reason: &str) -> bool {
        let code = sendable(code).unwrap_or(CloseCode::INTERNAL_SERVER_ERROR);
        let reason = cut(reason, MAX_REASON);
        let queued = self.queue(Message::close(Some(code), reason));
        self.close_sent |= queued;
        queued
    }

    /// Sends our FIN once all that is queued is written; [`next`](Self::next) does it.
    pub fn finish(&mut self) {
        if self.finish == Finish::NotAsked {
            self.finish = Finish::WhenFlushed;
        }
    }

    /// Whether a message of the peer's is half read or was read and not yet told.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        self.reading == Reading::Messages && !self.all_told()
    }

    /// Bytes of the peer's that were read and have not become a message yet, roughly.
    #[must_use]
    pub fn half_read(&self) -> u64 {
        if self.mid_message() { self.bytes_in() - self.read_at_message } else { 0 }
    }

    /// Bytes queued that the kernel has not taken yet.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        if self.dirty { self.queued.saturating_sub(self.bytes_out()) } else { 0 }
    }

    /// Bytes read from the peer since the handshake.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.stream().bytes_in
    }

    /// Bytes written to the kernel since the handshake.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.stream().bytes_out
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
        if self.reading == Reading::Discarding {
            return self.poll_discard(context).map(Err);
        }
        if self.codec.is_none()
            && let Err(error) = ready!(self.stream.poll_wake(context))
        {
            return Poll::Ready(Err(self.end(Ending::Lost(error.kind()))));
        }
        match Pin::new(self.codec()).poll_next(context) {
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Ok(self.receive(message))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(self.fail(&error)),
            Poll::Ready(None) => Poll::Ready(Err(self.end(Ending::Eof))),
            Poll::Pending => {
                self.rest();
                if self.half_read() > 0 && self.bytes_in() - self.read_at_partial >= PARTIAL {
                    self.read_at_partial = self.bytes_in();
                    return Poll::Ready(Ok(Event::Partial));
                }
                Poll::Pending
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        if let Reading::Ended(ending @ Ending::Lost(_)) = self.reading {
            return Poll::Ready(Err(ending));
        }
        if self.dirty {
            if let Err(error) = ready!(Pin::new(self.codec()).poll_flush(context)) {
                return Poll::Ready(Err(self.end(Ending::Lost(kind(&error)))));
            }
            self.dirty = false;
            self.queued = self.bytes_out();
            self.pongs_queued = 0;
        }
        if self.finish == Finish::WhenFlushed {
            let stream = Pin::new(self.stream_mut());
            if let Err(error) = ready!(stream.poll_shutdown(context)) {
                return Poll::Ready(Err(self.end(Ending::Lost(error.kind()))));
            }
            self.finish = Finish::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and throws away, to the end of the stream.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let mut space = [MaybeUninit::uninit(); 4096];
            let mut buffer = ReadBuf::uninit(&mut space);
            let stream = Pin::new(self.stream_mut());
            let ending = match ready!(stream.poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => continue,
                Ok(()) => Ending::Eof,
                Err(error) => Ending::Lost(error.kind()),
            };
            return Poll::Ready(self.end(ending));
        }
    }

    fn receive(&mut self, message: Message) -> Event {
        self.told += 1;
        self.read_at_message = self.bytes_in();
        self.read_at_partial = self.read_at_message;
        let length = message.as_payload().len();
        if message.is_ping() {
            // From our Close on, the crate answers no ping.
            if !self.close_sent {
                self.pongs_queued += 1;
                self.count_queued(length);
            }
            return Event::Ping;
        }
        if message.is_pong() {
            return Event::Pong(message.as_payload().to_vec());
        }
        if let Some((code, reason)) = message.as_close() {
            let code = (code != CloseCode::NO_STATUS_RECEIVED).then(|| u16::from(code));
            let reason = reason.to_owned();
            if !self.close_sent {
                self.count_queued(length.min(2));
            }
            self.reading = Reading::Discarding;
            return Event::Close { code, reason };
        }
        let as_text = message.is_text() || self.settings.binary == Binary::TextIfUtf8;
        let payload = Bytes::from(message.into_payload());
        // Before the payload is converted: it is then its buffer's only owner, and not copied.
        self.rest();
        let payload = Vec::from(payload);
        if as_text {
            String::from_utf8(payload)
                .map_or_else(|error| Event::Binary(error.into_bytes()), Event::Text)
        } else {
            Event::Binary(payload)
        }
    }

    fn fail(&mut self, error: &Error) -> Result<Event, Ending> {
        let code = if let Error::PayloadTooLong { .. } = error {
            CloseCode::MESSAGE_TOO_BIG
        } else if let Error::Protocol(ProtocolError::InvalidUtf8) = error {
            CloseCode::INVALID_FRAME_PAYLOAD_DATA
        } else if let Error::Protocol(_) = error {
            CloseCode::PROTOCOL_ERROR
        } else if self.stream().at_end {
            // The stream ended inside a frame.
            return Err(self.end(Ending::Eof));
        } else {
            return Err(self.end(Ending::Lost(kind(error))));
        };
        let reason = error.to_string();
        // For most violations the crate has queued a Close by itself and refuses this one.
        if !self.queue(Message::close(Some(code), &reason)) {
            self.count_queued(MAX_CONTROL);
        }
        self.reading = Reading::Discarding;
        Ok(Event::Violation { code: code.into(), reason })
    }

    fn end(&mut self, ending: Ending) -> Ending {
        self.reading = Reading::Ended(ending);
        ending
    }

    fn queue(&mut self, message: Message) -> bool {
        let length = message.as_payload().len();
        let queued = Pin::new(self.codec()).start_send(message).is_ok();
        if queued {
            self.count_queued(length);
            self.owes_written = true;
        }
        queued
    }

    fn count_queued(&mut self, payload: usize) {
        self.dirty = true;
        self.queued += frame_length(payload);
    }

    /// All bytes that were read have been told as messages: the codec's read buffer is empty.
    fn all_told(&self) -> bool {
        let Metered { ahead, boundary, .. } = self.stream();
        ahead.is_empty() && !boundary.mid_message() && boundary.messages() == self.told
    }

    /// Lets go of the codec at a moment at which it holds nothing. Not after a Close: a new codec
    /// would not know of it.
    fn rest(&mut self) {
        let open = self.reading == Reading::Messages && !self.close_sent;
        if open
            && !self.dirty
            && self.all_told()
            && let Some(mut codec) = self.codec.take()
        {
            self.stream = codec.get_mut().detach();
        }
    }

    /// The codec, made anew if there is none.
    fn codec(&mut self) -> &mut WebSocketStream<Metered<S>> {
        self.codec
            .get_or_insert_with(|| Box::new(serve(self.stream.detach(), self.settings.max_message)))
    }

    fn stream(&self) -> &Metered<S> {
        self.codec.as_ref().map_or(&self.stream, |codec| codec.get_ref())
    }

    fn stream_mut(&mut self) -> &mut Metered<S> {
        match &mut self.codec {
            Some(codec) => codec.get_mut(),
            None => &mut self.stream,
        }
    }
}

impl WebSocket<Stream> {
    /// Bytes that the client has not taken from the kernel ([`Stream::unsent`]). What the kernel
    /// has not taken is [`unwritten`](Self::unwritten).
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.stream().get_ref().map_or(0, Stream::unsent)
    }

    /// Ends the connection with a reset ([`Stream::abort`]).
    pub fn abort(mut self) {
        if let Some(stream) = self.stream_mut().detach().into_inner() {
            stream.abort();
        }
    }
}

/// Whether an endpoint may send this close code (RFC 6455 §7.4 and the IANA registry): 1000-1014
/// without 1004, 1005, 1006, and 3000-4999.
#[must_use]
pub fn can_be_sent(code: u16) -> bool {
    sendable(code).is_some()
}

fn sendable(code: u16) -> Option<CloseCode> {
    CloseCode::try_from(code).ok().filter(|code| !code.is_reserved())
}

/// The longest beginning of `text` of at most `bytes` that ends between two characters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: Metered<S>,
    max_message: usize,
) -> WebSocketStream<Metered<S>> {
    ServerBuilder::new()
        // One frame a message: some clients know no fragments.
        .config(Config::default().frame_size(usize::MAX))
        .limits(Limits::default().max_payload_len(Some(max_message)))
        .serve(stream)
}

/// Length of a frame as a server sends it, unmasked (RFC 6455 §5.2).
fn frame_length(payload: usize) -> u64 {
    let header = match payload {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    header + payload as u64
}

fn kind(error: &Error) -> io::ErrorKind {
    if let Error::Io(error) = error { error.kind() } else { io::ErrorKind::Other }
}

#[cfg(test)]
mod tests;
