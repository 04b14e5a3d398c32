//! The other side of a real message bus: its server, for a test.

pub mod server;
