//! `slackwater.demo`: methods to try a gateway with and to test one.
//!
//! | method | params | results |
//! |---|---|---|
//! | `slackwater.demo.echo` | anything | each param, byte for byte |
//! | `slackwater.demo.wait` | seconds (to a day), value?, label? | the value (default null), after that time |
//! | `slackwater.demo.stream` | count, interval in seconds, label? | 1, 2, … count, the interval between them |
//! | `slackwater.demo.bytes` | n (to 64 MiB), label? | one string of n times `x` |
//! | `slackwater.demo.fail` | status (300 to 599), text | none: it fails with that STATUS |
//! | `slackwater.demo.count` | label, add? (default 1) | how many requests with that label were executed |
//! | `slackwater.demo.hold` | label | the value that it is released with |
//! | `slackwater.demo.release` | label, value? (to 4,096 bytes) | how many holds this released; 0 is no error |
//!
//! **Labels** are for ledgers: a request that names a label adds one to the label's count when it
//! begins to be executed (`hold` too). `count` with 0 as second param only reads. Labels are
//! strings of at most 64 bytes; counts live as long as the service.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use self::labels::{Counts, Holds};
use super::{Failure, Method, Params, Results, Running, Service};
use crate::turns;

mod labels;

const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_HOLD: Duration = Duration::from_secs(60 * 60);
const LONGEST_LABEL: usize = 64;
/// Every hold gets a copy of the value, so it must be small.
const LONGEST_VALUE: usize = 4_096;
const MOST_RESULTS: u32 = 1_000_000;
/// Of one string of `bytes`, and of all that are on their way at one time; further ones wait.
const MOST_BYTES: u32 = 64 << 20;

/// The service; its counts and holds are those of one instance.
#[derive(Debug)]
pub struct Demo {
    counts: Counts,
    holds: Holds,
    bytes: Semaphore,
}

impl Default for Demo {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            holds: Holds::default(),
            bytes: Semaphore::new(MOST_BYTES as usize),
        }
    }
}

static METHODS: [Method; 8] = [
    method("slackwater.demo.echo", "Gives each of its params back", 0, true),
    method("slackwater.demo.wait", "Answers later. Params: seconds, value, label", 1, false),
    method("slackwater.demo.stream", "Counts. Params: count, interval in seconds, label", 2, true),
    method("slackwater.demo.bytes", "One long string. Params: length, label", 1, false),
    method("slackwater.demo.fail", "Fails. Params: status, text", 2, false),
    method("slackwater.demo.count", "Requests executed by label. Params: label, add", 1, false),
    method("slackwater.demo.hold", "Answers when it is released. Params: label", 1, false),
    method("slackwater.demo.release", "Releases holds. Params: label, value", 1, false),
];

const fn method(name: &'static str, notes: &'static str, argc: usize, streams: bool) -> Method {
    Method { name, symbol: "demo", notes, argc, streams }
}

impl Service for Demo {
    fn name(&self) -> &'static str {
        "slackwater.demo"
    }

    fn methods(&self) -> &'static [Method] {
        &METHODS
    }

    fn call<'a>(&'a self, method: &'a str, params: Params<'a>, results: Results) -> Running<'a> {
        Box::pin(async move {
            match method {
                "slackwater.demo.echo" => echo(params, &results).await,
                "slackwater.demo.wait" => self.wait(params, &results).await,
                "slackwater.demo.stream" => self.stream(params, &results).await,
                "slackwater.demo.bytes" => self.bytes(params, &results).await,
                "slackwater.demo.fail" => Err(failure(params)?),
                "slackwater.demo.count" => self.count(params, &results).await,
                "slackwater.demo.hold" => self.hold(params, &results).await,
                _release => self.release(params, &results).await,
            }
        })
    }
}

impl Demo {
    async fn wait(&self, params: Params<'_>, results: &Results) -> Result<(), Failure> {
        let time = seconds(params, 0)?;
        self.count_optional(params, 2)?;
        sleep(time).await;
        results.put(params.json(1).unwrap_or("null")).await
    }

    async fn stream(&self, params: Params<'_>, results: &Results) -> Result<(), Failure> {
        let count = params.whole(0, "count", MOST_RESULTS)?;
        let interval = seconds(params, 1)?;
        self.count_optional(params, 2)?;
        for number in 1..=count {
            if number > 1 && !interval.is_zero() {
                sleep(interval).await;
            }
            results.put(number.to_string()).await?;
        }
        Ok(())
    }

