//! The benchmark runs, and says what it should: how fast anything is, no test judges.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slackwater_lab::bench::{Plan, Run, Scenario, Subject, against, run};
use slackwater_lab::proof::skipped;
use slackwater_lab::site::{Bus, PROSODY};

fn programs() -> Option<(PathBuf, PathBuf)> {
    let lab = PathBuf::from(env!("CARGO_BIN_EXE_lab"));
    let gateway = lab.with_file_name("slackwater");
    if gateway.exists() {
        return Some((lab, gateway));
    }
    skipped("the benchmark", "the gateway is not built");
    None
}

/// As short as it can be.
fn short(gateway: PathBuf) -> Plan {
    Plan {
        rounds: 1,
        turn: Duration::from_millis(50),
        clients: vec![1, 3],
        rates: vec![200.0],
        storms: vec![20],
        idle: vec![20],
        settle: Duration::from_millis(80),
        drained: 30,
        ebb_window: Duration::from_millis(500),
        ..Plan::of(gateway)
    }
}

fn has(table: &str, scenario: &str, row: &str) {
    let found = table.split("\n### ").find(|part| part.starts_with(scenario));
    let found = found.unwrap_or_else(|| panic!("no {scenario} in {table}"));
    assert!(found.contains(row), "no {row} in {found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_run_on_redis_does_all_with_each_subject_it_can_be_done_with() {
    let Some((lab, gateway)) = programs() else { return };
    let peer = |name: &str, bus: &str| {
        let program = gateway.display();
        let command =
            format!("{name}={program} serve --listen 127.0.0.1:{{port}} {bus} --state-dir .");
        command.parse().unwrap()
    };
    let peers = vec![peer("other", "--bus {bus}"), peer("of-file", "--opensrf-config {config}")];
    let scenarios = vec![
        Scenario::Sequential,
        Scenario::Timed,
        Scenario::First,
        Scenario::Closed,
        Scenario::Open,
        Scenario::Storm,
        Scenario::Large,
        Scenario::Memory,
        Scenario::Drain,
        Scenario::Reconnect,
    ];
    let plan = Plan { scenarios, peers, ..short(gateway) };
    let run = run(&lab, &plan).await.unwrap();
    let table = run.to_string();
    if !table.contains("gateway:redis") {
        return; // There is no redis-server, and it was said.
    }
    for subject in ["bare:redis", "relay:redis", "gateway:redis", "peer:other", "peer:of-file"] {
        has(&table, "Closed loop", &format!("| 3 clients | {subject} |"));
        has(&table, "Open loop", &format!("| 200 calls/s | {subject} |"));
        has(&table, "Large", &format!("| answer in chunks | {subject} |"));
    }
    has(&table, "Memory of idle", "| 20 clients, after a call | peer:other |");
    has(&table, "Drain\n", "| 30 idle and 200 busy clients | gateway:redis | 30 |");
    has(&table, "Drain, and", "| from the Close to an answer of the second | gateway:redis |");
    assert!(table.contains("| their lost answers |  | 0.000 | ≤ 0 | yes |"), "{table}");

    let directory = tempfile::tempdir().unwrap();
    run.write_to(directory.path()).unwrap();
    for file in ["latency", "open", "rate", "cpu", "memory", "ebb"] {
        let file = directory.path().join(format!("{file}.svg"));
        assert!(file.metadata().unwrap().len() > 1_000, "{file:?}");
    }
    let saved = Run::read(directory.path()).unwrap();
    let same = against(&run, &saved);
    assert!(same.contains("| 3 clients | gateway:redis | p50 ms |"), "{same}");
    let differs = |line: &&str| line.ends_with(" |") && !line.contains("| 1.000 |");
    assert_eq!(same.lines().skip(2).find(differs), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_run_on_the_other_buses_does_as_well() {
    let Some((lab, gateway)) = programs() else { return };
    let subjects = vec![
        Subject::Bare(PROSODY),
        Subject::Relay(PROSODY),
        Subject::Gateway(PROSODY),
        Subject::Gateway(Bus::Embedded),
    ];
    let scenarios = vec![Scenario::Sequential, Scenario::Timed, Scenario::Closed, Scenario::Drain];
    let plan = Plan { subjects, scenarios, ..short(gateway) };
    let table = run(&lab, &plan).await.unwrap().to_string();
    has(&table, "Closed loop", "| 3 clients | gateway:embedded |");
    has(&table, "Drain\n", "| 30 idle and 200 busy clients | gateway:embedded | 30 |");
    if table.contains("bare:prosody") {
        for subject in ["bare:prosody", "relay:prosody", "gateway:prosody"] {
            has(&table, "Closed loop", &format!("| 3 clients | {subject} |"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_measured_is_an_error_that_names_it() {
    let Some((lab, gateway)) = programs() else { return };
    let missing = Plan {
        scenarios: vec![Scenario::First],
        subjects: vec![Subject::Gateway(Bus::Embedded)],
        ..short(Path::new("/nowhere/slackwater").to_owned())
    };
    let error = run(&lab, &missing).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/slackwater"), "{error}");
    let silent = Plan {
        scenarios: vec![Scenario::First],
        subjects: Vec::new(),
        peers: vec!["silent=exit 3; {port}".parse().unwrap()],
        ..short(gateway)
    };
    match run(&lab, &silent).await {
        Ok(run) => assert!(run.rows.is_empty(), "there is no redis-server, and it was said"),
        Err(error) => assert!(error.to_string().contains("peer:silent"), "{error}"),
    }
}
