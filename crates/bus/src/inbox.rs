//! The inboxes of a gateway: addresses of its own that answers come to, each read in its turn, so
//! that what one client is sent faster than it can be read holds up nobody else's answers.
//!
//! Law: order is kept within an inbox only. Who changes from one to another waits for nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many a gateway has, on a bus that has any: one, and others for when that is behind.
pub(crate) const INBOXES: usize = 4;

/// One of the inboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inbox(usize);

/// How the inboxes stand: their reader says so, and whoever sends goes by it.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    all: [State; INBOXES],
    /// How often one was chosen in place of another.
    changes: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// More waits there than is read at once.
    behind: AtomicBool,
    /// Answers have been asked for there.
    used: AtomicBool,
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
        let is_behind = |place: usize| self.is(place, |state| &state.behind);
        if !is_behind(now.place()) {
            return now;
        }
        let change = 1 + self.changes.fetch_add(1, Ordering::Relaxed) % INBOXES;
        let mut places = (change..change + INBOXES).map(|place| place % INBOXES);
        let Some(place) = places.find(|place| !is_behind(*place)) else { return now };
        if let Some(state) = self.all.get(place) {
            state.used.store(true, Ordering::Relaxed);
        }
        Inbox(place)
    }

    /// Whether answers may come there. The first one is always used.
    pub(crate) fn is_used(&self, place: usize) -> bool {
        place == 0 || self.is(place, |state| &state.used)
    }

    /// What the reader has found: whether more waits there than it read.
    pub(crate) fn report(&self, place: usize, is_behind: bool) {
        if let Some(state) = self.all.get(place) {
            state.behind.store(is_behind, Ordering::Relaxed);
        }
    }

    fn is(&self, place: usize, what: impl Fn(&State) -> &AtomicBool) -> bool {
        self.all.get(place).is_some_and(|state| what(state).load(Ordering::Relaxed))
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
        assert_eq!([0, 1, 2, 3].map(|place| inboxes.is_used(place)), [true, true, false, false]);
        assert_eq!(inboxes.choose(first), Inbox(2), "not where the one before has gone");
        inboxes.report(1, true);
        inboxes.report(2, true);
        assert_eq!(inboxes.choose(second), Inbox(3));
        inboxes.report(3, true);
        assert_eq!(inboxes.choose(second), second, "nowhere is better");
        inboxes.report(0, false);
        assert_eq!(inboxes.choose(second), first);
    }
}
