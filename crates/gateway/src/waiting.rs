//! What waits for, and of, all clients together: answers that they have not read, messages that are
//! half here, requests behind a CONNECT.
//!
//! Law: it stays within a bound whatever clients do. From half of it on new clients are answered 503,
//! and so are new requests of clients for whom much waits already. Past it, whoever has more than an
//! equal share is told to end, at the moment at which more would wait for him; so the sum of all shares
//! is the bound.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The sum over all clients.
#[derive(Debug)]
pub(crate) struct Waiting {
    limit: AtomicUsize,
    bytes: AtomicUsize,
    clients: AtomicUsize,
}

impl Waiting {
    /// Nothing yet. `limit` in bytes.
    pub(crate) fn new(limit: usize) -> Self {
        let zero = || AtomicUsize::new(0);
        Self { limit: AtomicUsize::new(limit), bytes: zero(), clients: zero() }
    }

    /// Another limit.
    pub(crate) fn configure(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A client has come.
    pub(crate) fn join(&self) {
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    /// A client has gone, with what still waited.
    pub(crate) fn leave(&self, bytes: usize) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What waits for one client has become another number of bytes.
    pub(crate) fn change(&self, before: usize, after: usize) {
        match after.checked_sub(before) {
            Some(more) => self.bytes.fetch_add(more, Ordering::Relaxed),
            None => self.bytes.fetch_sub(before - after, Ordering::Relaxed),
        };
    }

    /// Whether less is to be begun.
    pub(crate) fn is_pressed(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed) / 2
    }

    /// Whether a client for whom `own` bytes would wait has to end, if `more` of these do not yet.
    pub(crate) fn sheds(&self, own: usize, more: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let share = limit / self.clients.load(Ordering::Relaxed).max(1);
        own > share && self.bytes.load(Ordering::Relaxed).saturating_add(more) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_more_than_his_share_ends_and_only_when_it_is_too_much() {
        let waiting = Waiting::new(1_000);
        for _ in 0..4 {
            waiting.join();
        }
        waiting.change(0, 700);
        assert!(!waiting.sheds(700, 0), "there is room");
        assert!(waiting.is_pressed());
        waiting.change(0, 250);
        assert!(!waiting.sheds(250, 0));
        assert!(waiting.sheds(751, 51));
        assert!(!waiting.sheds(250, 51), "he has no more than anybody");
        waiting.leave(700);
        assert!(!waiting.is_pressed());
        waiting.change(250, 0);
        waiting.configure(10);
        assert!(!waiting.is_pressed());
    }
}
