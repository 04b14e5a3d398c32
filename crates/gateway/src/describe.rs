//! A client as an operator sees it.

use std::time::Instant;

use slackwater_core::session::ledger::Bond;
use slackwater_core::session::{Phase, Program, Relay, Session, Upstream};

use crate::front::ClientAddress;
use crate::operate::status::{Connection, OpenSession, PendingRequest};

/// What is owed to a client, by the upstream that knows.
pub(crate) trait Owes: Upstream {
    /// What an operator is shown of it.
    fn owed(session: &Session<Self>, now: Instant) -> (Vec<PendingRequest>, Vec<OpenSession>);
}

/// What `GET /connections` says of a client.
pub(crate) fn describe<U: Owes>(
    session: &Session<U>,
    number: u64,
    address: ClientAddress,
    since: Instant,
    queued: usize,
    now: Instant,
) -> Connection {
    let (mut pending, sessions) = U::owed(session, now);
    pending.sort_by(|a, b| b.age_seconds.total_cmp(&a.age_seconds));
    Connection {
        id: number,
        client: address.to_string(),
        phase: match session.phase() {
            Phase::Open => "open",
            Phase::Draining => "draining",
            Phase::Closing => "closing",
            Phase::Ending => "ending",
            Phase::Closed => "closed",
        }
        .to_owned(),
        age_seconds: seconds(now, since),
        idle_seconds: seconds(now, session.last_data()),
        pending,
        sessions,
        queued_bytes: queued as u64,
    }
}

impl Owes for Relay {
    fn owed(session: &Session<Self>, now: Instant) -> (Vec<PendingRequest>, Vec<OpenSession>) {
        let (mut pending, mut sessions) = (Vec::new(), Vec::new());
        for (_, conversation) in session.ledger().iter() {
            let request = |request: &slackwater_core::session::ledger::Request| PendingRequest {
                service: Some(conversation.service.clone()),
                method: request.method.clone(),
                thread: conversation.thread.clone(),
                trace: request.trace.to_string(),
                age_seconds: seconds(now, request.since),
            };
            pending.extend(conversation.requests.iter().map(request));
            let (worker, opened) = match &conversation.bond {
                Bond::None | Bond::Over => continue,
                Bond::Opening { since, held, .. } => {
                    pending.extend(held.iter().flat_map(|part| &part.requests).map(request));
                    (None, *since)
                }
                Bond::Open { worker, since } => (Some(worker.clone()), *since),
            };
            sessions.push(OpenSession {
                service: Some(conversation.service.clone()),
                thread: conversation.thread.clone(),
                worker,
                age_seconds: seconds(now, opened),
            });
        }
        (pending, sessions)
    }
}

impl Owes for Program {
    fn owed(session: &Session<Self>, now: Instant) -> (Vec<PendingRequest>, Vec<OpenSession>) {
        let book = session.book();
        let named = book.pending().iter().map(|request| PendingRequest {
            service: Some(request.service.clone()),
            method: request.method.clone(),
            thread: request.thread.clone(),
            trace: request.trace.to_string(),
            age_seconds: seconds(now, request.since),
        });
        let unnamed = book.unnamed().map(|(count, since)| PendingRequest {
            service: None,
            method: format!("{count} messages"),
            thread: String::new(),
            trace: String::new(),
            age_seconds: seconds(now, since),
        });
        let sessions = book.sessions().iter().map(|open| OpenSession {
            service: Some(open.service.clone()),
            thread: open.thread.clone(),
            worker: None,
            age_seconds: seconds(now, open.since),
        });
        (named.chain(unnamed).collect(), sessions.collect())
    }
}

fn seconds(now: Instant, since: Instant) -> f64 {
    now.saturating_duration_since(since).as_secs_f64()
}
