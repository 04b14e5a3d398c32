//! Every frame that a client sent while OpenSRF's own gateway was captured, sent again to the real
//! program on each bus: answered as captured where the reference answers, answered with an error
//! where it crashes or is silent; no frame crashes it, hangs it or costs the connection. On the bus
//! that it was captured on, what goes out is compared, too, see `pushed` and `tapped`.
//!
//! `scenario` describes the captures, `table` gives each its verdict and the reason. An answer is
//! as captured if each conversation gets the same messages in the same order: type, `threadTrace`,
//! locale, class, `statusCode`, `status`, content; those of C services, listeners and routers also
//! in the same frames. Content is compared as a value, numbers by their text.
//!
//! These differences are let pass, and no others:
//! - the order of answers between conversations, and the order of keys;
//! - `threadTrace` and `statusCode` are strings from C and numbers from Perl, and the demo
//!   services speak as C does. For the same reason `tz`, `ingress` and `api_level` of an answer are
//!   not compared (Perl repeats what it was asked with, C does not), nor how a Perl service bundles;
//! - where chunks are cut: they are put together first. None may be larger than 51,200 bytes, and
//!   each is alone in its frame;
//! - `log_xid` where the client gave none: the reference and the gateway each make one, routers
//!   repeat none. One that the client gave comes back.

mod answer;
mod connection;
mod envelope;
mod expect;
mod json;
mod plan;
mod pushed;
mod replay;
mod scenario;
mod stand_in;
mod table;
mod tapped;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use slackwater_lab::bus::redis::tap::Tap;
use slackwater_lab::bus::xmpp::tap::Tap as Way;
use slackwater_lab::on_each_bus;
use slackwater_lab::process::Gateway;
use slackwater_lab::proof::report;
use slackwater_lab::site::{Bus, Services, Site};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::scenario::Scenario;
use crate::table::{Row, Setting, Verdict};
use crate::tapped::Seen;

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");
/// Gateways that run at one time.
const AT_ONCE: usize = 16;
/// The same on XMPP, whose servers take their time for each login.
const AT_ONCE_ON_XMPP: usize = 8;

const SOME_PATIENCE: Services =
    Services { keepalive: Duration::from_secs(5), max_requests: 1_000, max_workers: 10_000 };
const LITTLE_PATIENCE: Services = Services { keepalive: Duration::from_secs(3), ..SOME_PATIENCE };

on_each_bus!(SOME_PATIENCE; every_frame_is_answered_and_pushed_as_its_verdict_says);
on_each_bus!(LITTLE_PATIENCE; every_frame_is_answered_and_pushed_where_workers_soon_leave_idle_sessions);
on_each_bus!(
    Services { max_requests: 3, ..SOME_PATIENCE };
    every_frame_is_answered_and_pushed_where_workers_leave_after_three_requests,
);
on_each_bus!(LITTLE_PATIENCE; every_answer_comes_before_the_close_of_a_drain);

async fn every_frame_is_answered_and_pushed_as_its_verdict_says(site: &Site) {
    replay_all(site, Setting::Plain).await;
}

async fn every_frame_is_answered_and_pushed_where_workers_soon_leave_idle_sessions(site: &Site) {
    replay_all(site, Setting::Idle).await;
}

async fn every_frame_is_answered_and_pushed_where_workers_leave_after_three_requests(site: &Site) {
    replay_all(site, Setting::FewRequests).await;
}

async fn every_answer_comes_before_the_close_of_a_drain(site: &Site) {
    replay_all(site, Setting::Drained).await;
}

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

#[test]
fn whatever_is_pushed_otherwise_has_one_reason_and_a_scenario() {
    let (scenarios, differences) = (scenario::all(), table::differences());
    let names: BTreeSet<&str> = differences.iter().map(|one| one.name).collect();
    assert_eq!(names.len(), differences.len(), "none is there twice");
    for one in &differences {
        assert!(!one.reason.is_empty(), "{} has no reason", one.name);
        assert!(!one.instead.is_empty() || !one.left.is_empty(), "{}: what differs?", one.name);
        let scenario = scenarios.iter().find(|scenario| scenario.name == one.name);
        let frames = scenario.map_or(0, Scenario::frames);
        let last = one.instead.keys().chain(&one.left).max().copied().unwrap_or_default();
        assert!(last <= frames, "{}: there is no frame {last}", one.name);
    }
}