    async fn bytes(&self, params: Params<'_>, results: &Results) -> Result<(), Failure> {
        let length = params.whole(0, "length", MOST_BYTES)?;
        self.count_optional(params, 1)?;
        let ended = |_| Failure::new(500, "the service has ended");
        let _room = self.bytes.acquire_many(length).await.map_err(ended)?;
        let mut text = String::with_capacity(length as usize + 2);
        text.push('"');
        let mut left = length as usize;
        while left > 0 {
            let piece = left.min(turns::FULL);
            text.push_str(&"x".repeat(piece));
            left -= piece;
            turns::worked(piece);
            turns::end_if_full().await;
        }
        text.push('"');
        results.put(text).await?;
        results.sent().await
    }

    async fn count(&self, params: Params<'_>, results: &Results) -> Result<(), Failure> {
        let label = label(params, 0)?;
        let add = match params.json(1) {
            None | Some("null") => 1,
            Some(_) => params.whole(1, "add", u32::MAX)?,
        };
        results.put(self.counts.add(&label, add.into())?.to_string()).await
    }

    async fn hold(&self, params: Params<'_>, results: &Results) -> Result<(), Failure> {
        let label = label(params, 0)?;
        let mut hold = self.holds.hold(&label)?;
        self.counts.add(&label, 1)?;
        match timeout(LONGEST_HOLD, hold.recv()).await {
            Ok(Ok(value)) => results.put(value).await,
            Ok(Err(_)) | Err(_) => Err(Failure::new(504, "not released within an hour")),
        }
    }

    async fn release(&self, params: Params<'_>, results: &Results) -> Result<(), Failure> {
        let label = label(params, 0)?;
        let value = params.json(1).unwrap_or("null");
        if value.len() > LONGEST_VALUE {
            let text = format!("value must be at most {LONGEST_VALUE} bytes");
            return Err(Failure::new(400, text));
        }
        let released = self.holds.release(&label, value);
        results.put(released.to_string()).await
    }

    fn count_optional(&self, params: Params<'_>, index: usize) -> Result<(), Failure> {
        match params.json(index) {
            None | Some("null") => Ok(()),
            Some(_) => self.counts.add(&label(params, index)?, 1).map(drop),
        }
    }
}

async fn echo(params: Params<'_>, results: &Results) -> Result<(), Failure> {
    for param in params.iter() {
        results.put(param).await?;
    }
    Ok(())
}

fn failure(params: Params<'_>) -> Result<Failure, Failure> {
    let code = params.whole(0, "status", 599)?;
    match u16::try_from(code) {
        Ok(code @ 300..) => Ok(Failure::new(code, params.text(1, "text", LONGEST_VALUE)?)),
        Ok(_) | Err(_) => Err(Failure::new(400, "status must be from 300 to 599")),
    }
}

fn seconds(params: Params<'_>, index: usize) -> Result<Duration, Failure> {
    let time = Duration::try_from_secs_f64(params.number(index, "seconds")?);
    time.ok().filter(|time| *time <= LONGEST_WAIT).ok_or_else(|| {
        Failure::new(400, format!("seconds must be from 0 to {}", LONGEST_WAIT.as_secs()))
    })
}

fn label(params: Params<'_>, index: usize) -> Result<String, Failure> {
    params.text(index, "label", LONGEST_LABEL)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::services;

    #[tokio::test(start_paused = true)]
    async fn long_strings_keep_their_room_until_they_are_sent() {
        let demo = Demo::default();
        let values: Vec<&RawValue> = serde_json::from_str("[67108864]").expect("an array");
        let (results, mut yielded) = services::results(16);
        let room = || demo.bytes.available_permits();
        let all = room();
        let mut running = demo.call("slackwater.demo.bytes", Params::new(&values), results);
        assert!(timeout(Duration::from_secs(1), &mut running).await.is_err(), "it waits");
        assert_eq!(room(), all - (64 << 20));
        let text = yielded.recv().await.expect("a result");
        assert_eq!(
            (text.len(), &text[..2], &text[text.len() - 2..]),
            ((64 << 20) + 2, "\"x", "x\"")
        );
        assert_eq!(running.await, Ok(()));
        assert_eq!(room(), all);
    }
}
