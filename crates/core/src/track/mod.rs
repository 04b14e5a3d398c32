//! What "pending" means when a program stands behind a client: it speaks some protocol of its own,
//! and a tracker reads what passes, either way, as far as the book of what is owed must know.
//!
//! A tracker only reads. What it cannot read passes all the same and is owed nothing.

mod book;
mod jsonrpc;
mod osrf;

pub use self::book::{Book, OpenSession, Pending};

use crate::event::Outcome;
use crate::osrf::Trace;
use crate::osrf::status::Status;
use crate::osrf::wrapper::Rules;

/// The trackers of DRAIN.md, "With a program behind it".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// The program is an OpenSRF relay: requests and sessions as over a bus.
    Osrf,
    /// JSON-RPC 2.0: a request's id, from either side, awaits its response.
    JsonRpc,
    /// Each line in awaits a line out.
    Lines,
    /// Something is pending until no byte has passed, either way, for some time.
    Quiet,
    /// The program is told of a drain and decides itself.
    Program,
}

/// What one message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The client asks for something.
    Asked(Asked),
    /// An answer to one request of the client's.
    Answered { thread: String, trace: Trace, outcome: Outcome },
    /// Whatever is pending on this thread was refused.
    Refused { thread: String },
    /// The client opens a session.
    Opened { thread: String, service: String, trace: Trace },
    /// The client leaves its session; what it asked before may still be answered.
    Left { thread: String },
    /// The session's other end has left it: what is pending there will not be answered.
    Over { thread: String },
    /// The program asks the client for something.
    AskedClient { id: String },
    /// The client answers the program.
    AnsweredProgram { id: String },
}

/// A request of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its conversation; for JSON-RPC the text of its id.
    pub(crate) thread: String,
    pub(crate) trace: Trace,
    pub(crate) service: Option<String>,
    pub(crate) method: String,
    pub(crate) xid: String,
}

impl Track {
    /// Reads a message from the client.
    pub(crate) fn of_client(self, text: &str, rules: &Rules) -> Vec<Notice> {
        match self {
            Self::Osrf => osrf::of_client(text, rules),
            Self::JsonRpc => jsonrpc::of_client(text),
            Self::Lines | Self::Quiet | Self::Program => Vec::new(),
        }
    }

    /// Reads a message from the program.
    pub(crate) fn of_program(self, text: &str) -> Vec<Notice> {
        match self {
            Self::Osrf => osrf::of_program(text),
            Self::JsonRpc => jsonrpc::of_program(text),
            Self::Lines | Self::Quiet | Self::Program => Vec::new(),
        }
    }

    /// Whether it knows each request by name, and so can say what became of it. The others only
    /// count.
    pub(crate) const fn names(self) -> bool {
        match self {
            Self::Osrf | Self::JsonRpc => true,
            Self::Lines | Self::Quiet | Self::Program => false,
        }
    }

    /// What the client is told in the program's place, in its protocol.
    pub(crate) fn status_reply(
        self,
        thread: &str,
        xid: &str,
        trace: Trace,
        status: &Status,
    ) -> Option<String> {
        match self {
            Self::Osrf => Some(crate::osrf::status::status_reply(thread, xid, trace, status)),
            Self::JsonRpc => Some(jsonrpc::error_reply(thread, status)),
            Self::Lines | Self::Quiet | Self::Program => None,
        }
    }
}