/// Replays all scenarios of a setting, each to a gateway of its own.
async fn replay_all(site: &Site, setting: Setting) {
    let mut tap = match site.server() {
        Some(server) => Some(Tap::start(server, tapped::is_wanted).await.expect("a tap")),
        None => None,
    };
    let rows: Vec<Row> = table::rows().into_iter().map(|row| row.on_bus(site.bus())).collect();
    let differences = table::differences();
    let slots = Arc::new(Semaphore::new(match site.bus() {
        Bus::Embedded | Bus::Redis => AT_ONCE,
        Bus::Xmpp(_) => AT_ONCE_ON_XMPP,
    }));
    let mut replays = JoinSet::new();
    for scenario in scenario::all() {
        let row = rows.iter().find(|row| row.name == scenario.name).expect("a row");
        if row.setting != setting {
            continue;
        }
        let (name, actions) = (row.name, plan::plan(&scenario, row));
        let differs = differences.iter().find(|one| one.name == name);
        let bus = site.bus();
        let expected = scenario.is_from(bus).then(|| pushed::expected(&scenario, row, differs));
        let (gone, slots) = (leaves(row), Arc::clone(&slots));
        let way = match (bus, site.port()) {
            (Bus::Xmpp(_), Some(port)) => Some(Way::start(port).await.expect("a way")),
            (Bus::Embedded | Bus::Redis | Bus::Xmpp(_), _) => None,
        };
        let options =
            way.as_ref().map_or_else(|| site.options(), |way| site.options_by(way.port()));
        replays.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
            options.extend(["--ebb-window", "0s"]);
            let gateway = Gateway::start(PROGRAM, &options).await.expect("a gateway");
            let pid = gateway.pid();
            let outcome = match setting {
                Setting::Plain | Setting::Idle | Setting::FewRequests => {
                    replay::play(actions, gateway, gone).await
                }
                Setting::Drained => replay::play_with_drain(actions, gateway).await,
            };
            outcome.map_err(|wrong| format!("{name}: {}", wrong.0))?;
            let passed = way.map(|way| way.take());
            Ok::<_, String>((name, pid, expected, passed))
        });
    }
    let (mut played, mut wrong) = (Vec::new(), Vec::new());
    for outcome in replays.join_all().await {
        match outcome {
            Ok(one) => played.push(one),
            Err(words) => wrong.push(words),
        }
    }
    let (replayed, mut compared, mut captured) = (played.len(), 0, 0);
    let seen = match (&mut tap, site.server()) {
        (Some(tap), Some(server)) => {
            let pushes = tap.until_now(server).await.expect("all pushes");
            let seen: Result<Vec<Seen>, String> = pushes.into_iter().map(Seen::read).collect();
            seen.expect("envelopes")
        }
        _ => Vec::new(),
    };
    for (name, pid, expected, passed) in played {
        let Some(expected) = expected else { continue };
        compared += expected.len();
        captured += expected.iter().filter(|one| one.content.is_captured).count();
        let outcome = match passed {
            Some(passed) => tapped::compare_on_xmpp(&expected, passed),
            None => tapped::compare_on_redis(&expected, &seen, pid),
        };
        wrong.extend(outcome.err().map(|words| format!("{name}: {words}")));
    }
    report(format_args!(
        "captures on {:?}, {setting:?}: {replayed} scenarios replayed; {compared} envelopes \
         compared, {captured} of them with captured ones",
        site.bus()
    ));
    assert!(wrong.is_empty(), "{} scenarios:\n{}", wrong.len(), wrong.join("\n"));
}

/// How many requests are in flight when the client of this scenario goes away.
fn leaves(row: &Row) -> usize {
    usize::from(["redis/close_in_flight", "xmpp/client_gone_inflight"].contains(&row.name))
}
