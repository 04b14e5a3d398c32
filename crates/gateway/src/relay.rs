//! The bus as the far end of a client.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use slackwater_bus::Inbox;
use slackwater_core::osrf::envelope::{Outgoing, Recipient, Refusal};
use slackwater_core::session::{FromBus, Relay};

use crate::client::FarEnd;
use crate::front::WebSocket;
use crate::gateway::Gateway;
use crate::mailbox::Mailbox;

/// A client's way to the bus. What comes back comes as letters.
#[derive(Debug)]
pub(crate) struct BusEnd {
    gateway: Arc<Gateway>,
    mailbox: Arc<Mailbox>,
    inbox: Inbox,
}

impl BusEnd {
    pub(crate) fn of(gateway: Arc<Gateway>, mailbox: Arc<Mailbox>) -> Self {
        Self { gateway, mailbox, inbox: Inbox::default() }
    }
}

impl FarEnd for BusEnd {
    type Upstream = Relay;

    fn obey(&mut self, envelope: Outgoing, _websocket: &mut WebSocket) -> Option<FromBus> {
        let begins = match envelope.to {
            Recipient::Service(_) => true,
            Recipient::Worker(_) => false,
        };
        let sent = if begins && !self.mailbox.may_begin() {
            Err(envelope)
        } else {
            // Who waits for an answer keeps to one inbox, where order is kept.
            if begins && self.mailbox.begins() {
                self.inbox = self.gateway.hub().inbox(self.inbox);
            }
            self.gateway.hub().send(self.inbox, envelope)
        };
        let envelope = sent.err()?;
        let full = Refusal::NotTaken("too much waits".to_owned());
        Some(FromBus::Refused(envelope, full))
    }

    fn of_bus(letter: FromBus) -> Option<FromBus> {
        Some(letter)
    }

    fn poll_next(&mut self, _context: &mut Context<'_>, _reads: bool) -> Poll<VecDeque<FromBus>> {
        Poll::Pending
    }

    fn is_full(&self) -> bool {
        false
    }

    async fn finish(self) {}
}
