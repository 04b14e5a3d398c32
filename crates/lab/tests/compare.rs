//! The comparison runs, and says what it should: how fast anything is, no test judges.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::path::Path;
use std::time::Duration;

use slackwater_lab::compare::{Plan, compare};
use slackwater_lab::proof::skipped;
use slackwater_lab::site::{Bus, PROSODY};

#[tokio::test]
async fn a_short_comparison_on_redis_measures_all_three_and_draws_them() {
    measures_all_three(Bus::Redis).await;
}

#[tokio::test]
async fn a_short_comparison_on_xmpp_does_as_well() {
    measures_all_three(PROSODY).await;
}

async fn measures_all_three(bus: Bus) {
    let lab = Path::new(env!("CARGO_BIN_EXE_lab"));
    let program = lab.with_file_name("slackwater");
    if !program.exists() {
        return skipped("a comparison with the gateway", "it is not built");
    }
    let plan = Plan { bus, rounds: 1, turn: Duration::from_millis(20), clients: vec![1, 3] };
    let Some(report) = compare(lab, &program, plan).await.unwrap() else { return };
    let tables = report.to_string();
    for subject in ["bare client", "minimal relay", "gateway"] {
        let row = format!("| 3 | {subject} |");
        assert!(tables.contains(&row), "{tables}");
    }
    let directory = tempfile::tempdir().unwrap();
    report.write_to(directory.path()).unwrap();
    for file in ["figures.json", "latency.svg", "rate.svg", "cpu.svg"] {
        assert!(directory.path().join(file).metadata().unwrap().len() > 1_000, "{file}");
    }
}
