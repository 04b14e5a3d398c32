//! What waits for one client. Whoever delivers never waits: a client for which too much waits is
//! told to end, and hurts nobody else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use slackwater_bus::turns;
use slackwater_core::osrf::envelope::Incoming;
use slackwater_core::session::{self, Deadlines, FromBus, Phase};
use tokio::sync::{Notify, oneshot};

use crate::operate::metrics::Census;
use crate::operate::status::Connection;
use crate::waiting::Waiting;

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

impl Letter {
    /// What counts of it.
    fn bytes(&self) -> usize {
        match self {
            Self::Bus(FromBus::Envelope(envelope)) => envelope.body.len(),
            Self::Bus(_)
            | Self::Drain(_)
            | Self::Undrain
            | Self::Configure(_)
            | Self::Overflow
            | Self::Describe(_) => 0,
        }
    }
}

/// What may wait for a client, bytes, that is still modest.
const LITTLE: usize = 64 * 1024;
/// Answers of so many bytes may hold up those of others.
const MUCH: usize = 1024 * 1024;

/// The queue of one client, bounded by bytes.
#[derive(Debug)]
pub(crate) struct Mailbox {
    waiting: Arc<Waiting>,
    queue: Mutex<Queue>,
    arrival: Notify,
}

#[derive(Debug)]
struct Queue {
    limit: usize,
    letters: VecDeque<Letter>,
    bytes: usize,
    /// All bytes of answers that have come since the client last waited for nothing.
    delivered: usize,
    overflowed: bool,
    standing: Standing,
    /// What of it stands in the sum over all clients.
    counted: usize,
}

/// How a client stands, as its task reports it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Bytes that the task has taken and the kernel has not.
    pub(crate) unwritten: usize,
    /// Bytes of messages that are not whole yet.
    pub(crate) half_read: usize,
    /// Bytes of requests that wait behind a CONNECT.
    pub(crate) held: usize,
    /// What the session is at.
    pub(crate) phase: Phase,
    /// Whether it holds a drain: something is pending, or a session is open.
    pub(crate) holds: bool,
}

impl Standing {
    /// Of a client that has just come.
    const NEW: Self =
        Self { unwritten: 0, half_read: 0, held: 0, phase: Phase::Open, holds: false };
}

impl Queue {
    /// Bytes that wait for the client to read.
    fn to_read(&self) -> usize {
        self.bytes + self.standing.unwritten
    }

    /// Takes a turn's worth of letters. What is taken is counted until the task reports what has become
    /// of it.
    fn take(&mut self) -> VecDeque<Letter> {
        let (mut count, mut bytes) = (0, 0);
        for letter in &self.letters {
            if bytes >= turns::FULL {
                break;
            }
            count += 1;
            bytes += letter.bytes();
        }
        self.bytes -= bytes;
        turns::worked(bytes);
        let rest = self.letters.split_off(count);
        std::mem::replace(&mut self.letters, rest)
    }

    fn all(&self) -> usize {
        self.to_read() + self.standing.half_read + self.standing.held
    }
}

impl Mailbox {
    /// An empty one. `limit` bounds the bytes that wait, here and for the kernel.
    pub(crate) fn new(limit: usize, waiting: Arc<Waiting>) -> Self {
        waiting.join();
        let queue = Queue {
            limit,
            letters: VecDeque::new(),
            bytes: 0,
            delivered: 0,
            overflowed: false,
            standing: Standing::NEW,
            counted: 0,
        };
        Self { waiting, queue: Mutex::new(queue), arrival: Notify::new() }
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
        let letter = Letter::Bus(FromBus::Envelope(envelope));
        let bytes = letter.bytes();
        let too_much =
            queue.to_read() + bytes > queue.limit || self.waiting.sheds(queue.all() + bytes, bytes);
        if too_much {
            queue.overflowed = true;
            queue.letters.push_back(Letter::Overflow);
        } else {
            queue.bytes += bytes;
            queue.delivered = queue.delivered.saturating_add(bytes);
            queue.letters.push_back(letter);
            self.count(&mut queue);
        }
        drop(queue);
        self.arrival.notify_one();
    }

    /// Puts a word from inside the process in.
    pub(crate) fn post(&self, letter: Letter) {
        self.lock().letters.push_back(letter);
        self.arrival.notify_one();
    }

    /// What has come, in order, at least one letter, and as much as makes a full turn. Cancel-safe.
    pub(crate) async fn take(&self) -> VecDeque<Letter> {
        loop {
            {
                let mut queue = self.lock();
                if !queue.letters.is_empty() {
                    let taken = queue.take();
                    if !queue.letters.is_empty() {
                        self.arrival.notify_one();
                    }
                    return taken;
                }
            }
            self.arrival.notified().await;
        }
    }

    /// What the client's task tells whoever delivers. True if more waits than may.
    pub(crate) fn report(&self, standing: Standing) -> bool {
        let mut queue = self.lock();
        queue.standing = standing;
        self.count(&mut queue);
        let too_much = standing.unwritten > queue.limit || self.waiting.sheds(queue.all(), 0);
        too_much && !std::mem::replace(&mut queue.overflowed, true)
    }

