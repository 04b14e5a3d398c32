//! An envelope is what travels on a bus: addresses and ids around a body that is passed on
//! byte for byte. The same two types serve every bus.

use std::fmt;

use super::json::Json;

/// The bus address of one process, in the bus's own spelling
/// (`opensrf:client:opensrf:private.localhost:host:123:abc` on Redis, a full JID on XMPP).
pub type Address = String;

/// Where an envelope goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// To whichever worker of this service the router picks.
    Service(String),
    /// To one worker, by the address that its answers came from.
    Worker(Address),
}

/// An envelope from the gateway to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Who gets it.
    pub to: Recipient,
    /// The thread on the bus, made by the gateway: `[A-Za-z0-9._:-]{1,64}`.
    pub thread: String,
    /// The log trace id (`osrf_xid`): `[A-Za-z0-9._:-]{1,64}`.
    pub xid: String,
    /// The text of a JSON array of osrfMessages.
    pub body: String,
}

/// An envelope from a worker, router or listener to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Who sent it: requests of the conversation may be sent there.
    pub from: Address,
    /// The thread on the bus that it answers.
    pub thread: String,
    /// The log trace id, if the sender copied it (routers do not).
    pub xid: Option<String>,
    /// An array of osrfMessages, if the sender is sound.
    pub body: Json,
}

/// Why a bus did not take an envelope: it has reached nobody and never will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The bus cannot take it just now, in words for an operator.
    NotTaken(String),
    /// The bus never takes one so large; bytes, as they would be on the bus.
    TooLarge {
        /// What it would have been.
        size: usize,
        /// What it may be.
        limit: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTaken(reason) => formatter.write_str(reason),
            Self::TooLarge { size, limit } => {
                write!(formatter, "the message has {size} bytes, the limit is {limit}")
            }
        }
    }
}

/// An envelope that came back: nobody is at the address that it was sent to (OPENSRF-XMPP §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounce {
    /// The thread on the bus that it was sent in.
    pub thread: String,
    /// The bus's words.
    pub reason: String,
}
