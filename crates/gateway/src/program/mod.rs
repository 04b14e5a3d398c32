//! A program as the far end of a client: one process each, started once its handshake is known to
//! be good, and gone when the client is.
//!
//! [`framing`] and [`environment`] are pure; [`process`] is one process and its end, `running` what
//! passes between it and us.

mod clients;
pub mod environment;
mod errors;
pub mod framing;
pub mod process;
mod running;
pub(crate) mod scripts;
mod spawn;
mod trail;

pub(crate) use self::clients::Programs;
pub use self::environment::Environment;
pub(crate) use self::environment::Script;
pub(crate) use self::errors::Lines as ErrorLines;
pub use self::framing::{Framing, Payload};
pub use self::process::Command;
pub use self::running::{Errors, Manners};
pub(crate) use self::trail::url;

use std::path::PathBuf;

use slackwater_core::session::program::ProgramRules;

use crate::config::Web;

/// The programs of one gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is started; of a directory of programs, its file is empty.
    pub command: Command,
    /// The directory in which the URL names the program, if it does.
    pub scripts: Option<PathBuf>,
    /// Whether the log says who has come and gone, as websocketd's does.
    pub trails: bool,
    /// What is served beside WebSockets.
    pub web: Web,
    /// What it finds in its environment.
    pub environment: Environment,
    /// How it is spoken to and ended.
    pub manners: Manners,
    /// How its messages are sent.
    pub payload: Payload,
    /// The longest of them, in bytes.
    pub max_message: usize,
    /// How many run at a time.
    pub max_programs: usize,
    /// How a client is answered when as many run.
    pub full: http::StatusCode,
    /// What the sessions go by.
    pub rules: ProgramRules,
}
