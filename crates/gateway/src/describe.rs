//! A client as an operator sees it.

use std::time::Instant;

use slackwater_core::session::ledger::Bond;
use slackwater_core::session::{Phase, Session};

use crate::front::ClientAddress;
use crate::operate::status::{Connection, OpenSession, PendingRequest};

/// What `GET /connections` says of a client.
pub(crate) fn describe(
    session: &Session,
    number: u64,
    address: ClientAddress,
    since: Instant,
    queued: usize,
    now: Instant,
) -> Connection {
    let seconds = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
    let mut pending: Vec<PendingRequest> = Vec::new();
    let mut sessions = Vec::new();
    for (_, conversation) in session.ledger().iter() {
        let request = |request: &slackwater_core::session::ledger::Request| PendingRequest {
            service: Some(conversation.service.clone()),
            method: request.method.clone(),
            thread: conversation.thread.clone(),
            trace: request.trace.to_string(),
            age_seconds: seconds(request.since),
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
            age_seconds: seconds(opened),
        });
    }
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
        age_seconds: seconds(since),
        idle_seconds: seconds(session.last_data()),
        pending,
        sessions,
        queued_bytes: queued as u64,
    }
}
