//! Closed loops: each client makes its next call as soon as it has the answer to the last. What is
//! measured begins when all are connected and have called once. The clients are threads that block;
//! nothing else happens in this process meanwhile.

use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use super::{Turn, shares};
use crate::bench::least::callers::{Call, Way};
use crate::bench::record::{Figure, percentiles};
use crate::bench::scenario::Scenario;
use crate::bench::stage::Service;

/// Threads that only call need no more.
pub(super) const STACK: usize = 256 * 1024;

/// One client, of whichever worker the scenario has.
pub(super) async fn sequential(mut turn: Turn<'_>) -> io::Result<()> {
    let timed = turn.scenario == Scenario::Timed;
    let service = if timed { Service::Timed } else { Service::Instant };
    loops(&mut turn, service, 1, "1 client".to_owned()).await
}

/// So many clients.
pub(super) async fn closed(mut turn: Turn<'_>) -> io::Result<()> {
    for &clients in &turn.plan.clients {
        loops(&mut turn, Service::Instant, clients, format!("{clients} clients")).await?;
    }
    Ok(())
}

async fn loops(
    turn: &mut Turn<'_>,
    service: Service,
    clients: u64,
    case: String,
) -> io::Result<()> {
    let service = service.on(turn.subject.bus());
    let length = turn.plan.turn;
    turn.stage.standing(turn.subject).await?;
    let running = turn.stage.running(turn.subject)?;
    let (seen, readings) = block_in_place(|| {
        let mut readings = Vec::new();
        let read = || {
            readings.push(turn.stage.shares(turn.subject, running)?);
            Ok(())
        };
        let seen = closed_loop(&running.way, service, clients, length, read)?;
        Ok::<_, io::Error>((seen, readings))
    })?;
    let Seen { times, took } = seen;
    let (calls, seconds) = (times.len() as f64, took.as_secs_f64());
    let mut figures = percentiles(times).to_vec();
    figures.push((Figure::Rate, calls / seconds));
    if let [before, after] = readings[..] {
        if after.subject > 0.0 {
            figures.push((Figure::Cpu, (after.subject - before.subject) / calls));
        }
        figures.extend(shares(before, after, seconds));
    }
    turn.saw(case, clients as f64, figures);
    Ok(())
}

/// What was seen of some calls.
#[derive(Debug)]
struct Seen {
    /// Of each call, in no order, seconds.
    times: Vec<f64>,
    /// From the first to the last.
    took: Duration,
}

/// Has so many clients call `service` for about so long. `around` is told when the calls begin,
/// and when they have ended.
fn closed_loop(
    way: &Way,
    service: &str,
    clients: u64,
    length: Duration,
    mut around: impl FnMut() -> io::Result<()>,
) -> io::Result<Seen> {
    let gate = Barrier::new(usize::try_from(clients).unwrap_or(usize::MAX).saturating_add(1));
    let stop = AtomicBool::new(false);
    let call = Call::small(service);
    std::thread::scope(|threads| {
        let client = |number| {
            let (gate, stop) = (&gate, &stop);
            move || {
                let caller = way.connect(number).and_then(|mut caller| {
                    caller.call(call)?;
                    Ok(caller)
                });
                gate.wait();
                let (mut caller, mut times) = (caller?, Vec::new());
                loop {
                    let began = Instant::now();
                    caller.call(call)?;
                    let took = began.elapsed();
                    if stop.load(Ordering::Relaxed) {
                        return Ok::<_, io::Error>(times);
                    }
                    times.push(took.as_secs_f64());
                }
            }
        };
        let spawn = |number| {
            let builder = std::thread::Builder::new().stack_size(STACK);
            builder.spawn_scoped(threads, client(number))
        };
        // A client that cannot be made would leave the others at the gate for ever.
        let all: Vec<_> =
            (0..clients).map(|number| spawn(number).expect("a thread for each client")).collect();
        gate.wait();
        let began = Instant::now();
        let first = around();
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        let took = began.elapsed();
        let last = around();
        let mut times = Vec::new();
        for thread in all {
            times.extend(thread.join().map_err(|_| io::Error::other("a client failed"))??);
        }
        first.and(last)?;
        Ok(Seen { times, took })
    })
}

/// Has one client after the other connect and call once.
pub(super) async fn first(mut turn: Turn<'_>) -> io::Result<()> {
    let call = Call::small(Service::Instant.on(turn.subject.bus()));
    let way = turn.stage.standing(turn.subject).await?.way.clone();
    let (began, mut times) = (Instant::now(), Vec::new());
    block_in_place(|| {
        while began.elapsed() < turn.plan.turn {
            let begins = Instant::now();
            let mut caller = way.connect(times.len() as u64)?;
            caller.call(call)?;
            times.push(begins.elapsed().as_secs_f64());
        }
        Ok::<_, io::Error>(())
    })?;
    turn.saw("one after the other", 1.0, percentiles(times));
    Ok(())
}
