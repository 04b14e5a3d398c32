//! The way onto a bus: a queue bounded by number and by bytes that never makes a sender wait.

use std::sync::Arc;

use slackwater_core::osrf::envelope::{Outgoing, Recipient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

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
}

/// An envelope on its way, with the room that it takes up until the bus is done with it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) envelope: Outgoing,
    pub(crate) room: OwnedSemaphorePermit,
}

/// A queue and its reading end, which a bus takes envelopes from.
pub(crate) fn queue(limits: QueueLimits) -> (Sender, mpsc::Receiver<Queued>) {
    let (queue, reader) = mpsc::channel(limits.envelopes.max(1));
    let bytes = Arc::new(Semaphore::new(limits.bytes.min(Semaphore::MAX_PERMITS)));
    (Sender { queue, bytes }, reader)
}

impl Sender {
    /// Hands an envelope to the bus, without waiting.
    ///
    /// `Ok` says that the bus has it, not that anybody got it: the bus may still answer with
    /// [`Event::Refused`](crate::Event::Refused).
    ///
    /// # Errors
    /// Gives the envelope back, unsent, when the queue is full or the bus has ended.
    pub fn send(&self, envelope: Outgoing) -> Result<(), Outgoing> {
        let Ok(weight) = u32::try_from(weight(&envelope)) else { return Err(envelope) };
        let Ok(room) = Arc::clone(&self.bytes).try_acquire_many_owned(weight) else {
            return Err(envelope);
        };
        match self.queue.try_reserve() {
            Ok(place) => {
                place.send(Queued { envelope, room });
                Ok(())
            }
            Err(_full_or_ended) => Err(envelope),
        }
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
        assert!(reader.try_recv().is_ok());
        assert_eq!(sender.send(envelope(11)), Ok(()));
    }

    #[test]
    fn bytes_are_bounded_until_the_bus_is_done_with_them() {
        let (sender, mut reader) = queue(QueueLimits { envelopes: 100, bytes: 2_000 });
        assert_eq!(sender.send(envelope(1_000)), Ok(()));
        assert_eq!(sender.send(envelope(1_000)), Err(envelope(1_000)));
        let taken = reader.try_recv().expect("the first one");
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

    fn envelope(length: usize) -> Outgoing {
        Outgoing {
            to: Recipient::Service("opensrf.math".to_owned()),
            thread: "t".to_owned(),
            xid: "x".to_owned(),
            body: "x".repeat(length),
        }
    }
}
