//! What systemd is told, where it listens (`Type=notify`); elsewhere nothing happens. A service
//! manager that cannot be reached is no reason to stop serving.
//!
//! Law: the status line is written at most once a second; the time to stop grows only while the
//! drain of a process that ends is running, which its own deadline bounds; and the watchdog hears
//! of the gateway only after a look into its books, from its own runtime.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::status::{Operations as _, Phase, Status};
use crate::config::Period;
use crate::gateway::Gateway;

/// Between two status lines.
const PACE: Duration = Duration::from_secs(1);

/// How much longer than the next status line systemd is to wait for the end of a process that
/// drains, in microseconds. It has no effect before `TimeoutStopSec` is over.
const EXTENSION: u32 = 15_000_000;

/// The gateway accepts clients.
pub fn ready() {
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The configuration is being read again, until [`reloaded`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(since) => notify(&[NotifyState::Reloading, since]),
        Err(error) => tracing::debug!(%error, "systemd was not notified"),
    }
}

/// The configuration has been read, for better or worse.
pub fn reloaded() {
    notify(&[NotifyState::Ready]);
}

/// The gateway will exit when its drain is done.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Keeps the line that `systemctl status` shows true, and has systemd wait for a drain, for ever.
pub async fn keep_informed(gateway: &Gateway) {
    let mut phases = gateway.phase();
    let mut told = String::from("serving");
    loop {
        let phase = *phases.borrow_and_update();
        let due = Instant::now() + PACE;
        let line = line(&gateway.status().await);
        let mut news = Vec::new();
        if line != told {
            news.push(NotifyState::Status(&line));
        }
        if gateway.is_ending() {
            news.push(NotifyState::ExtendTimeoutUsec(EXTENSION));
        }
        notify(&news);
        told = line;
        sleep_until(due).await;
        match phase {
            Phase::Announce | Phase::Refuse | Phase::Ebb => {}
            // Its sender lives as long as the gateway.
            Phase::Serving | Phase::Drained => drop(phases.changed().await),
        }
    }
}

/// Feeds the watchdog (`WatchdogSec`), if there is one, for ever.
pub async fn feed_watchdog(gateway: &Gateway) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    // A third, so that one tick may be late on a machine that is busy.
    let mut ticks = interval((limit / 3).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Not to be had if whoever holds the books hangs.
        gateway.status().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn line(status: &Status) -> String {
    let phase = match status.phase {
        Phase::Serving => return "serving".to_owned(),
        Phase::Drained => return "drained".to_owned(),
        Phase::Announce => "announced",
        Phase::Refuse => "refusing",
        Phase::Ebb => "ebb",
    };
    let deadline = status.drain.as_ref().and_then(|drain| drain.deadline_seconds_left);
    let deadline = deadline.map_or_else(String::new, |seconds| {
        let left = Duration::try_from_secs_f64(seconds.ceil().max(0.0)).unwrap_or(Duration::MAX);
        format!(", {} to the deadline", Period::from(left))
    });
    format!(
        "draining ({phase}): connections left: {}, pending requests: {}, sessions: {}{deadline}",
        status.connections, status.pending_requests, status.sessions
    )
}

fn notify(states: &[NotifyState<'_>]) {
    if states.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
