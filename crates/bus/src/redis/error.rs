//! Why a Redis bus cannot be joined: one line each, which names what to mend. No error holds a
//! password.

use std::io;
use std::path::PathBuf;

/// A Redis bus cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that cannot stand in an address.
    #[error(
        "{what} {name:?} cannot stand in a bus address: expected letters, digits, '.', '_', '-'"
    )]
    Name {
        /// What it names.
        what: &'static str,
        /// The name as it was given.
        name: String,
    },
    /// The host is not known.
    #[error("there is no host {host:?}: check the host of the bus, or /etc/hosts")]
    UnknownHost {
        /// The host as it was given.
        host: String,
    },
    /// Nothing listens there.
    #[error("nothing listens at {place}: check the address, and that Redis is running")]
    ConnectionRefused {
        /// Where.
        place: String,
    },
    /// No answer in time.
    #[error("no answer from {place} within {seconds} s: check the address, and that it is Redis")]
    NoAnswer {
        /// Where.
        place: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Wrong user or password.
    #[error("Redis at {place} refuses user {user:?} with the password given: check both")]
    Login {
        /// Where.
        place: String,
        /// The user.
        user: String,
    },
    /// The user may not do what a gateway must do.
    #[error(
        "user {user:?} has too few rights on Redis at {place} ({said}): it needs \
         +lpop +blpop +rpush +del ~opensrf:router:* ~opensrf:client:*"
    )]
    Rights {
        /// Where.
        place: String,
        /// The user.
        user: String,
        /// Redis's words.
        said: String,
    },
    /// The certificates for TLS cannot be used.
    #[error("the certificates in {} cannot be used: {source}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Something else about the connection.
    #[error("cannot use Redis at {place}: {reason}")]
    Connection {
        /// Where.
        place: String,
        /// What was said.
        reason: String,
    },
    /// The directory for the journal cannot be used.
    #[error("cannot keep a journal of bus addresses in {}: {source}", path.display())]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The system gives no random bits.
    #[error("the system gives no random bits for an address: {0}")]
    Randomness(String),
}

impl Error {
    /// Whether it came before anything could be sent.
    pub(super) fn is_before_login(&self) -> bool {
        match self {
            Self::Name { .. }
            | Self::UnknownHost { .. }
            | Self::ConnectionRefused { .. }
            | Self::NoAnswer { .. }
            | Self::Login { .. }
            | Self::Certificates { .. }
            | Self::StateDirectory { .. }
            | Self::Randomness(_) => true,
            Self::Rights { .. } | Self::Connection { .. } => false,
        }
    }
}
