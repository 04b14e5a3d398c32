//! A worker's way to the embedded bus: answers become events, and a worker in a session has a
//! mailbox for as long as it lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slackwater_core::osrf::envelope::{Address, Incoming, Outgoing};
use slackwater_core::osrf::json::Json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::Event;
use crate::sender::Queued;
use crate::turns;
use crate::worker::{Asker, Delivery, Gone, Port};

/// Envelopes that may wait for a worker that is at work.
const WAITING: usize = 1_024;

/// The mailboxes of all workers that are in a session. Locked for a look-up, no longer.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(Mutex<HashMap<Address, mpsc::Sender<Queued>>>);

impl Mailboxes {
    pub(super) fn find(&self, address: &str) -> Option<mpsc::Sender<Queued>> {
        self.lock().get(address).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, mpsc::Sender<Queued>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's port.
#[derive(Debug)]
pub(super) struct EmbeddedPort {
    address: Address,
    events: mpsc::Sender<Event>,
    mailboxes: Arc<Mailboxes>,
    mailbox: Option<mpsc::Receiver<Queued>>,
    /// The room that the envelope being worked on takes up in the bus.
    room: Option<OwnedSemaphorePermit>,
}

impl EmbeddedPort {
    pub(super) fn new(
        address: Address,
        events: mpsc::Sender<Event>,
        mailboxes: Arc<Mailboxes>,
    ) -> Self {
        Self { address, events, mailboxes, mailbox: None, room: None }
    }

    /// An envelope in the form that workers take.
    pub(super) fn take(&mut self, queued: Queued) -> Delivery {
        let Queued { envelope: Outgoing { to: _, thread, xid, body }, room, .. } = queued;
        self.room = Some(room);
        // There is one client on this bus, the gateway, so it needs no address.
        Delivery { asker: Asker { address: Address::new(), thread, xid: Some(xid) }, body }
    }
}

impl Port for EmbeddedPort {
    fn bind(&mut self) {
        if self.mailbox.is_none() {
            let (sender, mailbox) = mpsc::channel(WAITING);
            self.mailboxes.lock().insert(self.address.clone(), sender);
            self.mailbox = Some(mailbox);
        }
    }

    async fn send(&mut self, asker: &Asker, body: String) -> Result<(), Gone> {
        turns::worked(body.len());
        turns::end_if_full().await;
        let envelope = Incoming {
            from: self.address.clone(),
            thread: asker.thread.clone(),
            xid: asker.xid.clone(),
            body: Json::of_our_making(body),
        };
        self.events.send(Event::Received(vec![envelope])).await.map_err(|_| Gone)
    }

    async fn receive(&mut self) -> Option<Delivery> {
        self.room = None;
        let queued = self.mailbox.as_mut()?.recv().await?;
        Some(self.take(queued))
    }
}

impl Drop for EmbeddedPort {
    fn drop(&mut self) {
        if self.mailbox.is_some() {
            self.mailboxes.lock().remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_there_from_bind_until_its_worker_ends() {
        let (events, _reader) = mpsc::channel(1);
        let mailboxes = Arc::<Mailboxes>::default();
        let mut port = EmbeddedPort::new("worker".to_owned(), events, Arc::clone(&mailboxes));
        assert!(mailboxes.find("worker").is_none());
        port.bind();
        let mailbox = mailboxes.find("worker").expect("a mailbox");
        port.bind();
        assert!(!mailbox.is_closed(), "to bind again changes nothing");
        drop(port);
        assert!(mailboxes.find("worker").is_none());
    }
}
