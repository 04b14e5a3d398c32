//! What the process knows of itself, under one lock: the drain, the sums over all events, the
//! health of the bus. What `status` says is one look at it, so its figures always agree.

use std::sync::Arc;
use std::time::Instant;

use slackwater_core::drain::{Drain, Phase, Verdict};
use slackwater_core::event::{Cause, Counters, Outcome};
use slackwater_core::{session, tally};

use crate::gateway::Limits;
use crate::operate::status;

/// The books of one process.
#[derive(Debug)]
pub(crate) struct Books {
    /// How far the process is on its way out.
    pub(crate) drain: Drain,
    /// What a session that begins now goes by.
    pub(crate) sessions: Arc<session::Config>,
    /// How much the gateway takes on now.
    pub(crate) limits: Limits,
    /// Sums over all events.
    pub(crate) counters: Counters,
    /// Times that the bus was lost.
    pub(crate) bus_losses: u64,
    /// Why the bus is gone, if it is.
    pub(crate) bus_lost: Option<String>,
    /// Orders given to the listeners; an answer to an older one means nothing.
    pub(crate) orders: u64,
    /// Whether a client was refused for want of a place since the last one left.
    pub(crate) full: bool,
}

/// What of a status does not change.
#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) began: Instant,
    pub(crate) behind: Behind,
    pub(crate) listen: Vec<String>,
    pub(crate) tls: bool,
}

/// What stands behind the gateway, as it is shown.
#[derive(Debug, Clone)]
pub enum Behind {
    /// A bus, by its URL without a password.
    Bus(String),
    /// A program for each client, with its arguments.
    Program(String),
}

impl Books {
    pub(crate) fn new(drain: Drain, sessions: session::Config, limits: Limits) -> Self {
        Self {
            drain,
            sessions: Arc::new(sessions),
            limits,
            counters: Counters::default(),
            bus_losses: 0,
            bus_lost: None,
            orders: 0,
            full: false,
        }
    }

    /// A connection has ended.
    pub(crate) fn closed(&mut self, cause: Cause) {
        *self.counters.closed.entry(cause).or_default() += 1;
    }

    pub(crate) fn status(&self, fixed: &Fixed, now: Instant) -> status::Status {
        let Self { drain, counters, bus_lost, .. } = self;
        let phase = drain.phase();
        let left = |due: Instant| due.saturating_duration_since(now).as_secs_f64();
        status::Status {
            phase: shown(phase),
            connections: drain.connections() as u64,
            pending_requests: counters.pending + counters.held,
            sessions: counters.sessions,
            counts: status::Counts {
                received: counters.received,
                held: counters.held,
                executed: counters.executed,
                answered: counters.answered,
                rejected: counters.rejected,
                crossed_requests: counters.crossed_requests,
                lost_replies: counters.lost_replies,
                cut_off: counters.cut_off,
                client_gone: counters.client_gone,
                service_gone: counters.service_gone,
                bus_lost: counters.bus_lost,
                invalid_messages: counters.invalid,
                stray_answers: counters.strays,
            },
            closed: counters
                .closed
                .iter()
                .map(|(cause, count)| (cause.name().to_owned(), *count))
                .collect(),
            services: counters.services.iter().map(shown_service).collect(),
            uptime_seconds: now.saturating_duration_since(fixed.began).as_secs_f64(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            listen: fixed.listen.clone(),
            tls: fixed.tls,
            bus: match &fixed.behind {
                Behind::Bus(url) => Some(status::Bus {
                    url: url.clone(),
                    healthy: bus_lost.is_none(),
                    reason: bus_lost.clone(),
                }),
                Behind::Program(_) => None,
            },
            program: match &fixed.behind {
                Behind::Program(command) => Some(command.clone()),
                Behind::Bus(_) => None,
            },
            drain: drain.began().map(|began| status::Drain {
                since_seconds: now.saturating_duration_since(began).as_secs_f64(),
                deadline_seconds_left: drain.hard_deadline().map(left),
                soft_deadline_seconds_left: drain.soft_deadline().map(left),
                total_at_start: drain.connections_at_start() as u64,
                closed_so_far: drain.connections_at_start().saturating_sub(drain.connections())
                    as u64,
                verdict: (phase == Phase::Drained).then(|| match drain.verdict() {
                    Verdict::Clean => status::Verdict::Clean,
                    Verdict::Lost(_) => status::Verdict::CutOff,
                }),
            }),
        }
    }
}

fn shown_service((name, tally): (&str, &tally::Service)) -> (String, status::Service) {
    let requests = tally.requests();
    let service = status::Service {
        requests,
        errors: requests - tally.count(Outcome::Complete),
        mean_seconds: tally.took.sum.as_secs_f64() / requests.max(1) as f64,
    };
    (name.to_owned(), service)
}

/// A phase as it is shown.
pub(crate) fn shown(phase: Phase) -> status::Phase {
    match phase {
        Phase::Serving => status::Phase::Serving,
        Phase::Announce => status::Phase::Announce,
        Phase::Refuse => status::Phase::Refuse,
        Phase::Ebb => status::Phase::Ebb,
        Phase::Drained => status::Phase::Drained,
    }
}
