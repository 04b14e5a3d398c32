//! What requests with labels share: counts, and holds that wait to be released. Bounded in
//! number; no lock is held across an await.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::services::Failure;

/// The most labels with a count, and the most with a hold.
const MOST_LABELS: usize = 10_000;

/// How many requests were executed, by label.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<String, u64>>);

impl Counts {
    /// Adds to a label's count and tells the new count. A label that is only read takes no room.
    ///
    /// # Errors
    /// STATUS 500 for a new label when there are too many.
    pub(super) fn add(&self, label: &str, add: u64) -> Result<u64, Failure> {
        let mut counts = lock(&self.0);
        if let Some(count) = counts.get_mut(label) {
            *count = count.saturating_add(add);
            return Ok(*count);
        }
        if add == 0 {
            return Ok(0);
        }
        if counts.len() >= MOST_LABELS {
            return Err(Failure::new(500, "too many labels are counted already"));
        }
        counts.insert(label.to_owned(), add);
        Ok(add)
    }
}

/// Requests that wait to be released, by label.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<String, broadcast::Sender<String>>>);

impl Holds {
    /// A place among those that wait for this label; the value that it is released with comes
    /// out. To drop it is to stop waiting.
    ///
    /// # Errors
    /// STATUS 500 when too many labels are waited for.
    pub(super) fn hold(&self, label: &str) -> Result<broadcast::Receiver<String>, Failure> {
        let mut holds = lock(&self.0);
        if let Some(hold) = holds.get(label) {
            return Ok(hold.subscribe());
        }
        if holds.len() >= MOST_LABELS {
            holds.retain(|_, hold| hold.receiver_count() > 0);
        }
        if holds.len() >= MOST_LABELS {
            return Err(Failure::new(500, "too many labels are held already"));
        }
        let (hold, receiver) = broadcast::channel(1);
        holds.insert(label.to_owned(), hold);
        Ok(receiver)
    }

    /// Releases all that wait for this label; how many did.
    pub(super) fn release(&self, label: &str, value: &str) -> usize {
        let hold = lock(&self.0).remove(label);
        hold.map_or(0, |hold| hold.send(value.to_owned()).unwrap_or(0))
    }
}

/// No holder of these locks leaves things half done, so a panic elsewhere does no harm here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_by_label_and_can_be_read() {
        let counts = Counts::default();
        assert_eq!(counts.add("a", 0), Ok(0));
        assert_eq!(counts.add("a", 1), Ok(1));
        assert_eq!(counts.add("a", 1), Ok(2));
        assert_eq!(counts.add("b", 5), Ok(5));
        assert_eq!(counts.add("a", 0), Ok(2));
    }

    #[test]
    fn labels_are_bounded() {
        let (counts, holds) = (Counts::default(), Holds::default());
        let mut waiting = Vec::new();
        for number in 0..MOST_LABELS {
            assert_eq!(counts.add(&number.to_string(), 1), Ok(1));
            waiting.push(holds.hold(&number.to_string()).expect("room"));
        }
        assert_eq!(counts.add("new", 1).map_err(|failure| failure.code), Err(500));
        assert_eq!(counts.add("0", 1), Ok(2));
        assert!(holds.hold("new").is_err());
        waiting.pop();
        assert!(holds.hold("new").is_ok(), "those who stopped waiting make room");
    }

    #[test]
    fn a_release_reaches_all_that_wait_and_nobody_later() {
        let holds = Holds::default();
        assert_eq!(holds.release("a", "1"), 0);
        let (mut first, mut second) =
            (holds.hold("a").expect("room"), holds.hold("a").expect("room"));
        let mut other = holds.hold("b").expect("room");
        assert_eq!(holds.release("a", "1"), 2);
        assert_eq!((first.try_recv(), second.try_recv()), (Ok("1".into()), Ok("1".into())));
        let mut later = holds.hold("a").expect("room");
        assert!(later.try_recv().is_err() && other.try_recv().is_err());
        drop(later);
        assert_eq!(holds.release("a", "2"), 0, "who stopped waiting is not counted");
    }
}
