//! The one who reads a stream: a task of its own, which waits for nothing but bytes and the
//! gateway's event channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::BytesMut;
use slackwater_core::osrf::envelope::{Bounce, Incoming};
use slackwater_core::osrf::json::Json;
use tokio::io::{AsyncReadExt as _, ReadHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::escape;
use super::parser::{CLIENT, Element, Item, Parser, STREAMS};
use super::site::thread_of;
use super::stanza::{self, Message, why};
use super::stream::Stream;
use crate::Event;
use crate::socket::Duplex;

/// What the id of our own pings begins with.
pub(super) const PING: &str = "slackwater-ping-";
/// Questions of the server that may wait for an answer.
pub(super) const QUESTIONS: usize = 16;
/// Bytes that are read at once.
const AT_ONCE: usize = 64 * 1024;

/// A running reader. Stopped when dropped.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) task: JoinHandle<String>,
    pub(super) heard: Heard,
}

/// What a reader has heard.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// The last of our pings that was answered.
    pub(super) ping: watch::Receiver<u64>,
    /// Bytes, of whatever kind: the server lives.
    pub(super) bytes: Arc<AtomicU64>,
    /// It is the server's turn. While we are busy with what it has said, it is not silent.
    pub(super) waits: Arc<AtomicBool>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    /// Begins to read what comes in `stream`. What the server asks us is answered in `answers`.
    pub(super) fn start(
        stream: ReadHalf<Box<dyn Duplex>>,
        (parser, items): (Parser, Vec<Item>),
        events: mpsc::Sender<Event>,
        answers: mpsc::Sender<String>,
    ) -> Self {
        let (show, ping) = watch::channel(0);
        let heard = Heard { ping, bytes: Arc::default(), waits: Arc::default() };
        let (bytes, waits) = (Arc::clone(&heard.bytes), Arc::clone(&heard.waits));
        let reading = Reading { stream, parser, items, events, answers, show, bytes, waits };
        Self { task: tokio::spawn(reading.run()), heard }
    }
}

impl Stream {
    /// Splits it, and begins to read.
    pub(super) fn start(
        self,
        events: mpsc::Sender<Event>,
        answers: mpsc::Sender<String>,
    ) -> (tokio::io::WriteHalf<Box<dyn Duplex>>, Reader) {
        let (reading, writing) = tokio::io::split(self.wire);
        (writing, Reader::start(reading, (self.parser, self.items), events, answers))
    }
}

struct Reading {
    stream: ReadHalf<Box<dyn Duplex>>,
    parser: Parser,
    items: Vec<Item>,
    events: mpsc::Sender<Event>,
    answers: mpsc::Sender<String>,
    show: watch::Sender<u64>,
    bytes: Arc<AtomicU64>,
    waits: Arc<AtomicBool>,
}

impl Reading {
    /// Reads until the stream ends, and says why it did.
    async fn run(mut self) -> String {
        let mut bytes = BytesMut::with_capacity(AT_ONCE);
        loop {
            if let Err(reason) = self.hand_on().await {
                return reason;
            }
            bytes.clear();
            self.waits.store(true, Ordering::Relaxed);
            let read = self.stream.read_buf(&mut bytes).await;
            self.waits.store(false, Ordering::Relaxed);
            match read {
                Ok(0) => return "the server has closed the connection".to_owned(),
                Ok(length) => self.bytes.fetch_add(length as u64, Ordering::Relaxed),
                Err(error) => return crate::error::in_one_line(&error),
            };
            if let Err(error) = self.parser.feed(&bytes, &mut self.items) {
                return error.to_string();
            }
        }
    }

    /// Hands on what has come, in its order.
    async fn hand_on(&mut self) -> Result<(), String> {
        let mut envelopes = Vec::new();
        for item in std::mem::take(&mut self.items) {
            let stanza = match item {
                Item::Stanza(stanza) => stanza,
                Item::TooLarge(bytes) => {
                    tracing::warn!(bytes, "a stanza that is too large, dropped");
                    continue;
                }
                Item::Opened(_) => continue,
                Item::Closed => {
                    deliver(&self.events, &mut envelopes).await?;
                    return Err("the server has closed the stream".to_owned());
                }
            };
            if stanza.is("error", STREAMS) {
                deliver(&self.events, &mut envelopes).await?;
                return Err(format!("the server ends the stream: {}", why(&stanza)));
            }
            if stanza.is("iq", CLIENT) {
                self.question(&stanza);
            } else if let Some(message) = stanza::read(stanza) {
                match sort(message) {
                    Sorted::Envelope(envelope) => envelopes.push(envelope),
                    Sorted::Bounce(bounce) => {
                        deliver(&self.events, &mut envelopes).await?;
                        tell(&self.events, Event::Bounced(bounce)).await?;
                    }
                }
            }
        }
        deliver(&self.events, &mut envelopes).await
    }

    /// An answer to a ping of ours, or something that is asked of us.
    fn question(&self, iq: &Element) {
        let id = iq.attribute("id").unwrap_or_default();
        match iq.attribute("type") {
            // An error is an answer, too: whoever gives one lives.
            Some("result" | "error") => {
                if let Some(number) = id.strip_prefix(PING).and_then(|number| number.parse().ok()) {
                    self.show.send_replace(number);
                }
            }
            Some("get" | "set") => {
                // Who asks more than can be answered gets no answer.
                drop(self.answers.try_send(answer(iq, id)));
            }
            Some(_) | None => {}
        }
    }
}

async fn deliver(
    events: &mpsc::Sender<Event>,
    envelopes: &mut Vec<Incoming>,
) -> Result<(), String> {
    if envelopes.is_empty() {
        return Ok(());
    }
    tell(events, Event::Received(std::mem::take(envelopes))).await
}

async fn tell(events: &mpsc::Sender<Event>, event: Event) -> Result<(), String> {
    events.send(event).await.map_err(|_| "nobody listens any more".to_owned())
}

/// What we say to whoever asks us anything (RFC 6120 §8.2.3): that we are there, or that we do not
/// know what he means.
fn answer(iq: &Element, id: &str) -> String {
    let is_ping = iq.child("ping", "urn:xmpp:ping").is_some();
    let mut out = "<iq type=\"".to_owned();
    out.push_str(if is_ping { "result\" id=\"" } else { "error\" id=\"" });
    escape::attribute(&mut out, id);
    if let Some(from) = iq.attribute("from") {
        out.push_str("\" to=\"");
        escape::attribute(&mut out, from);
    }
    out.push_str(if is_ping {
        "\"/>"
    } else {
        "\"><error type=\"cancel\"><service-unavailable \
         xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/></error></iq>"
    });
    out
}

enum Sorted {
    Envelope(Incoming),
    Bounce(Bounce),
}

/// An answer, or something of ours that came back: by its id if it has one of ours, or else by its
/// thread (OPENSRF-XMPP §6).
fn sort(message: Message) -> Sorted {
    let Message { from, id, thread, xid, body, failure, .. } = message;
    if let Some(reason) = failure {
        let thread = thread_of(&id).map_or(thread, str::to_owned);
        return Sorted::Bounce(Bounce { thread, reason });
    }
    // Whatever is no JSON is nothing (xmpp `odd_replies`).
    let body = Json::read(&body).unwrap_or_else(|| Json::of_our_making("null".to_owned()));
    Sorted::Envelope(Incoming { from, thread, xid, body })
}
