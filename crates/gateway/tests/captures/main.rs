//! Every frame that a client sent while OpenSRF's own gateway was captured, sent again to the real
//! program on its embedded bus: answered as captured where the reference answers, answered with an
//! error where it crashes or is silent; no frame crashes it, hangs it or costs the connection.
//!
//! `scenario` describes the captures, `table` gives each its verdict and the reason. An answer is
//! as captured if each conversation gets the same messages in the same order: type, `threadTrace`,
//! locale, class, `statusCode`, `status`, content; those of C services, listeners and routers also
//! in the same frames. Content is compared as a value, numbers by their text.
//!
//! These differences are let pass, and no others:
//! - the order of answers between conversations, and the order of keys;
//! - `threadTrace` and `statusCode` are strings from C and numbers from Perl, and the embedded
//!   services speak as C does. For the same reason `tz`, `ingress` and `api_level` of an answer are
//!   not compared (Perl repeats what it was asked with, C does not), nor how a Perl service bundles;
//! - where chunks are cut: they are put together first. None may be larger than 51,200 bytes, and
//!   each is alone in its frame;
//! - `log_xid` where the client gave none: the reference and the gateway each make one, routers
//!   repeat none. One that the client gave comes back.

mod answer;
mod connection;
mod expect;
mod json;
mod plan;
mod replay;
mod scenario;
mod stand_in;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use slackwater_lab::process::Gateway;
use tokio::task::JoinSet;

use crate::table::{Row, Setting, Verdict};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");

/// Workers that soon leave an idle session.
const IDLE: &str = "embedded:?keepalive=3s";

#[test]
fn every_scenario_has_one_verdict_and_every_verdict_a_scenario() {
    let (scenarios, rows) = (scenario::all(), table::rows());
    let names: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    let judged: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.symmetric_difference(&judged).collect::<Vec<_>>(), [&""; 0]);
    assert_eq!((names.len(), judged.len()), (scenarios.len(), rows.len()), "none is there twice");
    for row in &rows {
        assert!(!row.reason.is_empty(), "{} has no reason", row.name);
        let differs = !row.instead.is_empty() || !row.then.is_empty();
        match row.verdict {
            Verdict::Same => assert!(!differs, "{} is not the same", row.name),
            Verdict::Better => {
                assert!(
                    differs || row.setting == Setting::Drained,
                    "{}: what is better?",
                    row.name
                );
            }
            Verdict::NotApplicable => assert!(row.then.is_empty(), "{}", row.name),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_is_answered_as_its_verdict_says() {
    let plain = start(&["--bus", "embedded:"]).await;
    let idle = start(&["--bus", IDLE]).await;
    let few = start(&["--bus", "embedded:?max_requests=3"]).await;

    let rows = table::rows();
    let mut replays = JoinSet::new();
    for scenario in scenario::all() {
        let row = rows.iter().find(|row| row.name == scenario.name).expect("a row");
        let (name, actions) = (row.name, plan::plan(&scenario, row));
        let shared = match row.setting {
            Setting::Plain => Some(&plain),
            Setting::Idle => Some(&idle),
            Setting::FewRequests => Some(&few),
            Setting::Drained => None,
        };
        let shared = shared.cloned();
        replays.spawn(async move {
            let outcome = match shared {
                Some(gateway) => replay::play(actions, &gateway).await,
                None => {
                    let options = ["--bus", IDLE, "--ebb-window", "0s"];
                    let gateway = Gateway::start(PROGRAM, &options).await.expect("a gateway");
                    replay::play_with_drain(actions, gateway).await
                }
            };
            outcome.map_err(|wrong| format!("{name}: {}", wrong.0))
        });
    }
    let outcomes = replays.join_all().await;
    let wrong: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} scenarios:\n{}", wrong.len(), wrong.join("\n"));

    let gone = |setting| rows.iter().filter(|row| leaves(row, setting)).count();
    for (gateway, setting) in
        [(plain, Setting::Plain), (idle, Setting::Idle), (few, Setting::FewRequests)]
    {
        let gateway = Arc::into_inner(gateway).expect("all replays have ended");
        assert_the_books_balance(gateway, gone(setting)).await;
    }
}

async fn start(options: &[&str]) -> Arc<Gateway> {
    Arc::new(Gateway::start(PROGRAM, options).await.expect("a gateway"))
}

/// Whether the client of this scenario goes away with one request in flight.
fn leaves(row: &Row, setting: Setting) -> bool {
    row.setting == setting
        && ["redis/close_in_flight", "xmpp/client_gone_inflight"].contains(&row.name)
}

/// The invariants of the ledger, when all clients have gone; and nothing was logged as an error.
async fn assert_the_books_balance(mut gateway: Gateway, gone: usize) {
    let no_clients = |status: &Value| status["connections"] == 0;
    let status = gateway.until("all clients have gone", no_clients).await.expect("it serves");
    let count = |name: &str| status[name].as_u64().unwrap_or_else(|| panic!("{name}: {status}"));
    let sum = |names: &[&str]| names.iter().map(|name| count(name)).sum::<u64>();
    assert_eq!(count("received"), sum(&["executed", "rejected", "crossed_requests", "held"]));
    let ends =
        ["answered", "pending_requests", "cut_off", "client_gone", "service_gone", "bus_lost"];
    assert_eq!(count("executed"), sum(&ends), "{status}");
    assert_eq!(sum(&["pending_requests", "held", "sessions", "crossed_requests"]), 0, "{status}");
    assert_eq!(sum(&["cut_off", "service_gone", "bus_lost", "lost_replies"]), 0, "{status}");
    assert_eq!(count("client_gone"), gone as u64, "{status}");
    let log = gateway.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}
