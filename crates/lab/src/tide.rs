//! Drain and undrain at random moments, under load, with everything watched that must not change
//! (DRAIN.md, invariants 1 to 7).

mod watch;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use self::watch::{Resources, watch};
use crate::caller::{Caller, DEMO};
use crate::chance::Chance;
use crate::crowd::{Crowd, Seen};
use crate::kernel;
use crate::opensrf;
use crate::process::Gateway;

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Drains that are called off or left alone.
    pub rounds: u64,
    /// Clients at a time.
    pub clients: u64,
    /// Of the run.
    pub seed: u64,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What all clients have seen.
    pub seen: Seen,
    /// Drains called off, by the phase in which they were.
    pub called_off: BTreeMap<String, u64>,
    /// Drains left alone, all of which ended.
    pub left_alone: u64,
    /// The longest of them.
    pub longest: Duration,
    /// Looks at the status, each of which was in order.
    pub samples: u64,
    /// Connections made to see that the port accepts again.
    pub probes: u64,
}

const LONGEST_SERVING: Duration = Duration::from_millis(50);
const LONGEST_DRAIN: Duration = Duration::from_millis(60);

/// A drain that is left alone has so long, and then the time that connections may take to close.
const DEADLINE: Duration = Duration::from_secs(4);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Drains and undrains the gateway while clients use it, and ends with a drain of all of them. The
/// gateway needs a quiet window that is short, and no ebb window.
///
/// # Errors
/// An invariant did not hold, or a client was not served as the close contract says.
pub async fn run(gateway: &mut Gateway, plan: Plan) -> io::Result<Figures> {
    let mut chance = Chance::new(plan.seed);
    warm_up(gateway).await?;
    let before = Resources::settled(gateway).await?;
    let crowd = Crowd::enter(gateway.address(), plan.clients, &mut chance);
    let whistle = crowd.whistle();
    let mut figures = Figures::default();
    let mut samples = 0;
    let driving = async {
        for _ in 0..plan.rounds {
            round(gateway, &mut chance, &mut figures).await?;
        }
        whistle.blow().await;
        drain_to_its_end(gateway, DEADLINE, &mut figures).await?;
        gateway.control("POST", "/undrain", "").await.map(drop)
    };
    let ((), seen) = tokio::select! {
        done = crowd.during(driving) => done?,
        error = watch(gateway, plan.clients, before.threads, &mut samples) => return Err(error),
    };
    before.still(gateway).await?;
    Ok(Figures { seen, samples, ..figures })
}

/// One drain, called off at some moment or left alone.
async fn round(gateway: &Gateway, chance: &mut Chance, figures: &mut Figures) -> io::Result<()> {
    tokio::time::sleep(chance.time(LONGEST_SERVING)).await;
    // One in eight has a deadline so near that it cuts requests off.
    let near = chance.below(8) == 0;
    let near_deadline = Duration::from_millis(1) + chance.time(LONGEST_DRAIN);
    let deadline = if near { near_deadline } else { DEADLINE };
    if chance.below(8) == 0 {
        drain_to_its_end(gateway, deadline, figures).await?;
    } else {
        drain(gateway, deadline).await?;
        tokio::time::sleep(chance.time(LONGEST_DRAIN)).await;
        let phase = gateway.status().await?["phase"].as_str().unwrap_or_default().to_owned();
        *figures.called_off.entry(phase).or_default() += 1;
    }
    let status = gateway.control("POST", "/undrain", "").await?;
    if status["phase"] != "serving" || kernel::listening(gateway.pid())? != 1 {
        return Err(io::Error::other(format!("not called off: {status}")));
    }
    let connections = gateway.control("GET", "/connections", "").await?;
    let all = connections.as_array().map(Vec::as_slice).unwrap_or_default();
    if all.iter().any(|one| one["phase"] == "draining") {
        return Err(io::Error::other(format!("draining without a drain: {connections}")));
    }
    probe(gateway).await?;
    figures.probes += 1;
    Ok(())
}

async fn drain(gateway: &Gateway, deadline: Duration) -> io::Result<()> {
    let body = format!(r#"{{"deadline":"{}ms"}}"#, deadline.as_millis());
    let status = gateway.control("POST", "/drain", &body).await?;
    if status["phase"] == "serving" {
        return Err(io::Error::other(format!("no drain: {status}")));
    }
    Ok(())
}

/// A drain that is left alone ends by its deadline.
async fn drain_to_its_end(
    gateway: &Gateway,
    deadline: Duration,
    figures: &mut Figures,
) -> io::Result<()> {
    /// For a machine that is busy with other things.
    const ALLOWANCE: Duration = Duration::from_secs(5);
    let began = Instant::now();
    drain(gateway, deadline).await?;
    loop {
        let status = gateway.status().await?;
        if status["phase"] == "drained" {
            break;
        }
        if began.elapsed() > deadline + CLOSE_TIMEOUT + ALLOWANCE {
            return Err(io::Error::other(format!("a drain of {deadline:?} goes on: {status}")));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    if kernel::listening(gateway.pid())? != 0 {
        return Err(io::Error::other("a drained gateway listens"));
    }
    figures.longest = figures.longest.max(began.elapsed());
    figures.left_alone += 1;
    Ok(())
}

/// A session, so that the gateway has all the connections to its bus that it will need. The first
/// CONNECT goes by the router, the second to the worker.
async fn warm_up(gateway: &Gateway) -> io::Result<()> {
    let mut client = Caller::connect(gateway.address()).await?;
    for _ in 0..2 {
        client.raw.send_text(&opensrf::connect(DEMO, "warm-up")).await?;
        client.hear().await?;
    }
    client.raw.send_text(&opensrf::disconnect("warm-up")).await?;
    client.leave(1000).await.map(drop)
}

/// Connects, is answered, and leaves.
async fn probe(gateway: &Gateway) -> io::Result<()> {
    let mut probe = gateway.connect().await?;
    probe.close(1000).await?;
    probe.end().await.map(drop)
}
