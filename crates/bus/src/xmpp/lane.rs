//! The way out on one stream: what waits, what is being written, and whether the server still
//! listens.
//!
//! Law: an envelope of which no byte has been handed on can be given back; of any other nobody
//! knows whether it has arrived.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use slackwater_core::osrf::envelope::{Outgoing, Refusal};
use tokio::io::{AsyncWrite as _, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::reader::{PING, QUESTIONS, Reader};
use super::site::Site;
use super::stream::Stream;
use crate::Event;
use crate::overdue::Overdue;
use crate::sender::Queued;
use crate::socket::Duplex;

/// About the most bytes that are made ready to be written; with a stanza more.
const READY: usize = 64 * 1024;
/// Room that is kept for them.
const MOST_KEPT: usize = 4 * READY;
/// A server that answers no ping and says nothing else for so long is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a server is trusted to read in a second, on top of [`PATIENCE`]: half of what the slowest
/// shaper that OpenSRF recommends lets through (OPENSRF-XMPP §1).
const BYTES_A_SECOND: u64 = 250_000;
/// An idle stream is looked after so often, one in use with every look.
const IDLE: Duration = Duration::from_secs(10);

/// One stream.
pub(super) struct Lane {
    writing: WriteHalf<Box<dyn Duplex>>,
    limit: usize,
    pub(super) reader: Reader,
    answers: mpsc::Receiver<String>,
    waiting: VecDeque<Queued>,
    /// What is being written, and the room that it takes up.
    ready: BytesMut,
    rooms: Vec<OwnedSemaphorePermit>,
    is_flushed: bool,
    /// Bytes made ready so far.
    sent: u64,
    watch: Watch,
}

/// Our pings, and what was heard.
struct Watch {
    /// The last one, and when it was sent.
    ping: u64,
    since: Instant,
    /// What had been sent by then, and by the one before.
    sent: u64,
    sent_before: u64,
    /// What had been heard when it was last looked, and when that was new.
    bytes: u64,
    heard: Instant,
    overdue: Overdue,
}

impl Lane {
    pub(super) fn new(stream: Stream, events: mpsc::Sender<Event>) -> Self {
        let (asks, answers) = mpsc::channel(QUESTIONS);
        let limit = stream.limit;
        let (writing, reader) = stream.start(events, asks);
        let now = Instant::now();
        let overdue = Overdue::default();
        let watch =
            Watch { ping: 0, since: now, sent: 0, sent_before: 0, bytes: 0, heard: now, overdue };
        Self {
            writing,
            limit,
            reader,
            answers,
            waiting: VecDeque::new(),
            ready: BytesMut::new(),
            rooms: Vec::new(),
            is_flushed: true,
            sent: 0,
            watch,
        }
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.waiting.push_back(queued);
    }

    /// What was certainly not sent.
    pub(super) fn unsent(&mut self) -> impl Iterator<Item = Queued> {
        self.waiting.drain(..)
    }

    /// Makes text ready, ahead of all that waits.
    pub(super) fn say(&mut self, text: &str) {
        self.ready.extend_from_slice(text.as_bytes());
        self.sent += text.len() as u64;
    }

    /// Writes all that waits. What may not be sent is added to `refused`.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        site: &Site,
        numbers: &mut u64,
        refused: &mut Vec<(Outgoing, Refusal)>,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Poll::Ready(Some(answer)) = self.answers.poll_recv(context) {
                self.say(&answer);
            }
            while self.ready.len() < READY
                && let Some(Queued { envelope, room, .. }) = self.waiting.pop_front()
            {
                *numbers += 1;
                match site.text(&envelope, *numbers, self.limit) {
                    Ok(text) => {
                        self.say(&text);
                        self.rooms.push(room);
                    }
                    Err(why) => refused.push((envelope, why)),
                }
            }
            if self.ready.is_empty() {
                self.rooms.clear();
                // `capacity` would tell only what is behind what was sent.
                if self.ready.try_reclaim(MOST_KEPT + 1) {
                    self.ready = BytesMut::new();
                }
                if !self.is_flushed {
                    ready!(Pin::new(&mut self.writing).poll_flush(context))?;
                    self.is_flushed = true;
                }
                return Poll::Ready(Ok(()));
            }
            let length = ready!(Pin::new(&mut self.writing).poll_write(context, &self.ready))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ready.advance(length);
            self.is_flushed = false;
        }
    }

    /// Asks the server whether it is there, if it is time; or says why it is taken to be gone.
    pub(super) fn look(&mut self, site: &Site, now: Instant) -> Result<(), String> {
        let answered = *self.reader.heard.ping.borrow() >= self.watch.ping;
        let bytes = self.reader.heard.bytes.load(Ordering::Relaxed);
        let is_busy = !self.reader.heard.waits.load(Ordering::Relaxed);
        let watch = &mut self.watch;
        if bytes != watch.bytes || is_busy {
            (watch.bytes, watch.heard) = (bytes, now);
        }
        let under_way = (watch.sent - watch.sent_before) / BYTES_A_SECOND;
        let patience = PATIENCE + Duration::from_secs(under_way);
        let silent = now.duration_since(watch.since.max(watch.heard));
        if watch.overdue.look(!answered && silent >= patience) {
            return Err(format!("the server has said nothing for {} s", silent.as_secs()));
        }
        if answered && (self.sent > watch.sent || now.duration_since(watch.since) >= IDLE) {
            self.ping(site, now);
        }
        Ok(())
    }

    /// Asks the server whether it is there: once it says so, it has read all that was sent before.
    pub(super) fn ping(&mut self, site: &Site, now: Instant) {
        self.watch.ping += 1;
        let text = format!(
            "<iq type=\"get\" id=\"{PING}{}\" to=\"{}\"><ping xmlns=\"urn:xmpp:ping\"/></iq>",
            self.watch.ping, site.domain
        );
        self.say(&text);
        let watch = &mut self.watch;
        (watch.since, watch.sent_before, watch.sent) = (now, watch.sent, self.sent);
    }

    /// Waits until the last ping is answered. False: it never will be.
    pub(super) async fn answered(&mut self) -> bool {
        let ping = self.watch.ping;
        self.reader.heard.ping.wait_for(|answered| *answered >= ping).await.is_ok()
    }

    /// Polls its reader's end.
    pub(super) fn poll_stopped(&mut self, context: &mut Context<'_>) -> Poll<String> {
        let stopped = ready!(Pin::new(&mut self.reader.task).poll(context));
        Poll::Ready(stopped.unwrap_or_else(|error| format!("the reader failed: {error}")))
    }
}
