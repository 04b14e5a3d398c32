//! The way onto a bus: a queue bounded by number and by bytes that never makes a sender wait.

use std::sync::Arc;

use slackwater_core::osrf::envelope::{Outgoing, Recipient};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::inbox::{Inbox, Inboxes};

/// How much a bus takes before it gives envelopes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Envelopes that wait for the bus. At least 1.
    pub envelopes: usize,
    /// Bytes of envelopes that the bus has accepted and is not done with. An envelope weighs its
    /// text and 256 bytes; one that weighs more than the limit is never taken.
    pub bytes: usize,
}

impl Default for QueueLimits {
    /// 16,384 envelopes, 128 MiB.
    fn default() -> Self {
        Self { envelopes: 16_384, bytes: 128 << 20 }
    }
}

/// What an envelope is taken to cost beside its text, bytes.
const OVERHEAD: usize = 256;

/// Puts envelopes on a bus; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    closing: Arc<Notify>,
    ended: watch::Receiver<()>,
    inboxes: Arc<Inboxes>,
}

/// An envelope on its way, with the room that it takes up until the bus is done with it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) envelope: Outgoing,
    /// Where answers to it come.
    pub(crate) inbox: Inbox,
    pub(crate) room: OwnedSemaphorePermit,
}

/// The end of a queue that a bus takes envelopes from. Dropping it says that the bus has ended.
#[derive(Debug)]
pub(crate) struct Queue {
    reader: mpsc::Receiver<Queued>,
    closing: Arc<Notify>,
    inboxes: Arc<Inboxes>,
    _ended: watch::Sender<()>,
}

/// A queue and its reading end.
pub(crate) fn queue(limits: QueueLimits) -> (Sender, Queue) {
    let (queue, reader) = mpsc::channel(limits.envelopes.max(1));
    let bytes = Arc::new(Semaphore::new(limits.bytes.min(Semaphore::MAX_PERMITS)));
    let closing = Arc::new(Notify::new());
    let (end, ended) = watch::channel(());
    let inboxes = Arc::new(Inboxes::default());
    let sender = Sender {
        queue,
        bytes,
        closing: Arc::clone(&closing),
        ended,
        inboxes: Arc::clone(&inboxes),
    };
    (sender, Queue { reader, closing, inboxes, _ended: end })
}

impl Sender {
    /// Hands an envelope to the bus, without waiting; what answers it comes to the first inbox.
    ///
    /// # Errors
    /// As [`Sender::send_from`].
    pub fn send(&self, envelope: Outgoing) -> Result<(), Outgoing> {
        self.send_from(Inbox::default(), envelope)
    }

    /// The inbox that a client which waits for nothing takes best: the one that it has, unless more
    /// waits there than is read at once.
    #[must_use]
    pub fn inbox(&self, now: Inbox) -> Inbox {
        self.inboxes.choose(now)
    }

    /// Hands an envelope to the bus, without waiting; what answers it comes to `inbox`, on a bus that
    /// has such.
    ///
    /// `Ok` says that the bus has it, not that anybody got it: the bus may still answer with
    /// [`Event::Refused`](crate::Event::Refused).
    ///
    /// # Errors
    /// Gives the envelope back, unsent, when the queue is full or the bus has ended.
    pub fn send_from(&self, inbox: Inbox, envelope: Outgoing) -> Result<(), Outgoing> {
        let Ok(weight) = u32::try_from(weight(&envelope)) else { return Err(envelope) };
        let Ok(room) = Arc::clone(&self.bytes).try_acquire_many_owned(weight) else {
            return Err(envelope);
        };
        match self.queue.try_reserve() {
            Ok(place) => {
                place.send(Queued { envelope, inbox, room });
                Ok(())
            }
            Err(_full_or_ended) => Err(envelope),
        }
    }

