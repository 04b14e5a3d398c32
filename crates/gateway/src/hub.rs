//! Where envelopes find their clients. One reader takes everything from the bus and never waits
//! for a client; the bus thread of an envelope names its client, and an envelope that names nobody
//! here is delivered to nobody.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::value::RawValue;
use slackwater_bus::{Inbox, Sender};
use slackwater_core::drain::ConnectionId;
use slackwater_core::osrf::answer::farewell;
use slackwater_core::osrf::envelope::{Incoming, Outgoing};
use slackwater_core::session;
use slackwater_core::session::identity::ClientId;

use crate::gateway::Limits;
use crate::mailbox::{Letter, Mailbox};
use crate::operate::metrics::Census;
use crate::waiting::Waiting;

/// All clients, by both of their names.
#[derive(Debug)]
pub(crate) struct Hub {
    /// None if programs stand behind the clients.
    bus: Option<Sender>,
    ingress: Box<RawValue>,
    waiting: Arc<Waiting>,
    clients: RwLock<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    by_thread: HashMap<ClientId, Arc<Mailbox>>,
    by_number: HashMap<ConnectionId, Arc<Mailbox>>,
}

impl Hub {
    /// A hub without clients. `ingress` is a JSON string, `most_waiting` the bytes that may wait for all
    /// clients together.
    pub(crate) fn new(bus: Option<Sender>, ingress: Box<RawValue>, most_waiting: usize) -> Self {
        let waiting = Arc::new(Waiting::new(most_waiting));
        Self { bus, ingress, waiting, clients: RwLock::default() }
    }

    /// What waits for all clients.
    pub(crate) fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// Enters a client.
    pub(crate) fn enter(&self, number: ConnectionId, id: ClientId, mailbox: Arc<Mailbox>) {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.by_thread.insert(id, Arc::clone(&mailbox));
        clients.by_number.insert(number, mailbox);
    }

    /// Strikes a client out; what comes for it from now on is a stray.
    pub(crate) fn leave(&self, number: ConnectionId, id: ClientId) {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.by_thread.remove(&id);
        clients.by_number.remove(&number);
    }

    /// Hands an envelope to the bus; what answers it comes to `inbox`.
    ///
    /// # Errors
    /// Gives it back if the bus does not take it.
    pub(crate) fn send(&self, inbox: Inbox, envelope: Outgoing) -> Result<(), Outgoing> {
        match &self.bus {
            Some(bus) => bus.send_from(inbox, envelope),
            None => Err(envelope),
        }
    }

    /// The inbox that is best for a client that has this one and waits for nothing.
    pub(crate) fn inbox(&self, now: Inbox) -> Inbox {
        self.bus.as_ref().map_or(now, |bus| bus.inbox(now))
    }

    /// Brings an envelope to its client. False if there is none.
    pub(crate) fn deliver(&self, envelope: Incoming) -> bool {
        let client = ClientId::parse_thread(&envelope.thread).map(|(id, _)| id);
        let Some(id) = client else { return false };
        let mailbox = self.read().by_thread.get(&id).cloned();
        if let Some(mailbox) = mailbox {
            mailbox.deliver(envelope);
            return true;
        }
        // A session that opens for a client that has left: its worker need not wait.
        if let Some(envelope) = farewell(&envelope, &self.ingress)
            && self.send(Inbox::default(), envelope).is_err()
        {
            tracing::debug!("a worker could not be told that its client has left");
        }
        false
    }

    /// Gives an envelope of this thread on the bus back to its client, in whichever letter says
    /// what has become of it.
    pub(crate) fn give_back(&self, thread: &str, letter: Letter) {
        let client = ClientId::parse_thread(thread).map(|(id, _)| id);
        let mailbox = client.and_then(|id| self.read().by_thread.get(&id).cloned());
        if let Some(mailbox) = mailbox {
            mailbox.post(letter);
        }
    }

    /// Puts a letter into one client's mailbox, if it is still there.
    pub(crate) fn post(&self, number: ConnectionId, letter: Letter) {
        if let Some(mailbox) = self.read().by_number.get(&number) {
            mailbox.post(letter);
        }
    }

    /// Puts a letter into every mailbox.
    pub(crate) fn post_all(&self, letter: impl Fn() -> Letter) {
        for mailbox in self.read().by_number.values() {
            mailbox.post(letter());
        }
    }

    /// Has every client go by these from now on.
    pub(crate) fn configure(&self, limits: &Limits, sessions: &Arc<session::Config>) {
        self.waiting.configure(limits.total_queued_bytes);
        for mailbox in self.read().by_number.values() {
            mailbox.configure(limits.queued_bytes, Arc::clone(sessions));
        }
    }

    /// The mailboxes of all clients, or of those that hold a drain.
    pub(crate) fn mailboxes(&self, only_holding: bool) -> Vec<Arc<Mailbox>> {
        let clients = self.read();
        clients
            .by_number
            .values()
            .filter(|mailbox| !only_holding || mailbox.holds())
            .cloned()
            .collect()
    }

    /// All clients, counted.
    pub(crate) fn census(&self) -> Census {
        let mut census = Census::default();
        for mailbox in self.read().by_number.values() {
            mailbox.enter(&mut census);
        }
        census
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Clients> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner)
    }
}
