//! The control socket, the admin port and the commands that speak to them, against a gateway
//! that does what the test says.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod binary;
mod commands;
mod control;
mod fake;
mod manual;
mod request;
