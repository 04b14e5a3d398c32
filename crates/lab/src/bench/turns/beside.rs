//! Fast calls while others are slow or large: nobody is to wait for somebody else's answer.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use super::Turn;
use crate::bench::least::callers::{Call, Caller as _, OnWebSocket};
use crate::bench::record::{Figure, percentiles};
use crate::bench::stage::{SLOW, Service};

/// Slow calls on one socket.
const SLOW_ONES: usize = 12;

/// What another client is sent.
const STREAMS: [(&str, Service); 2] = [
    ("beside 100 MiB at 50 MiB/s to another", Service::Paced),
    ("beside 100 MiB at once to another", Service::Stream),
];

/// One fast client, alone, with slow calls on its own socket, and beside a stream to another.
pub(super) async fn beside(mut turn: Turn<'_>) -> io::Result<()> {
    let address = turn.stage.standing(turn.subject).await?.address()?;
    let length = turn.plan.turn;
    let (alone, with_slow, streams) = block_in_place(|| {
        let began = Instant::now();
        let alone =
            fast_calls(&mut OnWebSocket::connect(address, 0)?, || began.elapsed() < length)?;
        let with_slow = beside_slow_ones(address, length)?;
        let streams = STREAMS.map(|(_, service)| beside_a_stream(address, length, service));
        Ok::<_, io::Error>((alone, with_slow, streams))
    })?;
    turn.saw("alone", 0.0, percentiles(alone));
    turn.saw("beside 12 slow ones on its socket", 1.0, percentiles(with_slow));
    for ((case, _), streamed) in STREAMS.into_iter().zip(streams) {
        let (times, rate) = streamed?;
        let mut figures = percentiles(times).to_vec();
        figures.push((Figure::Throughput, rate));
        turn.saw(case, 2.0, figures);
    }
    Ok(())
}

/// One call after the other for as long as `go_on` says; gives their times, seconds.
fn fast_calls(client: &mut OnWebSocket, go_on: impl Fn() -> bool) -> io::Result<Vec<f64>> {
    let call = Call::small(Service::Instant.on(None));
    let mut times = Vec::new();
    while go_on() {
        let began = Instant::now();
        client.call(call)?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(times)
}

fn beside_slow_ones(address: SocketAddr, length: Duration) -> io::Result<Vec<f64>> {
    let mut client = OnWebSocket::connect(address, 1)?;
    for _ in 0..SLOW_ONES {
        client.send(Call::small(Service::Slow.on(None)))?;
    }
    let began = Instant::now();
    // They are all under way meanwhile.
    let length = length.min(SLOW * 3 / 4);
    let times = fast_calls(&mut client, || began.elapsed() < length)?;
    client.read_answers(SLOW_ONES)?;
    Ok(times)
}

/// Gives the times, and the bytes a second of the stream.
fn beside_a_stream(
    address: SocketAddr,
    length: Duration,
    service: Service,
) -> io::Result<(Vec<f64>, f64)> {
    let mut client = OnWebSocket::connect(address, 2)?;
    let mut other = OnWebSocket::connect(address, 3)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let streaming = threads.spawn(|| {
            let began = Instant::now();
            let mut bytes = 0;
            let mut streamed = Ok(());
            while streamed.is_ok() && began.elapsed() < length {
                let call = Call::small(service.on(None));
                streamed = other.call(call).map(|answer| bytes += answer);
            }
            let rate = bytes as f64 / began.elapsed().as_secs_f64();
            over.store(true, Ordering::Relaxed);
            streamed.map(|()| rate)
        });
        let times = fast_calls(&mut client, || !over.load(Ordering::Relaxed))?;
        let rate = streaming.join().map_err(|_| io::Error::other("a client failed"))??;
        Ok((times, rate))
    })
}

/// Twelve slow calls at once: none waits for another.
pub(super) async fn parallel(mut turn: Turn<'_>) -> io::Result<()> {
    let address = turn.stage.standing(turn.subject).await?.address()?;
    let took = block_in_place(|| {
        let mut client = OnWebSocket::connect(address, 0)?;
        let began = Instant::now();
        for _ in 0..SLOW_ONES {
            client.send(Call::small(Service::Slow.on(None)))?;
        }
        client.read_answers(SLOW_ONES)?;
        Ok::<_, io::Error>(began.elapsed().as_secs_f64())
    })?;
    turn.saw("12 calls", 12.0, [(Figure::Took, took)]);
    Ok(())
}
