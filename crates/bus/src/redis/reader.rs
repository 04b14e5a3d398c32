//! The one who reads one of our lists: a task with a connection of its own, which waits for nothing
//! but messages and the gateway's event channel, and is never stopped while it waits for a message.
//!
//! Law: no turn is long, and who fills a list faster than it is read rests after each while somebody
//! is served on another: what fills one holds up no other.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use slackwater_core::osrf::envelope::Incoming;
use slackwater_core::seldom::Seldom;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::envelope;
use super::link::{Broken, Link};
use super::site::Site;
use crate::Event;
use crate::inbox::Inboxes;

/// The most messages that are taken out of a list at once.
const MOST_AT_ONCE: usize = 500;
/// So many may be in any case, if they are small.
const FEW: usize = 16;
/// About the most bytes that are, judged by what came before.
const BYTES_AT_ONCE: usize = 128 * 1024;
/// When little comes, so many waits are asked for ahead, so that not every message costs a question.
const AHEAD: usize = 3;
/// So many messages to ourselves end them all.
pub(super) const MOST_WAITS: usize = AHEAD + 1;
/// So long whoever is sent too much rests, for the good of others: meanwhile he is sent some 60 MiB a
/// second, more than a service makes that does anything.
const REST: Duration = Duration::from_millis(1);
/// The message to ourselves after which the list is read dry and the task ends.
pub(super) const LAST: u64 = u64::MAX;

/// What is read of a list in a turn.
struct Turn {
    /// Messages at most.
    most: usize,
}

impl Turn {
    /// Judges by what was taken, and what had come before it, how much to take next: at most twice
    /// as many, and no more bytes than is good. Whether more waits than may be taken at once.
    fn taken(&mut self, first: Option<&Vec<u8>>, messages: &[Vec<u8>]) -> bool {
        let sizes = first.into_iter().chain(messages).map(Vec::len);
        let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
        let Some(mean) = usize::checked_div(bytes, count) else { return false };
        let bound = (BYTES_AT_ONCE / mean.max(1)).clamp(1, MOST_AT_ONCE);
        let is_behind = messages.len() >= self.most.min(bound) && self.most >= bound;
        self.most = (2 * messages.len()).max(FEW).min(bound);
        is_behind
    }
}

/// A running reader.
#[derive(Debug)]
pub(super) struct Reader {
    task: JoinHandle<Stopped>,
    seen: watch::Receiver<u64>,
}

/// Why a reader has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It was told to, and the list is empty.
    Dry,
    /// Nobody takes events any more.
    Unheard,
    /// Its connection.
    Broken(Broken),
}

impl From<Stopped> for Broken {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Broken(broken) => broken,
            Stopped::Dry | Stopped::Unheard => Self::Lost("the reader has ended".to_owned()),
        }
    }
}

impl Reader {
    /// Begins to read the inbox at that place among all.
    pub(super) fn start(
        link: Link,
        place: usize,
        site: Arc<Site>,
        inboxes: Arc<Inboxes>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (show, seen) = watch::channel(0);
        Self { task: tokio::spawn(read(link, place, site, inboxes, events, show)), seen }
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for its end. Once only.
    pub(super) async fn stopped(&mut self) -> Stopped {
        poll_fn(|context| self.poll_stopped(context)).await
    }

    /// The same, to be asked again.
    pub(super) fn poll_stopped(&mut self, context: &mut Context<'_>) -> Poll<Stopped> {
        let failed = |error| Stopped::Broken(Broken::Lost(format!("the reader failed: {error}")));
        Pin::new(&mut self.task).poll(context).map(|outcome| outcome.unwrap_or_else(failed))
    }

    /// Waits until a message to ourselves with this number has come. False: none will come.
    pub(super) async fn sees(&mut self, number: u64) -> bool {
        self.seen.wait_for(|seen| *seen >= number).await.is_ok()
    }
}

/// Stops it: only for when nobody wants to hear what it reads.
impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    mut link: Link,
    place: usize,
    site: Arc<Site>,
    inboxes: Arc<Inboxes>,
    events: mpsc::Sender<Event>,
    show: watch::Sender<u64>,
) -> Stopped {
    let Some(list) = site.inboxes.get(place) else { return Stopped::Dry };
    if let Err(broken) = link.learn(list).await {
        return Stopped::Broken(broken);
    }
    let (mut turn, mut is_little) = (Turn { most: FEW }, true);
    loop {
        let last = *show.borrow() == LAST;
        let waits = match (last, is_little) {
            (true, _) => 0,
            (false, true) => MOST_WAITS,
            (false, false) => 1,
        };
        let most = turn.most;
        if let Err(broken) = link.ask(list, waits, most).await {
            return Stopped::Broken(broken);
        }
        let mut first = None;
        for wait in 1..=waits {
            first = match link.waited().await {
                Ok(waited) => waited,
                Err(broken) => return Stopped::Broken(broken),
            };
            // What the last wait has brought goes on with what is taken.
            if let Some(message) = &first
                && wait < waits
                && !hand_on(&events, sort(&[message], &site.mark, &show)).await
            {
                return Stopped::Unheard;
            }
        }
        let taken = match link.taken(most).await {
            Ok(taken) => taken,
            Err(broken) => return Stopped::Broken(broken),
        };
        let is_behind = turn.taken(first.as_ref(), &taken);
        inboxes.report(place, is_behind);
        is_little = taken.is_empty();
        let messages: Vec<&Vec<u8>> = first.iter().chain(&taken).collect();
        if messages.is_empty() && last {
            return Stopped::Dry;
        }
        if !messages.is_empty() {
            inboxes.hear(place);
        }
        if !hand_on(&events, sort(&messages, &site.mark, &show)).await {
            return Stopped::Unheard;
        }
        if is_behind && !last && inboxes.are_others_heard(place) {
            sleep(REST).await;
        }
    }
}

