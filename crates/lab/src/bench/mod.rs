//! The benchmark: the gateway beside the least that could do its work, beside a bare client of the bus
//! and beside any other gateway; all in one run, in turn, on one machine.
//!
//! Law: only what was measured side by side is compared. What the machine does besides hits all
//! subjects alike, round by round; of the rounds the middle one counts.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};

use crate::proof::skipped;
use crate::site::Bus;

pub use against::against;
pub use least::{instant, relay};
pub use record::Run;
pub use scenario::Scenario;
pub use subject::{Peer, Subject};

use stage::Stage;
use turns::Turn;

mod against;
mod least;
mod place;
mod plots;
mod record;
mod scenario;
mod stage;
mod subject;
mod table;
mod targets;
mod turns;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The gateway's binary.
    pub program: PathBuf,
    /// websocketd's.
    pub websocketd: PathBuf,
    /// Who is measured, in this order.
    pub subjects: Vec<Subject>,
    /// Other gateways, measured after them.
    pub peers: Vec<Peer>,
    /// What is done.
    pub scenarios: Vec<Scenario>,
    /// Each subject has its turn in each round.
    pub rounds: usize,
    /// How long a turn of calls is.
    pub turn: Duration,
    /// Clients of the closed loop.
    pub clients: Vec<u64>,
    /// Calls a second of the open loop.
    pub rates: Vec<f64>,
    /// Clients who connect at once.
    pub storms: Vec<usize>,
    /// Idle clients whose memory is measured.
    pub idle: Vec<usize>,
    /// For which memory must not change before it counts.
    pub settle: Duration,
    /// Idle clients who are drained.
    pub drained: usize,
    /// Over which they are.
    pub ebb_window: Duration,
    /// Where progress is shown.
    pub bar: ProgressBar,
}

impl Plan {
    /// A run of that length which measures the gateway on Redis, in all scenarios.
    #[must_use]
    pub fn of(program: PathBuf) -> Self {
        Self {
            program,
            websocketd: "/usr/bin/websocketd".into(),
            subjects: vec![
                Subject::Bare(Bus::Redis),
                Subject::Relay(Bus::Redis),
                Subject::Gateway(Bus::Redis),
                Subject::Run,
                Subject::Websocketd,
            ],
            peers: Vec::new(),
            scenarios: Vec::new(),
            rounds: 5,
            turn: Duration::from_millis(600),
            clients: vec![1, 10, 50, 200, 1_000],
            rates: vec![1_000.0, 5_000.0, 10_000.0, 20_000.0],
            storms: vec![1_000],
            idle: vec![1_000, 10_000, 19_000],
            settle: Duration::from_secs(2),
            drained: 19_000,
            ebb_window: Duration::from_secs(10),
            bar: ProgressBar::hidden(),
        }
    }
}

/// Runs the plan. `lab` is this program.
///
/// # Errors
/// Something did not start, or did not answer as it should; or it was interrupted.
pub async fn run(lab: &Path, plan: &Plan) -> io::Result<Run> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        run = all(lab, plan) => run,
        // What was started ends with what is dropped here.
        _ = tokio::signal::ctrl_c() => Err(io::ErrorKind::Interrupted.into()),
        _ = terminated.recv() => Err(io::ErrorKind::Interrupted.into()),
    }
}

async fn all(lab: &Path, plan: &Plan) -> io::Result<Run> {
    let mut subjects = plan.subjects.clone();
    if subjects.contains(&Subject::Websocketd) && !plan.websocketd.exists() {
        skipped("websocketd", &format!("there is no {}", plan.websocketd.display()));
        subjects.retain(|subject| *subject != Subject::Websocketd);
    }
    subjects.extend(plan.peers.iter().map(|peer| Subject::Peer(peer.name.clone())));
    let mut stage = Stage::start(lab, &plan.program, &plan.peers, &mut subjects).await?;
    let place = place::here(&plan.program)?;
    let turns = turns(plan, &subjects);
    plan.bar.set_length(turns.len() as u64);
    let mut rows = Vec::new();
    for (round, scenario, subject) in turns {
        plan.bar.set_message(format!("{}: {subject}", scenario.title()));
        let turn = Turn { stage: &mut stage, plan, scenario, subject, round, rows: &mut rows };
        let taken = Box::pin(turn.take()).await;
        let what = |error| io::Error::other(format!("{}, {subject}: {error}", scenario.title()));
        taken.map_err(what)?;
        plan.bar.inc(1);
    }
    plan.bar.finish_and_clear();
    Ok(Run { place, rounds: plan.rounds, rows })
}

/// Who does what when.
fn turns<'a>(plan: &Plan, subjects: &'a [Subject]) -> Vec<(usize, Scenario, &'a Subject)> {
    let mut turns = Vec::new();
    for round in 0..plan.rounds {
        for &scenario in &plan.scenarios {
            if round > 0 && !scenario.is_repeated() {
                continue;
            }
            // Nobody always comes first.
            let able: Vec<&Subject> =
                subjects.iter().filter(|subject| scenario.is_for(subject)).collect();
            let order = able.iter().cycle().skip(round % able.len().max(1)).take(able.len());
            turns.extend(order.map(|&subject| (round, scenario, subject)));
        }
    }
    turns
}
