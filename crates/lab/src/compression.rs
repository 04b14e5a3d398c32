//! What compression saves of recorded traffic, and what it costs.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use slackwater_core::websocket::{Deflater, Inflater};

/// From how many bytes on a message is compressed, in one line of the table each.
const THRESHOLDS: [usize; 6] = [0, 256, 1024, 2048, 4096, 16_384];

/// Each message is deflated so often, to measure the time of a short one.
const TIMES: u32 = 50;

/// The window that browsers leave to the server, in bits.
const WINDOW: u8 = 15;

/// What was seen.
#[derive(Debug)]
pub struct Report {
    lines: Vec<Line>,
    inflating: Duration,
    inflated: usize,
}

#[derive(Debug, Default)]
struct Line {
    threshold: usize,
    messages: usize,
    compressed: usize,
    before: usize,
    after: usize,
    time: Duration,
}

/// Compresses what clients were sent.
///
/// `files` hold a JSON object a line; its `data` is the message if its `dir` is `gw->client`.
///
/// # Errors
/// A file cannot be read, or there is no message in any.
pub fn measure(files: &[PathBuf]) -> anyhow::Result<Report> {
    let mut messages = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let rows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let to_client = rows.filter(|row| row["dir"] == "gw->client");
        messages.extend(to_client.filter_map(|row| Some(row["data"].as_str()?.to_owned())));
    }
    anyhow::ensure!(!messages.is_empty(), "no message to a client in any of the files");
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    let mut lines = THRESHOLDS.map(|threshold| Line { threshold, ..Line::default() });
    let (mut inflating, mut inflated) = (Duration::ZERO, 0);
    for message in &messages {
        let before = message.len();
        let began = Instant::now();
        for _ in 1..TIMES {
            std::hint::black_box(deflater.deflate(message.as_bytes(), WINDOW));
        }
        let deflated = deflater.deflate(message.as_bytes(), WINDOW);
        let time = began.elapsed() / TIMES;
        if let Some(deflated) = &deflated {
            let began = Instant::now();
            let again = inflater.inflate(deflated, before);
            inflating += began.elapsed();
            inflated += before;
            anyhow::ensure!(again.as_deref() == Ok(message.as_bytes()), "not the same again");
        }
        for line in &mut lines {
            line.messages += 1;
            line.before += before;
            if before < line.threshold {
                line.after += before;
                continue;
            }
            line.compressed += 1;
            line.time += time;
            line.after += deflated.as_ref().map_or(before, Vec::len);
        }
    }
    Ok(Report { lines: lines.into(), inflating, inflated })
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "| from | messages | bytes | sent | of them | µs a compressed message |")?;
        writeln!(out, "|---:|---:|---:|---:|---:|---:|")?;
        for line in &self.lines {
            let Line { threshold, messages, compressed, before, after, time } = line;
            let share = 100.0 * *after as f64 / (*before).max(1) as f64;
            let each = time.as_secs_f64() * 1e6 / (*compressed).max(1) as f64;
            writeln!(
                out,
                "| {threshold} | {compressed} of {messages} | {before} | {after} | {share:.0} % | {each:.0} |"
            )?;
        }
        let speed = self.inflated as f64 / self.inflating.as_secs_f64().max(1e-9) / 1e6;
        write!(out, "\ninflating: {speed:.0} MB/s")
    }
}
