//! Why a bus cannot be joined: one line each, which names what to mend. No error holds a password.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::socket::Endpoint;

/// A bus cannot be joined. `server` is what is expected there: Redis, or an XMPP server.
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
    #[error("nothing listens at {place}: check the address, and that {server} is running")]
    ConnectionRefused {
        /// What should listen there.
        server: &'static str,
        /// Where.
        place: String,
    },
    /// No answer in time.
    #[error(
        "no answer from {place} within {patience:?}: check the address, and that it is {server}"
    )]
    NoAnswer {
        /// What should answer.
        server: &'static str,
        /// Where.
        place: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// Wrong user or password.
    #[error("{server} at {place} refuses user {user:?} with the password given: check both")]
    Login {
        /// Who refuses.
        server: &'static str,
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
    #[error("cannot use {server} at {place}: {reason}")]
    Connection {
        /// What is there.
        server: &'static str,
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
    /// No answer within `patience`.
    pub(crate) fn no_answer(server: &'static str, endpoint: &Endpoint, patience: Duration) -> Self {
        Self::NoAnswer { server, place: endpoint.to_string(), patience }
    }

    /// Why a connection could not be made.
    pub(crate) async fn explained(
        server: &'static str,
        error: &io::Error,
        endpoint: &Endpoint,
    ) -> Self {
        let place = endpoint.to_string();
        if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) {
            return Self::ConnectionRefused { server, place };
        }
        if let Some((host, port)) = endpoint.host()
            && tokio::net::lookup_host((host, port)).await.is_err()
        {
            return Self::UnknownHost { host: host.to_owned() };
        }
        Self::Connection { server, place, reason: in_one_line(error) }
    }

    /// Something went wrong that is nobody's to mend.
    pub(crate) fn failed(
        server: &'static str,
        endpoint: &Endpoint,
        error: &dyn std::fmt::Display,
    ) -> Self {
        Self::Connection { server, place: endpoint.to_string(), reason: error.to_string() }
    }

    /// Whether it came before anything could be sent.
    pub(crate) fn is_before_login(&self) -> bool {
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

/// An error's text without line breaks.
pub(crate) fn in_one_line(error: &io::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
