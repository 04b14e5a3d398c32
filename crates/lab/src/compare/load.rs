//! Closed loops: each client makes its next call as soon as it has the answer to the last. What is
//! measured begins when all are connected and have called once.

use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::callers::Way;

/// Threads that only call need no more.
const STACK: usize = 256 * 1024;

/// What was seen of some calls.
#[derive(Debug)]
pub(super) struct Seen {
    /// Of each call, in no order.
    pub(super) times: Vec<Duration>,
    /// From the first to the last.
    pub(super) took: Duration,
}

/// Has so many clients call `service` for about so long. `around` is told when the calls begin,
/// and when they have ended.
pub(super) fn closed_loop(
    way: &Way,
    service: &str,
    clients: u64,
    length: Duration,
    mut around: impl FnMut() -> io::Result<()>,
) -> io::Result<Seen> {
    let gate = Barrier::new(usize::try_from(clients).unwrap_or(usize::MAX).saturating_add(1));
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let client = |number| {
            let (gate, stop) = (&gate, &stop);
            move || {
                let caller = way.connect(number).and_then(|mut caller| {
                    caller.call(service)?;
                    Ok(caller)
                });
                gate.wait();
                let (mut caller, mut times) = (caller?, Vec::new());
                loop {
                    let began = Instant::now();
                    caller.call(service)?;
                    let took = began.elapsed();
                    if stop.load(Ordering::Relaxed) {
                        return Ok::<_, io::Error>(times);
                    }
                    times.push(took);
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

/// Has one client after the other connect and call once, for about so long.
pub(super) fn first_answers(way: &Way, service: &str, length: Duration) -> io::Result<Seen> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < length {
        let begins = Instant::now();
        let mut caller = way.connect(times.len() as u64)?;
        caller.call(service)?;
        times.push(begins.elapsed());
    }
    Ok(Seen { times, took: began.elapsed() })
}
