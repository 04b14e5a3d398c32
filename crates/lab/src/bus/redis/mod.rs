//! OpenSRF 4's bus: a redis-server, and a router on it.

pub mod router;
pub mod server;
pub mod tap;
pub(super) mod wire;
