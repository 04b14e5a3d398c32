//! Clients as browsers are today: what a Close left without an answer they never send again. A
//! drain loses them nothing that was done; what crosses the Close, which was not done, is counted.
//! The last test shows what the same clients lose without a drain.

use std::time::Duration;

use slackwater_lab::balancer::Sample;
use slackwater_lab::crowd::Habits;
use slackwater_lab::proof::{is_long, report, skipped};
use slackwater_lab::rolling::{Plan, Way};
use slackwater_lab::site::{Bus, Services, Site};

use super::{crossed, lost, plan, restarts};

/// Gateways as they are shipped, but for the time that idle clients are given.
const OPTIONS: &[&str] = &["--ebb-window=500ms", "--log-level=error"];

const TABS: Habits = Habits {
    resends: false,
    endures: false,
    longest_thought: Duration::from_secs(2),
    longest_work: Duration::from_millis(300),
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_resend_lose_no_executed_request_nearby() {
    lose_nothing(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_resend_lose_no_executed_request_at_20_ms() {
    lose_nothing(USUAL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_resend_lose_no_executed_request_at_100_ms() {
    lose_nothing(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_drain_the_same_clients_lose_answers_of_executed_requests() {
    let Some(site) = site().await else { return };
    let habits = Habits { endures: true, ..TABS };
    let plan = Plan { way: Way::Killed, habits, options: OPTIONS, ..plan(Sample::NginxTwo) };
    let Some(figures) = restarts(&site, plan).await else { return };
    let (lost, restarts) = (lost(&figures), figures.restarts);
    report(format_args!(
        "killed: {lost} executed requests without their answer in {restarts} restarts, {} requests \
         without an answer in all",
        figures.seen.totals.unanswered
    ));
    assert!(lost > 0 && figures.seen.broken > 0, "{figures:?}");
    site.stop().await.expect("an end in order");
}

/// The distance at which this is shown always.
const USUAL: Duration = Duration::from_millis(20);

async fn lose_nothing(round_trip: Duration) {
    if round_trip != USUAL && !is_long() {
        return skipped(&format!("a drain at {round_trip:?} of round trip"), "./test --long does");
    }
    let Some(site) = site().await else { return };
    let plan = Plan { round_trip, habits: TABS, options: OPTIONS, ..plan(Sample::NginxTwo) };
    let Some(figures) = restarts(&site, plan).await else { return };
    figures.seen.totals.agree(&figures.status, figures.executed).expect("one story");
    let (crossed, closes) = (crossed(&figures.status), figures.seen.drained);
    report(format_args!(
        "drained at {round_trip:?} of round trip: {} executed requests without their answer in {} \
         restarts; {crossed} crossed in {closes} closes, {:.1} in 10,000",
        lost(&figures),
        figures.restarts,
        crossed as f64 * 10_000.0 / closes as f64
    ));
    assert_eq!(lost(&figures), 0);
    site.stop().await.expect("an end in order");
}

/// A bus that counts for both gateways, and outlives them. `None`: skipped.
async fn site() -> Option<Site> {
    Site::start(Bus::Redis, Services::default()).await.expect("a bus")
}
