//! Logs on stderr, and what each level asks of an operator:
//!
//! * `error`: wake somebody; clients lose answers or cannot be served.
//! * `warn`: look at it today; something was cut off, refused or lost, and the gateway goes on.
//! * `info`: the life of the gateway and of each client, a line for a start and one for an end.
//! * `debug`: what a single client or message did wrong, for whoever looks into it.
//! * `trace`: every message.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Sends this process's log lines to stderr. To be called once, before the first of them.
///
/// # Errors
/// If logs go somewhere already.
pub fn install(log: &Log) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(log.level.to_string())?)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
}
