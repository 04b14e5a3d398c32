//! The inboxes of a gateway: addresses of its own that answers come to, each with a reader of its own, so
//! that what one client is sent faster than it can be read holds up nobody else's answers.
//!
//! Law: order is kept within an inbox only. Who changes from one to another waits for nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many a gateway has, on a bus that has any: one, and others for when that is behind.
pub(crate) const INBOXES: usize = 4;

/// Who was sent nothing for so long is no reason that others should rest.
const HEARD: Duration = Duration::from_millis(100);

/// One of the inboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inbox(usize);

/// How the inboxes stand: their readers say so, and whoever sends goes by it.
#[derive(Debug)]
pub(crate) struct Inboxes {
    all: [State; INBOXES],
    /// How often one was chosen in place of another.
    changes: AtomicUsize,
    began: Instant,
}

impl Default for Inboxes {
    fn default() -> Self {
        Self {
            all: <[State; INBOXES]>::default(),
            changes: AtomicUsize::new(0),
            began: Instant::now(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// More waits there than is read at once.
    behind: AtomicBool,
    /// When something last came there, in milliseconds after [`HEARD`] before the beginning.
    heard: AtomicU64,
}

impl Inbox {
    /// Its place among all.
    pub(crate) const fn place(self) -> usize {
        self.0
    }
}

impl Inboxes {
    /// The inbox to take in place of `now`: that one, unless it is behind and another is not. Those are
    /// taken in turn, so that whoever makes them fall behind seldom follows whoever gives way to him.
    pub(crate) fn choose(&self, now: Inbox) -> Inbox {
        let is_behind = |place: usize| {
            self.all.get(place).is_some_and(|state| state.behind.load(Ordering::Relaxed))
        };
        if !is_behind(now.place()) {
            return now;
        }
        let change = 1 + self.changes.fetch_add(1, Ordering::Relaxed) % INBOXES;
        let mut places = (change..change + INBOXES).map(|place| place % INBOXES);
        places.find(|place| !is_behind(*place)).map_or(now, Inbox)
    }

    /// What the reader has found: whether more waits there than it read.
    pub(crate) fn report(&self, place: usize, is_behind: bool) {
        if let Some(state) = self.all.get(place) {
            state.behind.store(is_behind, Ordering::Relaxed);
        }
    }

    /// Something has come there.
    pub(crate) fn hear(&self, place: usize) {
        if let Some(state) = self.all.get(place) {
            state.heard.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether somebody is served elsewhere: something has come to another just now.
    pub(crate) fn are_others_heard(&self, place: usize) -> bool {
        let since = self.now().saturating_sub(u64::try_from(HEARD.as_millis()).unwrap_or(u64::MAX));
        let others = self.all.iter().enumerate().filter(|(other, _)| *other != place);
        others.map(|(_, state)| state.heard.load(Ordering::Relaxed)).any(|heard| heard > since)
    }

    fn now(&self) -> u64 {
        u64::try_from((self.began.elapsed() + HEARD).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_inbox_that_is_behind_is_left_and_only_for_one_that_is_not() {
        let (inboxes, first) = (Inboxes::default(), Inbox::default());
        assert_eq!(inboxes.choose(first), first);
        inboxes.report(0, true);
        let second = inboxes.choose(first);
        assert_eq!(second, Inbox(1));
        assert_eq!(inboxes.choose(second), second);
        assert_eq!(inboxes.choose(first), Inbox(2), "not where the one before has gone");
        inboxes.report(1, true);
        inboxes.report(2, true);
        assert_eq!(inboxes.choose(second), Inbox(3));
        inboxes.report(3, true);
        assert_eq!(inboxes.choose(second), second, "nowhere is better");
        inboxes.report(0, false);
        assert_eq!(inboxes.choose(second), first);
    }

    #[test]
    fn who_is_served_now_is_heard_of_elsewhere_for_a_while() {
        let mut inboxes = Inboxes::default();
        assert!(!inboxes.are_others_heard(0), "nothing has come yet");
        inboxes.hear(0);
        assert!(!inboxes.are_others_heard(0) && inboxes.are_others_heard(1));
        inboxes.began -= HEARD * 2;
        assert!(!inboxes.are_others_heard(1), "that is long ago");
    }
}
