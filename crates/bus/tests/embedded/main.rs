//! The embedded bus as the gateway meets it: envelopes in, events out, nothing else.

mod answers;
mod bounds;
mod client;
mod services;
mod sessions;
