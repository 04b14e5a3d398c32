//! What the gateway says of itself, and the operations it offers to whoever operates it.
//!
//! These types are the JSON of the control socket: a field's name is part of the interface.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::metrics::Figures;

/// How far a drain is (DRAIN.md, "The gateway as a whole").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No drain.
    Serving,
    /// Not ready, but still serving new connections.
    Announce,
    /// New connections are being refused; none is being closed yet.
    Refuse,
    /// Connections close, each at its slack water.
    Ebb,
    /// The last connection is gone.
    Drained,
}

/// What a drain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was cut off.
    Clean,
    /// The deadline, or an operator in a hurry, cut something off.
    CutOff,
}

/// `GET /status`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// How far a drain is.
    pub phase: Phase,
    /// Open WebSocket connections, those that are closing among them.
    pub connections: u64,
    /// Requests that await their final answer.
    pub pending_requests: u64,
    /// Stateful sessions that are open or being opened.
    pub sessions: u64,
    /// What became of every request so far.
    #[serde(flatten)]
    pub counts: Counts,
    /// Connections that have ended, by the reason.
    pub closed: BTreeMap<String, u64>,
    /// What was asked of each service that has answered.
    pub services: BTreeMap<String, Service>,
    /// Since the start of the process.
    pub uptime_seconds: f64,
    /// Of this program.
    pub version: String,
    /// The process's id.
    pub pid: u32,
    /// Where clients connect, as bound.
    pub listen: Vec<String>,
    /// Whether they speak TLS there.
    pub tls: bool,
    /// The bus behind the gateway, if there is one.
    pub bus: Option<Bus>,
    /// The program that runs for each client, if there is one, with its arguments.
    pub program: Option<String>,
    /// The drain that runs or has ended; `None` while serving.
    pub drain: Option<Drain>,
}

/// What became of every request since the start (DRAIN.md, invariants 1 and 2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that clients sent and that reached us.
    pub received: u64,
    /// Of these, waiting behind a CONNECT that is not answered yet.
    pub held: u64,
    /// Of the received, sent on to the bus.
    pub executed: u64,
    /// Of the executed, answered in full.
    pub answered: u64,
    /// Of the received, answered with an error and never executed.
    pub rejected: u64,
    /// Of the received, those that crossed our Close and were never executed.
    pub crossed_requests: u64,
    /// Answers that came and could not be delivered, or were cut off.
    pub lost_replies: u64,
    /// Of the executed, cut off by the deadline.
    pub cut_off: u64,
    /// Of the executed, left behind by their client.
    pub client_gone: u64,
    /// Of the executed, lost with their service.
    pub service_gone: u64,
    /// Of the executed, lost with the bus.
    pub bus_lost: u64,
    /// Messages in which no request could be read; each was answered with an error.
    pub invalid_messages: u64,
    /// Answers from the bus that nobody here awaited; dropped.
    pub stray_answers: u64,
}

/// What was asked of one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Requests that are settled.
    pub requests: u64,
    /// Of these, those that did not end with a result.
    pub errors: u64,
    /// How long they took on average.
    pub mean_seconds: f64,
}

impl Status {
    /// Why new clients cannot be served, drain or no drain.
    pub fn trouble(&self) -> Option<String> {
        let bus = self.bus.as_ref().filter(|bus| !bus.healthy)?;
        Some(match &bus.reason {
            Some(reason) => format!("bus lost: {reason}"),
            None => "bus lost".to_owned(),
        })
    }
}

/// The bus behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bus {
    /// Its URL, without a password.
    pub url: String,
    /// Whether envelopes can be sent.
    pub healthy: bool,
    /// Why not, if not.
    pub reason: Option<String>,
}

