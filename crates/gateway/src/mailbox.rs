//! What waits for one client. Whoever delivers never waits: a client for which too much waits is
//! told to end, and hurts nobody else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use slackwater_core::osrf::envelope::Incoming;
use slackwater_core::session::{self, Deadlines, FromBus, Phase};
use tokio::sync::{Notify, oneshot};

use crate::operate::metrics::Census;
use crate::operate::status::Connection;

/// Something for a client's task.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Something from the bus.
    Bus(FromBus),
    /// Drain, by these deadlines.
    Drain(Deadlines),
    /// The drain is called off.
    Undrain,
    /// Go by these from now on.
    Configure(Arc<session::Config>),
    /// More waits than may wait.
    Overflow,
    /// An operator asks how it stands.
    Describe(oneshot::Sender<Connection>),
}

/// The queue of one client, bounded by bytes.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    arrival: Notify,
}

#[derive(Debug)]
struct Queue {
    limit: usize,
    letters: VecDeque<Letter>,
    bytes: usize,
    /// Bytes that the client's task has taken and the kernel has not.
    unwritten: usize,
    overflowed: bool,
    /// What the client's session is at.
    phase: Phase,
    /// Whether the client holds a drain: something is pending, or a session is open.
    holds: bool,
}

impl Mailbox {
    /// An empty one. `limit` bounds the bytes that wait, here and for the kernel.
    pub(crate) fn new(limit: usize) -> Self {
        let queue = Queue {
            limit,
            letters: VecDeque::new(),
            bytes: 0,
            unwritten: 0,
            overflowed: false,
            phase: Phase::Open,
            holds: false,
        };
        Self { queue: Mutex::new(queue), arrival: Notify::new() }
    }

    /// Another limit, and other rules for the client's session.
    pub(crate) fn configure(&self, limit: usize, sessions: Arc<session::Config>) {
        self.lock().limit = limit;
        self.post(Letter::Configure(sessions));
    }

    /// Puts an answer in; past the limit it is dropped, and the client is told to end.
    pub(crate) fn deliver(&self, envelope: Incoming) {
        let mut queue = self.lock();
        if queue.overflowed {
            return;
        }
        let bytes = envelope.body.len();
        if queue.bytes + queue.unwritten + bytes > queue.limit {
            queue.overflowed = true;
            queue.letters.push_back(Letter::Overflow);
        } else {
            queue.bytes += bytes;
            queue.letters.push_back(Letter::Bus(FromBus::Envelope(envelope)));
        }
        drop(queue);
        self.arrival.notify_one();
    }

    /// Puts a word from inside the process in.
    pub(crate) fn post(&self, letter: Letter) {
        self.lock().letters.push_back(letter);
        self.arrival.notify_one();
    }

    /// Everything that has come, in order, at least one letter. Cancel-safe.
    pub(crate) async fn take(&self) -> VecDeque<Letter> {
        loop {
            {
                let mut queue = self.lock();
                if !queue.letters.is_empty() {
                    queue.bytes = 0;
                    return std::mem::take(&mut queue.letters);
                }
            }
            self.arrival.notified().await;
        }
    }

    /// What the client's task tells whoever delivers: how many bytes the kernel has not taken, what
    /// its session is at, and whether it holds a drain. True if more waits than may.
    pub(crate) fn report(&self, unwritten: usize, phase: Phase, holds: bool) -> bool {
        let mut queue = self.lock();
        queue.unwritten = unwritten;
        queue.phase = phase;
        queue.holds = holds;
        unwritten > queue.limit && !std::mem::replace(&mut queue.overflowed, true)
    }

    /// Whether the client holds a drain.
    pub(crate) fn holds(&self) -> bool {
        self.lock().holds
    }

    /// Counts the client among all.
    pub(crate) fn enter(&self, census: &mut Census) {
        let queue = self.lock();
        census.count(queue.phase, queue.holds, queue.bytes + queue.unwritten);
    }

    /// Bytes that wait, here and for the kernel.
    pub(crate) fn waiting(&self) -> usize {
        let queue = self.lock();
        queue.bytes + queue.unwritten
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        // No code that holds it can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use slackwater_core::osrf::json::Json;

    use super::*;

    fn envelope(bytes: usize) -> Incoming {
        let body = Json::of_our_making("1".repeat(bytes));
        Incoming { from: String::new(), thread: String::new(), xid: None, body }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_by_bytes_and_the_client_is_told() {
        let mailbox = Mailbox::new(10);
        mailbox.deliver(envelope(6));
        mailbox.report(0, Phase::Open, true);
        mailbox.deliver(envelope(4));
        assert_eq!(mailbox.waiting(), 10);
        let letters = mailbox.take().await;
        assert!(matches!(Vec::from(letters)[..], [Letter::Bus(_), Letter::Bus(_)]));

        mailbox.report(6, Phase::Open, false);
        mailbox.deliver(envelope(5));
        mailbox.deliver(envelope(1));
        let letters = mailbox.take().await;
        assert!(
            matches!(Vec::from(letters)[..], [Letter::Overflow]),
            "told once, the rest dropped"
        );
    }

    #[tokio::test]
    async fn its_own_replies_count_too() {
        let mailbox = Mailbox::new(10);
        assert!(!mailbox.report(10, Phase::Open, false));
        assert!(mailbox.report(11, Phase::Open, false));
        assert!(!mailbox.report(12, Phase::Open, false), "told once");
    }
}