    /// Whether the client holds a drain.
    pub(crate) fn holds(&self) -> bool {
        self.lock().standing.holds
    }

    /// The client begins to wait for an answer. Whether it may have it come elsewhere than the last:
    /// only if it waited for nothing until now, and not if it was sent much since it last did, since it
    /// would take with it what it makes others wait for.
    pub(crate) fn begins(&self) -> bool {
        let mut queue = self.lock();
        // Until its task reports that it does not.
        if std::mem::replace(&mut queue.standing.holds, true) {
            return false;
        }
        std::mem::take(&mut queue.delivered) < MUCH
    }

    /// Whether the client may have something new begun: in any case as long as little waits for all
    /// clients, and later if little waits for it.
    pub(crate) fn may_begin(&self) -> bool {
        !self.waiting.is_pressed() || self.lock().all() <= LITTLE
    }

    /// Brings the sum over all clients up to date.
    fn count(&self, queue: &mut Queue) {
        let now = queue.all();
        self.waiting.change(std::mem::replace(&mut queue.counted, now), now);
    }

    /// Counts the client among all.
    pub(crate) fn enter(&self, census: &mut Census) {
        let queue = self.lock();
        census.count(queue.standing.phase, queue.standing.holds, queue.all());
    }

    /// Bytes that wait, here and for the kernel.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().to_read()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        // No code that holds it can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.waiting.leave(self.lock().counted);
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

    fn mailbox(limit: usize) -> Mailbox {
        Mailbox::new(limit, Arc::new(Waiting::new(1_000)))
    }

    fn unwritten(bytes: usize) -> Standing {
        Standing { unwritten: bytes, ..Standing::NEW }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_by_bytes_and_the_client_is_told() {
        let mailbox = mailbox(10);
        mailbox.deliver(envelope(6));
        mailbox.report(unwritten(0));
        mailbox.deliver(envelope(4));
        assert_eq!(mailbox.waiting(), 10);
        let letters = mailbox.take().await;
        assert!(matches!(Vec::from(letters)[..], [Letter::Bus(_), Letter::Bus(_)]));

        mailbox.report(unwritten(6));
        mailbox.deliver(envelope(5));
        mailbox.deliver(envelope(1));
        let letters = mailbox.take().await;
        assert!(
            matches!(Vec::from(letters)[..], [Letter::Overflow]),
            "told once, the rest dropped"
        );
    }

    #[tokio::test]
    async fn much_is_taken_in_several_turns_and_counted_until_it_is_taken() {
        let mailbox = Mailbox::new(usize::MAX, Arc::new(Waiting::new(usize::MAX)));
        for _ in 0..5 {
            mailbox.deliver(envelope(turns::FULL / 2));
        }
        mailbox.post(Letter::Undrain);
        let mut taken = Vec::new();
        for waits in [3, 1, 0] {
            taken.push(mailbox.take().await.len());
            assert_eq!(mailbox.waiting(), waits * turns::FULL / 2);
        }
        assert_eq!(taken, [2, 2, 2]);
    }

    #[tokio::test]
    async fn its_own_replies_count_too() {
        let mailbox = mailbox(10);
        assert!(!mailbox.report(unwritten(10)));
        assert!(mailbox.report(unwritten(11)));
        assert!(!mailbox.report(unwritten(12)), "told once");
    }

    #[test]
    fn who_has_begun_waits_until_its_task_says_that_it_does_not() {
        let mailbox = mailbox(10);
        assert!(!mailbox.holds() && mailbox.begins());
        assert!(mailbox.holds() && !mailbox.begins());
        mailbox.report(Standing { holds: true, ..Standing::NEW });
        assert!(!mailbox.begins());
        mailbox.report(Standing::NEW);
        assert!(mailbox.begins());
    }

    #[test]
    fn who_was_sent_much_stays_where_it_came() {
        let mailbox = Mailbox::new(2 * MUCH, Arc::new(Waiting::new(8 * MUCH)));
        for (bytes, moves) in [(MUCH - 1, true), (MUCH, false), (0, true)] {
            mailbox.deliver(envelope(bytes));
            mailbox.report(Standing::NEW);
            assert_eq!(mailbox.begins(), moves, "{bytes}");
            mailbox.report(Standing::NEW);
        }
    }

    #[tokio::test]
    async fn when_too_much_waits_for_all_whoever_has_more_than_his_share_is_told() {
        let waiting = Arc::new(Waiting::new(1_000));
        let [greedy, modest] = [(); 2].map(|()| Mailbox::new(10_000, Arc::clone(&waiting)));
        modest.deliver(envelope(300));
        assert!(!greedy.report(Standing { half_read: 300, held: 350, ..unwritten(0) }));
        modest.deliver(envelope(100));
        assert_eq!(modest.take().await.len(), 2, "he has less than half: both have come");
        assert!(greedy.report(Standing { half_read: 300, held: 360, ..unwritten(0) }));
        // What was taken counts until it is known what has become of it.
        assert!(waiting.is_pressed());
        modest.report(unwritten(0));
        drop(greedy);
        assert!(!waiting.is_pressed());
        drop(modest);
    }
}
