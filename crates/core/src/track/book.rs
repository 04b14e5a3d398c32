//! What a program's client is owed, as far as its tracker can tell: requests by name, the sessions
//! that are open, and where only a number is known, that number.

use std::collections::VecDeque;
use std::time::Instant;

use crate::osrf::Trace;

/// A request whose answer the client awaits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its conversation; for JSON-RPC the text of its id.
    pub thread: String,
    /// Its id within the thread.
    pub trace: Trace,
    /// Whom it was for.
    pub service: String,
    /// What it asked for.
    pub method: String,
    /// The log trace id of the message that carried it.
    pub xid: String,
    /// When it came.
    pub since: Instant,
}

/// A session that the client has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Its conversation.
    pub thread: String,
    /// With whom.
    pub service: String,
    /// The trace of its CONNECT.
    pub trace: Trace,
    /// When the CONNECT came.
    pub since: Instant,
}

/// All that is owed to one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    pending: Vec<Pending>,
    sessions: Vec<OpenSession>,
    unnamed: u64,
    since: Option<Instant>,
    asked_of_client: VecDeque<String>,
}

impl Book {
    /// Whether nothing is owed and no session is open.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
            && self.sessions.is_empty()
            && self.unnamed == 0
            && self.asked_of_client.is_empty()
    }

    /// The requests that are known by name, oldest first.
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// The sessions that are open.
    pub fn sessions(&self) -> &[OpenSession] {
        &self.sessions
    }

    /// How many requests are pending of which only the number is known, and since when there have
    /// been some without a break.
    pub fn unnamed(&self) -> Option<(u64, Instant)> {
        self.since.filter(|_| self.unnamed > 0).map(|since| (self.unnamed, since))
    }

    pub(crate) fn ask(&mut self, request: Pending) {
        self.pending.push(request);
    }

    /// Takes the oldest request of this name out.
    pub(crate) fn settle(&mut self, thread: &str, trace: Trace) -> Option<Pending> {
        let named = |request: &Pending| request.thread == thread && request.trace == trace;
        let place = self.pending.iter().position(named)?;
        Some(self.pending.remove(place))
    }

    /// Takes every request of this thread out.
    pub(crate) fn settle_thread(&mut self, thread: &str) -> Vec<Pending> {
        self.pending.extract_if(.., |request| request.thread == thread).collect()
    }

    /// Takes every request out that is known by name.
    pub(crate) fn settle_all(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.pending)
    }

    /// Enters a session. False if one is open on its thread already.
    pub(crate) fn open(&mut self, session: OpenSession) -> bool {
        let is_new = self.sessions.iter().all(|open| open.thread != session.thread);
        if is_new {
            self.sessions.push(session);
        }
        is_new
    }

    /// Takes the session of this thread out.
    pub(crate) fn leave(&mut self, thread: &str) -> Option<OpenSession> {
        let place = self.sessions.iter().position(|session| session.thread == thread)?;
        Some(self.sessions.remove(place))
    }

    /// Takes the session out that was to be opened by this CONNECT.
    pub(crate) fn fail(&mut self, thread: &str, connect: Trace) -> Option<OpenSession> {
        let failed = |session: &OpenSession| session.thread == thread && session.trace == connect;
        let place = self.sessions.iter().position(failed)?;
        Some(self.sessions.remove(place))
    }

    /// Takes every session out.
    pub(crate) fn leave_all(&mut self) -> Vec<OpenSession> {
        std::mem::take(&mut self.sessions)
    }

    /// So many more are pending.
    pub(crate) fn count(&mut self, requests: u64, now: Instant) {
        if self.unnamed == 0 {
            self.since = Some(now);
        }
        self.unnamed += requests;
    }

    /// So many at most are answered; gives how many were pending.
    pub(crate) fn count_down(&mut self, answers: u64) -> u64 {
        let answered = answers.min(self.unnamed);
        self.unnamed -= answered;
        answered
    }

    /// The program awaits an answer from the client. The oldest beyond `limit` are given up.
    pub(crate) fn ask_client(&mut self, id: String, limit: usize) {
        self.asked_of_client.push_back(id);
        while self.asked_of_client.len() > limit {
            self.asked_of_client.pop_front();
        }
    }

    pub(crate) fn answer_program(&mut self, id: &str) {
        if let Some(place) = self.asked_of_client.iter().position(|asked| asked == id) {
            self.asked_of_client.remove(place);
        }
    }

    /// The program awaits nothing from the client any more.
    pub(crate) fn ask_client_no_more(&mut self) {
        self.asked_of_client.clear();
    }
}
