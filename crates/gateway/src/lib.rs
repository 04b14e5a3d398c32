//! The shell around the pure core: sockets, clocks, signals, and what an operator sees.
//!
//! A client's frame comes in through [`front`], its task feeds it to a session of the core and
//! does what that says; `hub` brings answers from the bus back to it, or a [`program`] stands in the
//! bus's place; [`gateway`] drives the drain of the process; [`operate`] is how an operator sees and
//! steers it.

mod books;
mod client;
mod clients;
mod clock;
mod describe;
mod hub;
mod mailbox;
mod relay;

pub mod cli;
pub mod command;
pub mod config;
pub mod front;
pub mod gateway;
pub mod operate;
pub mod program;
pub mod serve;
pub mod stdio;
mod told;
mod waiting;
mod web;
pub mod websocketd;
