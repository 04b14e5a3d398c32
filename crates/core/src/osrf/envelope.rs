//! An envelope is what travels on a bus: addresses and ids around a body that is passed on
//! byte for byte. The same two types serve every bus.

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
