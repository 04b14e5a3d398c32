//! `cost`: how many instructions a call takes, which does not depend on how busy a machine is.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use slackwater_cost::Calls;

/// What is counted, bytes, and how many instructions a call took when that was last looked at
/// (valgrind 3.19, x86-64). A change for the better belongs here, too.
const KNOWN: [(usize, u64); 2] = [(200, 53_097), (2_000, 70_188)];

/// Compilers, C libraries and processors differ a little.
const TOLERANCE: f64 = 0.1;

/// Calls whose beginning and end are not counted, and those that are.
const WARM: u64 = 50;
const COUNTED: u64 = 500;

#[derive(Parser)]
#[command(about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make calls, and do nothing else.
    Make {
        /// Bytes of the text in each.
        bytes: usize,
        /// How many.
        calls: u64,
    },
    /// Count the instructions of a call, and fail if they have become more. Needs valgrind.
    Check,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().what {
        What::Make { bytes, calls } => make(bytes, calls),
        What::Check => check(),
    }
}

fn make(bytes: usize, count: u64) -> anyhow::Result<()> {
    let mut calls = Calls::new(bytes);
    for _ in 0..count {
        if let Err(nothing) = calls.call() {
            bail!("{nothing:?}");
        }
    }
    Ok(())
}

fn check() -> anyhow::Result<()> {
    let own = std::env::current_exe().context("this program")?;
    let mut worse = Vec::new();
    let mut out = std::io::stdout().lock();
    writeln!(out, "| bytes | instructions a call | known | ratio |\n|---:|---:|---:|---:|")?;
    for (bytes, known) in KNOWN {
        let counted = instructions(&own, bytes, WARM + COUNTED)?
            .saturating_sub(instructions(&own, bytes, WARM)?);
        let each = counted / COUNTED;
        let ratio = each as f64 / known as f64;
        writeln!(out, "| {bytes} | {each} | {known} | {ratio:.3} |")?;
        if ratio > 1.0 + TOLERANCE {
            worse.push(format!("{bytes} bytes: {each} instead of {known}"));
        } else if ratio < 1.0 - TOLERANCE {
            writeln!(out, "\nit has become less: `KNOWN` can be lowered")?;
        }
    }
    if worse.is_empty() { Ok(()) } else { bail!("a call takes more: {}", worse.join(", ")) }
}

/// Of the whole process.
fn instructions(own: &PathBuf, bytes: usize, calls: u64) -> anyhow::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own);
    let output = valgrind.args(["make", &bytes.to_string(), &calls.to_string()]).output();
    let output = output.context("valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected :"));
    let count = count.and_then(|(_, count)| count.trim().parse().ok());
    match count {
        Some(count) if output.status.success() => Ok(count),
        Some(_) | None => bail!("valgrind says: {said}"),
    }
}
