//! Large messages, there, back and both, one call after the other.

use std::io;
use std::time::Instant;

use tokio::task::block_in_place;

use super::Turn;
use crate::bench::least::callers::Call;
use crate::bench::record::{Figure, percentiles};
use crate::bench::stage::{LARGE, Service};

/// What is large, and how it is asked for.
const CASES: [(&str, Service, Option<usize>); 4] = [
    ("request", Service::Swallow, Some(LARGE)),
    ("answer", Service::Large, None),
    ("answer in chunks", Service::Chunked, None),
    ("both", Service::Instant, Some(LARGE)),
];

pub(super) async fn large(mut turn: Turn<'_>) -> io::Result<()> {
    let way = turn.stage.standing(turn.subject).await?.way.clone();
    for (number, (case, service, length)) in CASES.into_iter().enumerate() {
        let call = Call { service: service.on(None), length };
        let (times, bytes, took) = block_in_place(|| {
            let mut caller = way.connect(number as u64)?;
            caller.call(call)?;
            let (began, mut times, mut bytes) = (Instant::now(), Vec::new(), 0);
            while began.elapsed() < turn.plan.turn {
                let begins = Instant::now();
                let answer = caller.call(call)?;
                times.push(begins.elapsed().as_secs_f64());
                bytes += answer + length.unwrap_or_default();
            }
            Ok::<_, io::Error>((times, bytes as f64, began.elapsed().as_secs_f64()))
        })?;
        let mut figures = percentiles(times).to_vec();
        figures.push((Figure::Throughput, bytes / took));
        turn.saw(case, number as f64, figures);
    }
    Ok(())
}
