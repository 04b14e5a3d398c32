//! The one who reads our list: a task with a connection of its own, which waits for nothing but
//! messages and the gateway's event channel, and is never stopped while it waits for a message.

use std::sync::Arc;

use slackwater_core::osrf::envelope::Incoming;
use slackwater_core::seldom::Seldom;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::envelope;
use super::link::{Broken, Link};
use super::site::Site;
use crate::Event;

/// The most messages that are taken at once.
const MOST_AT_ONCE: usize = 500;
/// About the most bytes that are taken at once, judged by what came before.
const BYTES_AT_ONCE: usize = 1 << 20;
/// The message to ourselves after which the list is read dry and the task ends.
pub(super) const LAST: u64 = u64::MAX;

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
    pub(super) fn start(link: Link, site: Arc<Site>, events: mpsc::Sender<Event>) -> Self {
        let (show, seen) = watch::channel(0);
        Self { task: tokio::spawn(read(link, site, events, show)), seen }
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for its end. Once only.
    pub(super) async fn stopped(&mut self) -> Stopped {
        let failed = |error| Stopped::Broken(Broken::Lost(format!("the reader failed: {error}")));
        (&mut self.task).await.unwrap_or_else(failed)
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
    site: Arc<Site>,
    events: mpsc::Sender<Event>,
    show: watch::Sender<u64>,
) -> Stopped {
    let mut count = MOST_AT_ONCE;
    loop {
        let last = *show.borrow() == LAST;
        let taken = if last {
            link.take(&site.address, count).await
        } else {
            link.wait(&site.address, count).await
        };
        let messages = match taken {
            Ok(messages) if messages.is_empty() && last => return Stopped::Dry,
            Ok(messages) => messages,
            Err(broken) => return Stopped::Broken(broken),
        };
        count = next_count(&messages).unwrap_or(count);
        let envelopes = sort(&messages, &site.mark, &show);
        if !envelopes.is_empty() && events.send(Event::Received(envelopes)).await.is_err() {
            return Stopped::Unheard;
        }
    }
}

/// The envelopes among `messages`; a message to ourselves is shown, rubbish is dropped.
fn sort(messages: &[Vec<u8>], mark: &str, show: &watch::Sender<u64>) -> Vec<Incoming> {
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

/// How many messages to take next, if they are as large as these.
fn next_count(messages: &[Vec<u8>]) -> Option<usize> {
    let bytes: usize = messages.iter().map(Vec::len).sum();
    let mean = bytes.checked_div(messages.len())?.max(1);
    Some((BYTES_AT_ONCE / mean).clamp(1, MOST_AT_ONCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_are_taken_by_fewer() {
        assert_eq!(next_count(&[]), None);
        assert_eq!(next_count(&[vec![0; 100], vec![0; 300]]), Some(MOST_AT_ONCE));
        assert_eq!(next_count(&[vec![0; 256 << 10]]), Some(4));
        assert_eq!(next_count(&[vec![0; 10 << 20]]), Some(1));
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
        let envelopes = sort(&messages, "slackwater:abc:", &show);
        let threads: Vec<&str> = envelopes.iter().map(|e| e.thread.as_str()).collect();
        assert_eq!((threads, *seen.borrow()), (vec!["1", "2"], 7));
    }
}