/// A drain that runs or has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// How long ago it began.
    pub since_seconds: f64,
    /// Until pending requests are cut off; `None` if it waits for ever.
    pub deadline_seconds_left: Option<f64>,
    /// Until new requests are answered with 503; `None` if it waits for ever.
    pub soft_deadline_seconds_left: Option<f64>,
    /// Connections when it began.
    pub total_at_start: u64,
    /// Connections that have ended since.
    pub closed_so_far: u64,
    /// What it came to; `None` until it has ended.
    pub verdict: Option<Verdict>,
}

/// One element of `GET /connections`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    /// The client's address; the one that a trusted proxy names, if one does.
    pub client: String,
    /// `open`, `draining`, `closing` or `ending` (DRAIN.md, "One connection").
    pub phase: String,
    /// Since it was opened.
    pub age_seconds: f64,
    /// Since the last data frame, either way.
    pub idle_seconds: f64,
    /// Requests that await their final answer, the oldest first.
    pub pending: Vec<PendingRequest>,
    /// Stateful sessions.
    pub sessions: Vec<OpenSession>,
    /// Bytes that wait for the client.
    pub queued_bytes: u64,
}

/// A request that awaits its final answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingRequest {
    /// The service, if the client named it.
    pub service: Option<String>,
    /// The method.
    pub method: String,
    /// The client's own name for the conversation.
    pub thread: String,
    /// The client's own number of the request in it.
    pub trace: String,
    /// Since it was received.
    pub age_seconds: f64,
}

/// A stateful session that is open or being opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The service, if the client named it.
    pub service: Option<String>,
    /// The client's own name for the conversation.
    pub thread: String,
    /// The worker's bus address; `None` until the CONNECT is answered.
    pub worker: Option<String>,
    /// Since its CONNECT was received.
    pub age_seconds: f64,
}

/// The body of `POST /drain`; an empty body is an empty object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainRequest {
    /// Replaces the configured deadline, or that of the drain that runs already.
    pub deadline: Option<Deadline>,
}

/// When a drain cuts off what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// So long after the drain was asked for.
    After(Duration),
    /// Never.
    Never,
}

/// Which connections are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// At most so many of them, whichever.
    Some {
        /// How many.
        at_most: usize,
    },
    /// At most so many of those with a pending request or a session, the oldest pending first.
    Holding {
        /// How many.
        at_most: usize,
    },
}

/// What came of reading the configuration again, by the keys of settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// These are others than before, and hold from now on.
    pub changed: Vec<String>,
    /// These are others than before, and hold when the process is started again.
    pub at_next_start: Vec<String>,
}

/// Why an operation was refused, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A future that can be sent to another thread.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a gateway can be asked and told while it runs. The control socket and the admin server
/// speak to the gateway through this and nothing else.
pub trait Operations: fmt::Debug + Send + Sync + 'static {
    /// Everything that is so at one instant.
    fn status(&self) -> Answer<'_, Status>;

    /// What `/readyz` answers during a drain.
    fn drain_status(&self) -> StatusCode {
        StatusCode::SERVICE_UNAVAILABLE
    }

    /// The connections, or some of them.
    fn connections(&self, which: Selection) -> Answer<'_, Vec<Connection>>;

    /// Begins a drain; during a drain only a deadline in the request changes anything. Answered
    /// when the phase has changed: a [`Self::status`] asked for thereafter shows it.
    fn drain(&self, request: DrainRequest) -> Answer<'_, Result<(), Refused>>;

    /// Calls a drain off; without a drain, does nothing. Answered when the phase has changed.
    fn undrain(&self) -> Answer<'_, Result<(), Refused>>;

    /// Reads the configuration again and goes by it; one that is wrong changes nothing. Answered when
    /// new clients are let in by it, too.
    fn reload(&self) -> Answer<'_, Result<Reloaded, Refused>>;

    /// Everything that is measured, at one instant.
    fn figures(&self) -> Figures;

    /// The phase as it changes. The gateway drops the sender when it ends.
    fn phase(&self) -> watch::Receiver<Phase>;
}
