//! What the log says of a session's events.

use std::fmt::Display;

use slackwater_core::event::{Event, Outcome};

use crate::operate::logs::ACTIVITY;

/// Writes the line for an event of this client, if there is one. `host` is where it is, for the
/// activity log.
pub(crate) fn log(client: &impl Display, host: impl FnOnce() -> String, event: &Event) {
    match event {
        Event::Executed { service, method, params, xid } => {
            tracing::debug!(%client, service, method, xid, "request");
            if let Some(params) = params {
                let client = host();
                tracing::info!(target: ACTIVITY, client, service, method, params, xid, "request");
            }
        }
        Event::Settled { service, method, thread, trace, xid, outcome, took } => {
            let (age, xid) = (took.as_secs_f64(), xid.as_deref());
            match outcome {
                Outcome::CutOff => {
                    tracing::warn!(%client, service, method, thread, %trace, xid, age, "request cut off");
                }
                Outcome::BusLost | Outcome::ServiceGone => tracing::info!(
                    %client, service, method, thread, %trace, xid, age, ?outcome, "request lost"
                ),
                Outcome::Complete
                | Outcome::ErrorStatus
                | Outcome::Refused
                | Outcome::ClientGone => {
                    tracing::debug!(%client, service, method, thread, %trace, xid, age, ?outcome, "settled");
                }
            }
        }
        Event::SessionCutOff { service, thread, took } => {
            let age = took.as_secs_f64();
            tracing::warn!(%client, service, thread, age, "session cut off");
        }
        Event::Unwritten { answers, outcome } => {
            tracing::warn!(%client, answers, ?outcome, "answers could not be written");
        }
        Event::Dropped { requests, outcome, took } => {
            let age = took.as_secs_f64();
            match outcome {
                Outcome::CutOff => tracing::warn!(%client, requests, age, "requests cut off"),
                Outcome::BusLost
                | Outcome::ServiceGone
                | Outcome::Complete
                | Outcome::ErrorStatus
                | Outcome::Refused
                | Outcome::ClientGone => {
                    tracing::debug!(%client, requests, age, ?outcome, "requests without answer");
                }
            }
        }
        Event::ProgramCutOff => tracing::warn!(%client, "program cut off"),
        Event::LostBytes(bytes) => tracing::warn!(%client, bytes, "an answer was cut off"),
        Event::Crossed { requests, thread } => {
            tracing::info!(%client, requests, thread, "came behind our Close, not executed");
        }
        Event::Rejected { code, xid } => {
            tracing::debug!(%client, code, xid = xid.as_deref(), "request rejected");
        }
        Event::Invalid { code } => tracing::debug!(%client, code, "message refused"),
        Event::XidReplaced => tracing::debug!(%client, "log_xid replaced"),
        Event::BarrierGivenUp => tracing::debug!(%client, "no Pong; closed when quiet"),
        Event::Stray => tracing::debug!(%client, "an answer that nobody awaits"),
        Event::Received(_)
        | Event::Held(_)
        | Event::Released(_)
        | Event::Recalled
        | Event::Passed(_)
        | Event::Answered(_)
        | Event::SessionBegun
        | Event::SessionEnded => {}
    }
}
