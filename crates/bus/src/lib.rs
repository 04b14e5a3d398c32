//! How envelopes travel: the buses that Slackwater relays to.
//!
//! Every bus is the same to the gateway: a [`Sender`] that never blocks, and one stream of
//! [`Event`]s read by one reader.
#![forbid(unsafe_code)]

use slackwater_core::osrf::envelope::{Bounce, Incoming, Outgoing, Refusal};
use tokio::sync::mpsc;

pub use error::Error;
pub use inbox::Inbox;
pub use sender::{QueueLimits, Sender};
pub use socket::{Endpoint, tls_client};

mod backoff;
pub mod embedded;
mod error;
mod inbox;
mod names;
mod overdue;
pub mod probe;
mod prompt;
mod quiet;
mod recovery;
pub mod redis;
mod sender;
pub mod services;
mod socket;
pub mod turns;
pub mod worker;
pub mod xmpp;

/// A connected bus: both ends of it.
///
/// When every clone of `sender` is gone, what was accepted is still sent; when `events` is
/// dropped, the bus and all that runs on it ends. [`Sender::close`] is the orderly end.
#[derive(Debug)]
pub struct Bus {
    /// Takes envelopes; clone it freely.
    pub sender: Sender,
    /// What the bus has to say, in order. One reader; it must keep up: a full channel holds up
    /// the bus, though never a [`Sender`].
    pub events: mpsc::Receiver<Event>,
}

/// What a bus tells the gateway.
#[derive(Debug)]
pub enum Event {
    /// Envelopes for this gateway, in the order of their arrival, at least one.
    Received(Vec<Incoming>),
    /// The bus would not take this envelope: it has reached nobody and never will.
    Refused {
        /// The envelope as it was given to [`Sender::send`].
        envelope: Outgoing,
        /// Why.
        why: Refusal,
    },
    /// An envelope came back: nobody is where it was sent to.
    Bounced(Bounce),
    /// The connection to the domain of this envelope's worker was lost while it was under way:
    /// nobody knows whether it has arrived, and it is not sent again. The bus itself is there.
    Uncertain {
        /// The envelope as it was given to [`Sender::send`].
        envelope: Outgoing,
        /// Why, in words for an operator.
        reason: String,
    },
    /// The bus is gone. Of what was sent and is unanswered the outcome is unknown; whatever is
    /// sent from now until [`Event::Restored`] comes back as [`Event::Refused`].
    Lost {
        /// Why, in words for an operator.
        reason: String,
    },
    /// The bus is back.
    Restored,
}
