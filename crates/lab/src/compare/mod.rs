//! The gateway beside the least that could do its work: the same calls, by the same router and
//! workers, made by a bare client of the bus, through a relay that only copies bytes, and through the
//! gateway; all in one run, in turn, on one machine.
//!
//! Law: only what was measured side by side is compared. What the machine does besides hits all
//! three alike, round by round; of the rounds the middle one counts.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};

use crate::site::Bus;

pub use instant::Service;
pub use report::Report;

use load::{Seen, closed_loop, first_answers};
use parts::{INSTANT, Parts, TIMED};
use report::{Cpu, Measurement, SUBJECTS, Scenario, Subject};

mod callers;
pub mod instant;
mod load;
mod parts;
mod plots;
pub mod relay;
mod report;
mod resp;
mod table;
mod text;
mod xmpp;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The bus, which has a server of its own.
    pub bus: Bus,
    /// Each subject has its turn in each round.
    pub rounds: usize,
    /// How long a turn is.
    pub turn: Duration,
    /// Numbers of clients that call at once.
    pub clients: Vec<u64>,
}

impl Default for Plan {
    /// Less than two minutes.
    fn default() -> Self {
        let clients = vec![1, 2, 5, 10, 20, 50, 100, 200];
        Self { bus: Bus::Redis, rounds: 5, turn: Duration::from_millis(600), clients }
    }
}

/// Runs the plan. `lab` is this program, `program` the gateway's. `None`, and a loud word about
/// it: this machine has not got the bus's server.
///
/// # Errors
/// Something did not start, or did not answer as it should.
pub async fn compare(lab: &Path, program: &Path, plan: Plan) -> io::Result<Option<Report>> {
    let Some(parts) = Parts::start(lab, program, plan.bus).await? else { return Ok(None) };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    // The clients are threads that block; nothing else happens here meanwhile.
    let mut all = tokio::task::spawn_blocking(move || rounds(&parts, &plan, &stopped));
    let mut terminated = signal(SignalKind::terminate())?;
    let report = tokio::select! {
        report = &mut all => report,
        // The parts would outlive a program that ends at once.
        _ = tokio::signal::ctrl_c() => { stop.store(true, Ordering::Relaxed); all.await }
        _ = terminated.recv() => { stop.store(true, Ordering::Relaxed); all.await }
    };
    report.map_err(io::Error::other)?.map(Some)
}

fn rounds(parts: &Parts, plan: &Plan, stop: &AtomicBool) -> io::Result<Report> {
    let scenarios: Vec<Scenario> = [Scenario::Timed, Scenario::First]
        .into_iter()
        .chain(plan.clients.iter().map(|&clients| Scenario::Load { clients }))
        .collect();
    let bar = bar(plan.rounds * scenarios.len() * SUBJECTS.len());
    let mut measurements = Vec::new();
    for round in 0..plan.rounds {
        for &scenario in &scenarios {
            // Nobody always comes first.
            for turn in 0..SUBJECTS.len() {
                if stop.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let subject = SUBJECTS[(round + turn) % SUBJECTS.len()];
                bar.set_message(format!("{} {scenario}", subject.name()));
                measurements.push(measure(parts, subject, scenario, round, plan.turn)?);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(Report::new(parts.bus(), measurements))
}

fn measure(
    parts: &Parts,
    subject: Subject,
    scenario: Scenario,
    round: usize,
    turn: Duration,
) -> io::Result<Measurement> {
    let way = parts.way(subject);
    let mut readings: Vec<Cpu> = Vec::new();
    let mut read = || {
        readings.push(parts.cpu(subject)?);
        Ok(())
    };
    let seen = match scenario {
        Scenario::Load { clients } => closed_loop(&way, INSTANT, clients, turn, read)?,
        Scenario::Timed => closed_loop(&way, TIMED, 1, turn, read)?,
        Scenario::First => {
            read()?;
            let seen = first_answers(&way, INSTANT, turn)?;
            read()?;
            seen
        }
    };
    let Seen { mut times, took } = seen;
    times.sort_unstable();
    let at = |part: f64| {
        let index = (times.len() as f64 * part) as usize;
        times.get(index.min(times.len().saturating_sub(1))).map_or(f64::NAN, Duration::as_secs_f64)
    };
    let cpu = match readings.as_slice() {
        [before, after] => after.since(before),
        _ => Cpu::default(),
    };
    let (calls, seconds) = (times.len(), took.as_secs_f64());
    Ok(Measurement { subject, scenario, round, calls, seconds, p50: at(0.5), p99: at(0.99), cpu })
}

fn bar(length: usize) -> ProgressBar {
    let style = indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}  {msg}");
    let bar = ProgressBar::new(length as u64);
    bar.with_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()))
}
