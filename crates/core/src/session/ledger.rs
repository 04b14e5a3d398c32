//! What one client is still owed. A conversation stands in the ledger exactly as long as a
//! request in it awaits its final answer, or its session is being opened or open: the ledger is
//! empty at slack water and only then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::osrf::Trace;
use crate::osrf::envelope::Address;

/// A request that has been received and not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id within the client's thread.
    pub trace: Trace,
    /// The method, for the log and for who holds a drain.
    pub method: String,
    /// The log trace id of the message that carried it.
    pub xid: String,
    /// When it was received.
    pub since: Instant,
}

/// Messages that wait behind an unanswered CONNECT of their thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The body for the worker.
    pub body: String,
    /// The log trace id of the body.
    pub xid: String,
    /// The CONNECTs in it, which a client may send again.
    pub connects: Vec<Trace>,
    /// The requests in it.
    pub requests: Vec<Request>,
    /// What the activity log will show of each one's parameters; empty if there is no such log.
    pub params: Vec<String>,
    /// Whether a DISCONNECT is last in it.
    pub leaves: bool,
}

impl Held {
    /// Everything in it that wants an answer.
    pub fn traces(&self) -> impl Iterator<Item = Trace> {
        let requests = self.requests.iter().map(|request| request.trace);
        self.connects.iter().copied().chain(requests)
    }
}

/// Whether a conversation is tied to one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bond {
    /// No session: its requests are on their own.
    None,
    /// A CONNECT awaits its answer.
    Opening {
        /// The trace of the CONNECT.
        connect: Trace,
        /// When the CONNECT was received.
        since: Instant,
        /// What came behind it.
        held: VecDeque<Held>,
        /// Whether the DISCONNECT went out with the CONNECT.
        leaves: bool,
    },
    /// A session is open with this worker.
    Open {
        /// Where its requests go.
        worker: Address,
        /// When the CONNECT was received.
        since: Instant,
    },
    /// The session has ended; requests sent before its end may still be answered.
    Over,
}

/// One conversation on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The client's own name for it.
    pub thread: String,
    /// The service it was begun with.
    pub service: String,
    /// The log trace id of the last message from the client.
    pub xid: String,
    /// Whether it is tied to a worker.
    pub bond: Bond,
    /// Requests that were sent on and await their final answer, oldest first.
    pub requests: Vec<Request>,
}

impl Conversation {
    /// Takes the oldest request with this trace out.
    pub fn settle(&mut self, trace: Trace) -> Option<Request> {
        let place = self.requests.iter().position(|request| request.trace == trace)?;
        Some(self.requests.remove(place))
    }

    fn is_settled(&self) -> bool {
        self.requests.is_empty() && matches!(self.bond, Bond::None | Bond::Over)
    }
}

/// The conversations of one client that are not settled, by their number on the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    last: u64,
    conversations: BTreeMap<u64, Conversation>,
    /// The client's thread -> the conversation that is its session.
    sessions: BTreeMap<String, u64>,
}

impl Ledger {
    /// Whether nothing is owed and no session is open: the ledger's part of slack water.
    pub fn is_empty(&self) -> bool {
        self.conversations.is_empty()
    }

    /// Requests sent on and not settled.
    pub fn pending(&self) -> usize {
        self.conversations.values().map(|conversation| conversation.requests.len()).sum()
    }

    /// Requests that wait behind a CONNECT.
    pub fn held(&self) -> usize {
        self.held_parts().map(|held| held.requests.len()).sum()
    }

    /// Bytes that wait behind a CONNECT.
    pub fn held_bytes(&self) -> usize {
        self.held_parts().map(|held| held.body.len()).sum()
    }

    /// Sessions that are open or being opened.
    pub fn sessions(&self) -> usize {
        let tied = |c: &&Conversation| matches!(c.bond, Bond::Opening { .. } | Bond::Open { .. });
        self.conversations.values().filter(tied).count()
    }

    /// The number that the next conversation gets: given once in the life of a session.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Enters a conversation. If a session, its thread now leads to it.
    pub fn enter(&mut self, number: u64, conversation: Conversation) {
        if matches!(conversation.bond, Bond::Opening { leaves: false, .. }) {
            self.sessions.insert(conversation.thread.clone(), number);
        }
        self.conversations.insert(number, conversation);
    }

    /// The session that a client's thread leads to.
    pub fn session(&self, thread: &str) -> Option<u64> {
        self.sessions.get(thread).copied()
    }

    /// Whether the CONNECT of this conversation is unanswered: what comes on it has to wait.
    pub fn is_opening(&self, number: u64) -> bool {
        let conversation = self.conversations.get(&number);
        conversation.is_some_and(|conversation| matches!(conversation.bond, Bond::Opening { .. }))
    }

    /// The client leaves the session of this thread: what comes next on it begins afresh.
    pub fn leave(&mut self, thread: &str) {
        self.sessions.remove(thread);
    }

    /// A conversation by its number.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Conversation> {
        self.conversations.get_mut(&number)
    }

    /// Strikes a conversation out if it is settled, and the way to a session that is over.
    pub fn tidy(&mut self, number: u64) {
        let Some(conversation) = self.conversations.get(&number) else { return };
        if matches!(conversation.bond, Bond::None | Bond::Over)
            && self.sessions.get(&conversation.thread) == Some(&number)
        {
            self.sessions.remove(&conversation.thread);
        }
        if conversation.is_settled() {
            self.conversations.remove(&number);
        }
    }

    /// All that is not settled, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Conversation)> {
        self.conversations.iter().map(|(number, conversation)| (*number, conversation))
    }

    /// Takes a conversation out, and the way to its session.
    pub fn take(&mut self, number: u64) -> Option<Conversation> {
        let conversation = self.conversations.remove(&number)?;
        if self.sessions.get(&conversation.thread) == Some(&number) {
            self.sessions.remove(&conversation.thread);
        }
        Some(conversation)
    }

    /// Takes everything out.
    pub fn take_all(&mut self) -> BTreeMap<u64, Conversation> {
        self.sessions.clear();
        std::mem::take(&mut self.conversations)
    }

    fn held_parts(&self) -> impl Iterator<Item = &Held> {
        self.conversations.values().flat_map(|conversation| match &conversation.bond {
            Bond::Opening { held, .. } => held.iter().collect(),
            Bond::None | Bond::Open { .. } | Bond::Over => Vec::new(),
        })
    }
}
