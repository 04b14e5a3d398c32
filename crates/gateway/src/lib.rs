//! The shell around the pure core: sockets, clocks, signals, and what an operator sees.

pub mod cli;
pub mod command;
pub mod config;
pub mod front;
pub mod operate;