/// False: nobody takes events any more.
async fn hand_on(events: &mpsc::Sender<Event>, envelopes: Vec<Incoming>) -> bool {
    envelopes.is_empty() || events.send(Event::Received(envelopes)).await.is_ok()
}

/// The envelopes among `messages`; a message to ourselves is shown, rubbish is dropped.
fn sort(messages: &[&Vec<u8>], mark: &str, show: &watch::Sender<u64>) -> Vec<Incoming> {
    let mut envelopes = Vec::with_capacity(messages.len());
    for message in messages {
        if let Some(envelope) = envelope::read_incoming(message) {
            envelopes.push(envelope);
        } else if let Some(number) = to_ourselves(message, mark) {
            show.send_replace(number);
        } else {
            static SELDOM: Seldom = Seldom::new();
            if let Some(left_out) = SELDOM.again(std::time::Instant::now()) {
                let start = String::from_utf8_lossy(&message[..message.len().min(64)]);
                let bytes = message.len();
                tracing::warn!(bytes, %start, left_out, "not an envelope, dropped");
            }
        }
    }
    envelopes
}

fn to_ourselves(message: &[u8], mark: &str) -> Option<u64> {
    std::str::from_utf8(message).ok()?.strip_prefix(mark)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_grows_with_what_waits_and_stays_short_in_bytes() {
        let mut turn = Turn { most: FEW };
        let of = |count, bytes| vec![vec![0; bytes]; count];
        assert!(!turn.taken(None, &[]));
        for (waits, then) in [(3, 16), (16, 32), (32, 64), (64, 128), (128, 256), (256, 500)] {
            assert!(!turn.taken(None, &of(waits, 200)), "{waits}");
            assert_eq!(turn.most, then);
        }
        assert!(turn.taken(None, &of(500, 200)));
        assert!(!turn.taken(None, &of(499, 200)));
        assert!(!turn.taken(Some(&vec![0; 200]), &[]));
        assert_eq!(turn.most, 16);
        assert!(turn.taken(None, &of(16, 64 << 10)), "far more than is good");
        assert_eq!(turn.most, 2);
        assert!(turn.taken(None, &of(2, 64 << 10)));
        assert!(!turn.taken(None, &of(1, 64 << 10)));
        assert!(!turn.taken(Some(&vec![0; 10 << 20]), &[]));
        assert_eq!(turn.most, 1);
    }

    #[test]
    fn envelopes_own_messages_and_rubbish_are_told_apart() {
        let (show, seen) = watch::channel(0);
        let messages = [
            br#"{"thread":"1","body":[]}"#.to_vec(),
            b"slackwater:abc:7".to_vec(),
            b"slackwater:other:9".to_vec(),
            b"\xff\xfe".to_vec(),
            br#"{"thread":"2","body":[]}"#.to_vec(),
        ];
        let messages: Vec<&Vec<u8>> = messages.iter().collect();
        let envelopes = sort(&messages, "slackwater:abc:", &show);
        let threads: Vec<&str> = envelopes.iter().map(|e| e.thread.as_str()).collect();
        assert_eq!((threads, *seen.borrow()), (vec!["1", "2"], 7));
    }
}
