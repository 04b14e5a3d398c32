//! OpenSRF as the gateway sees it: messages, the client's wrapper, the bus's envelope.

pub mod envelope;
