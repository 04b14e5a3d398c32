//! Open loops: calls are due at a fixed rate, whether the answers to earlier ones have come or not.
//!
//! Law: the time of a call runs from the moment at which it was due. A subject that stalls is not
//! asked less often, and what waited for it counts as having waited (coordinated omission).

use std::io;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use super::calls::STACK;
use super::{Turn, shares};
use crate::bench::least::callers::{Call, Way};
use crate::bench::record::{Figure, percentiles};
use crate::bench::stage::Service;

/// Connections that the calls are spread over, each with a schedule of its own.
const CONNECTIONS: u32 = 100;

/// At each rate in turn.
pub(super) async fn open(mut turn: Turn<'_>) -> io::Result<()> {
    let service = Service::Instant.on(turn.subject.bus());
    turn.stage.standing(turn.subject).await?;
    for &rate in &turn.plan.rates {
        let running = turn.stage.running(turn.subject)?;
        let (times, taken, shares) = block_in_place(|| {
            let before = turn.stage.shares(turn.subject, running)?;
            let began = Instant::now();
            let (times, took) = calls(&running.way, service, rate, turn.plan.turn)?;
            let after = turn.stage.shares(turn.subject, running)?;
            let shares = shares(before, after, began.elapsed().as_secs_f64());
            Ok::<_, io::Error>((times, took, shares))
        })?;
        let made = times.len() as f64 / taken.as_secs_f64();
        let mut figures = percentiles(times).to_vec();
        figures.push((Figure::Rate, made));
        figures.extend(shares);
        turn.saw(format!("{rate} calls/s"), rate, figures);
    }
    Ok(())
}

/// Gives the times, and how long it took until the last was answered.
fn calls(
    way: &Way,
    service: &str,
    rate: f64,
    length: Duration,
) -> io::Result<(Vec<f64>, Duration)> {
    let between = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
    let call = Call::small(service);
    std::thread::scope(|threads| {
        let mut callers = Vec::new();
        for number in 0..CONNECTIONS {
            let mut caller = way.connect(u64::from(number))?;
            caller.call(call)?;
            callers.push((number, caller));
        }
        let begin = Instant::now() + Duration::from_millis(20);
        let mut all = Vec::new();
        for (number, mut caller) in callers {
            // All together are as even as each alone.
            let first = begin + between * number / CONNECTIONS;
            let client = move || {
                let (mut due, mut times) = (first, Vec::new());
                while due < begin + length {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    caller.call(call)?;
                    times.push(due.elapsed().as_secs_f64());
                    due += between;
                }
                Ok::<_, io::Error>(times)
            };
            let builder = std::thread::Builder::new().stack_size(STACK);
            all.push(builder.spawn_scoped(threads, client)?);
        }
        let mut times = Vec::new();
        for thread in all {
            times.extend(thread.join().map_err(|_| io::Error::other("a client failed"))??);
        }
        Ok((times, begin.elapsed()))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A server that stalls once makes all who are due meanwhile wait, and each of them counts.
    #[test]
    fn what_is_due_while_the_server_stalls_has_waited() {
        const STALL: Duration = Duration::from_millis(300);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut space = [0; 4096];
                    // The handshake, and then calls, each in one piece.
                    let mut calls = 0;
                    while let Ok(length @ 1..) = stream.read(&mut space) {
                        if calls == 0 && space[..length].starts_with(b"GET ") {
                            stream.write_all(b"HTTP/1.1 101 Yes\r\n\r\n").unwrap();
                            continue;
                        }
                        calls += 1;
                        if calls == 2 {
                            std::thread::sleep(STALL);
                        }
                        let text = format!(r#"{{"threadTrace":"{calls}","statusCode":"205"}}"#);
                        let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
                        frame.extend(text.as_bytes());
                        stream.write_all(&frame).unwrap();
                    }
                });
            }
        });
        // Each connection is due every 50 ms, ten times, and stalls for the first of them.
        let length = Duration::from_millis(500);
        let (times, _) = calls(&Way::WebSocket(address), "any", 2_000.0, length).unwrap();
        let late = times.iter().filter(|time| **time > 0.040).count();
        assert_eq!(times.len(), 1_000);
        // Six of its calls fell due before the stall was over, and the last of them waited no time.
        assert!((500..1_000).contains(&late), "{late} of {} have waited", times.len());
    }
}
