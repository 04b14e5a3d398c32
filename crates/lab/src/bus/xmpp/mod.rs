//! OpenSRF 3's bus: an ejabberd or Prosody, and a router on it.

pub(super) mod router;
pub mod server;
pub mod stream;
pub mod tap;
