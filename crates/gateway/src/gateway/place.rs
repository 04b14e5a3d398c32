//! A client's place in the gateway.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use slackwater_core::drain::{ConnectionId, Input};
use slackwater_core::event::Cause;
use slackwater_core::session::FromBus;
use slackwater_core::session::identity::ClientId;

use super::Gateway;
use crate::clock::now;
use crate::mailbox::{Letter, Mailbox};

/// A client's place in the gateway: taken before its handshake is answered, so that no drain can
/// end between the two, and given back when its task ends, however it ends.
#[derive(Debug)]
pub struct Place {
    gateway: Arc<Gateway>,
    number: ConnectionId,
    id: ClientId,
    xid_seed: u64,
    mailbox: Arc<Mailbox>,
    /// What the operator's deadline cost on this connection.
    pub(crate) lost: u64,
    /// Why it ended; stays `None` if the handshake came to nothing.
    pub(crate) cause: Option<Cause>,
}

impl Place {
    /// Takes a place. `None`: the gateway is full.
    pub(crate) fn take(gateway: &Arc<Gateway>) -> Option<Self> {
        let number = gateway.numbers.fetch_add(1, Ordering::Relaxed);
        let mut bits = [0; 24];
        if let Err(error) = getrandom::fill(&mut bits) {
            tracing::error!(%error, "no randomness: a client is refused");
            return None;
        }
        let (name, seed) = bits.split_at(16);
        let id = ClientId::from_random(u128::from_be_bytes(name.try_into().ok()?));
        let xid_seed = u64::from_be_bytes(seed.try_into().ok()?);
        let mut books = gateway.books();
        if books.drain.connections() >= books.limits.connections {
            if !std::mem::replace(&mut books.full, true) {
                let limit = books.limits.connections;
                tracing::warn!(limit, "full: clients are refused until one leaves");
            }
            return None;
        }
        let waiting = gateway.hub.waiting();
        if waiting.is_pressed() {
            tracing::debug!("too much waits for clients: one more is refused");
            return None;
        }
        let mailbox = Arc::new(Mailbox::new(books.limits.queued_bytes, Arc::clone(waiting)));
        if books.bus_lost.is_some() {
            mailbox.post(Letter::Bus(FromBus::Lost));
        }
        gateway.hub.enter(number, id, Arc::clone(&mailbox));
        let joined = Input::Joined(number);
        gateway.tell_locked(&mut books, |drain| drain.handle_input(joined, now()));
        drop(books);
        let gateway = Arc::clone(gateway);
        Some(Self { gateway, number, id, xid_seed, mailbox, lost: 0, cause: None })
    }

    pub(crate) fn number(&self) -> ConnectionId {
        self.number
    }

    pub(crate) fn id(&self) -> ClientId {
        self.id
    }

    pub(crate) fn xid_seed(&self) -> u64 {
        self.xid_seed
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut books = self.gateway.books();
        books.full = false;
        self.gateway.hub.leave(self.number, self.id);
        if let Some(cause) = self.cause {
            books.closed(cause);
        }
        let left = Input::Left { id: self.number, lost: self.lost };
        self.gateway.tell_locked(&mut books, |drain| drain.handle_input(left, now()));
    }
}
