//! The shell around the pure core: sockets, clocks, signals, and what an operator sees.

pub mod cli;
pub mod config;
pub mod operate;
