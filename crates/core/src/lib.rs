//! What a session and a drain are: the rules of Slackwater, without IO, clock or chance.
//!
//! Two pure machines stand here, a [`session::Session`] for each client and one [`drain::Drain`]
//! for the process, with one contract: `handle_input(input, now)`, `handle_timeout(now)`,
//! `poll_timeout()`, `poll_output()`. **Feed one input, then take every output until there is
//! none; only then feed the next.** A shell around them reads, writes, waits and rolls the dice.
//!
//! [`websocket`] makes bytes messages and messages bytes; [`osrf`] reads OpenSRF's messages as far
//! as the ledger must, [`track`] those of programs; [`event`] is what everything that Slackwater
//! shows is derived from, [`tally`] its sums by service.
#![forbid(unsafe_code)]

pub mod drain;
pub mod event;
pub mod osrf;
pub mod seldom;
pub mod session;
pub mod tally;
pub mod track;
pub mod websocket;
