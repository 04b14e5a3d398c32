//! The OpenSRF bus as the upstream of one client: requests become envelopes, envelopes become
//! answers, and the ledger knows what is owed.

mod answers;
mod bounces;
mod requests;
mod settling;

use std::sync::Arc;
use std::time::Instant;

use super::identity::ClientId;
use super::ledger::Ledger;
use super::upstream::{Message, Upstream};
use super::{Config, Deadlines, Session};
use crate::osrf::envelope::{Bounce, Incoming, Outgoing, Refusal};
use crate::osrf::wrapper::Fault;

/// What a bus is to one client.
#[derive(Debug)]
pub struct Relay {
    id: ClientId,
    xid_seed: u64,
    ledger: Ledger,
    bus_is_up: bool,
    messages: u64,
}

/// What the bus tells.
#[derive(Debug)]
pub enum FromBus {
    /// An envelope for this client.
    Envelope(Incoming),
    /// The bus did not take an envelope of this client.
    Refused(Outgoing, Refusal),
    /// An envelope of this client came back.
    Bounced(Bounce),
    /// Nobody knows whether this envelope has arrived; the bus itself is there.
    Uncertain(Outgoing),
    /// The bus is gone.
    Lost,
    /// The bus is back.
    Restored,
}

impl Session<Relay> {
    /// A session that begins now. `id` and `xid_seed` are random.
    pub fn new(config: Arc<Config>, id: ClientId, xid_seed: u64, now: Instant) -> Self {
        let ledger = Ledger::default();
        Self::over(Relay { id, xid_seed, ledger, bus_is_up: true, messages: 0 }, config, now)
    }

    /// What it owes.
    pub fn ledger(&self) -> &Ledger {
        &self.upstream.ledger
    }
}

impl Upstream for Relay {
    type Input = FromBus;
    /// Hand this to the bus.
    type Order = Outgoing;

    fn owes_nothing(&self) -> bool {
        self.ledger.is_empty()
    }

    fn held_bytes(&self) -> usize {
        self.ledger.held_bytes()
    }

    fn on_message(session: &mut Session<Self>, message: Message, now: Instant) {
        session.upstream.messages += 1;
        match message {
            Message::Text(text) => session.take_text(&text, now),
            Message::Binary(_) => {
                let fault = Fault::new("not_utf8", "a binary message must hold UTF-8 text");
                session.refuse_text(&fault, now);
            }
        }
    }

    fn on_crossing(session: &mut Session<Self>, message: Message) {
        match message {
            Message::Text(text) => session.count_crossing(&text),
            Message::Binary(_) => {}
        }
    }

    fn on_input(session: &mut Session<Self>, input: FromBus, now: Instant) {
        match input {
            FromBus::Envelope(envelope) => session.on_envelope(&envelope, now),
            FromBus::Refused(envelope, why) => session.on_refused(&envelope, &why, now),
            FromBus::Bounced(bounce) => session.on_bounced(&bounce, now),
            FromBus::Uncertain(envelope) => session.on_uncertain(&envelope, now),
            FromBus::Lost => session.on_bus_lost(now),
            FromBus::Restored => session.upstream.bus_is_up = true,
        }
    }

    fn cut_off(session: &mut Session<Self>, now: Instant) {
        session.settle_cut_off(now);
    }

    fn client_gone(session: &mut Session<Self>, now: Instant) {
        session.settle_client_gone(now);
    }

    fn on_closing(_session: &mut Session<Self>, _now: Instant) {}

    fn on_drain(&mut self, _deadlines: &Deadlines) {}

    fn on_undrain(&mut self) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn advance(_session: &mut Session<Self>, _now: Instant) {}
}