    /// Takes the bus to an orderly end, and waits for it: what was accepted is sent, nothing more
    /// is taken, and what has arrived is given to the reader of the events, who must go on reading
    /// meanwhile. A bus that does not answer is waited for for some seconds at most.
    pub async fn close(&self) {
        self.closing.notify_one();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl Queue {
    /// The next envelope; `None` when nobody can send any more. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Queued> {
        loop {
            tokio::select! {
                queued = self.reader.recv() => return queued,
                () = self.closing.notified() => self.reader.close(),
            }
        }
    }

    /// How the inboxes stand.
    pub(crate) const fn inboxes(&self) -> &Arc<Inboxes> {
        &self.inboxes
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.reader.len()
    }

    /// What waits already, if anything does.
    pub(crate) fn waiting(&mut self) -> Option<Queued> {
        self.reader.try_recv().ok()
    }

    /// Everything that waits, up to about so many bytes; at least one envelope. `None` when nobody
    /// can send any more. Dropping the future loses nothing.
    pub(crate) async fn batch(&mut self, most_bytes: usize) -> Option<Vec<Queued>> {
        let first = self.next().await?;
        let mut bytes = first.room.num_permits();
        let mut batch = vec![first];
        while bytes < most_bytes
            && let Some(next) = self.waiting()
        {
            bytes += next.room.num_permits();
            batch.push(next);
        }
        Some(batch)
    }
}

fn weight(envelope: &Outgoing) -> usize {
    let (Recipient::Service(to) | Recipient::Worker(to)) = &envelope.to;
    let text = to.len() + envelope.thread.len() + envelope.xid.len() + envelope.body.len();
    text + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_envelope_back() {
        let (sender, mut reader) = queue(QueueLimits { envelopes: 2, bytes: 1 << 20 });
        assert_eq!(sender.send(envelope(10)), Ok(()));
        assert_eq!(sender.send(envelope(10)), Ok(()));
        assert_eq!(sender.send(envelope(11)), Err(envelope(11)));
        assert!(reader.waiting().is_some());
        assert_eq!(sender.send(envelope(11)), Ok(()));
    }

    #[test]
    fn bytes_are_bounded_until_the_bus_is_done_with_them() {
        let (sender, mut reader) = queue(QueueLimits { envelopes: 100, bytes: 2_000 });
        assert_eq!(sender.send(envelope(1_000)), Ok(()));
        assert_eq!(sender.send(envelope(1_000)), Err(envelope(1_000)));
        let taken = reader.waiting().expect("the first one");
        assert_eq!(sender.send(envelope(1_000)), Err(envelope(1_000)), "read, but not done with");
        drop(taken);
        assert_eq!(sender.send(envelope(1_000)), Ok(()));
    }

    #[test]
    fn an_envelope_over_the_limit_is_never_taken() {
        let (sender, _reader) = queue(QueueLimits { envelopes: 100, bytes: 2_000 });
        assert_eq!(sender.send(envelope(2_000)), Err(envelope(2_000)));
        assert_eq!(sender.send(envelope(1_000)), Ok(()), "and leaves the room as it was");
    }

    #[test]
    fn a_bus_that_has_ended_gives_the_envelope_back() {
        let (sender, reader) = queue(QueueLimits::default());
        drop(reader);
        assert_eq!(sender.send(envelope(1)), Err(envelope(1)));
        assert_eq!(sender.bytes.available_permits(), QueueLimits::default().bytes);
    }

    #[tokio::test]
    async fn closing_takes_nothing_more_keeps_what_waits_and_ends_with_the_bus() {
        let (sender, mut reader) = queue(QueueLimits::default());
        assert_eq!(sender.send(envelope(1)), Ok(()));
        let closer = sender.clone();
        let close = tokio::spawn(async move { closer.close().await });
        assert!(reader.next().await.is_some(), "what was accepted is still there");
        assert!(reader.next().await.is_none(), "and then the end");
        assert_eq!(sender.send(envelope(2)), Err(envelope(2)));
        assert!(!close.is_finished(), "the bus is still there");
        drop(reader);
        close.await.expect("the bus has ended");
    }

    #[tokio::test]
    async fn a_batch_is_what_waits_up_to_a_number_of_bytes() {
        let (sender, mut reader) = queue(QueueLimits::default());
        for length in [1_000, 1_001, 1_002] {
            assert_eq!(sender.send(envelope(length)), Ok(()));
        }
        let lengths = |batch: Option<Vec<Queued>>| {
            let batch = batch.expect("some").into_iter();
            batch.map(|queued| queued.envelope.body.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(reader.batch(2_000).await), [1_000, 1_001]);
        assert_eq!(lengths(reader.batch(1).await), [1_002]);
        drop(sender);
        assert!(reader.batch(1).await.is_none());
    }

    fn envelope(length: usize) -> Outgoing {
        Outgoing {
            to: Recipient::Service("opensrf.math".to_owned()),
            thread: "t".to_owned(),
            xid: "x".to_owned(),
            body: "x".repeat(length),
        }
    }
}
