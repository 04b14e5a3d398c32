//! The least that has a part in a call: a bare client, a relay that copies bytes, a router and workers
//! that do nothing but what the bus demands. What the gateway costs is told from what they cost.

pub(super) mod callers;
pub mod instant;
pub mod relay;
mod resp;
mod text;
mod xmpp;
