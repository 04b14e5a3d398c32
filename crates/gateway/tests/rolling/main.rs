//! Leaving a load-balanced group: two gateways behind the samples that are shipped, each restarted
//! in turn while clients go on, for some seconds; with `LAB_LONG=1` for a minute a run, and with
//! clients that forget, too.

mod agent;
mod forgetful;
mod http2;
mod named;
mod samples;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use slackwater_lab::balancer::Sample;
use slackwater_lab::chance::seed;
use slackwater_lab::crowd::Habits;
use slackwater_lab::on_each_bus;
use slackwater_lab::proof::{is_long, report, skipped};
use slackwater_lab::rolling::{Figures, Plan, Way, run};
use slackwater_lab::site::{Bus, Site};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");

on_each_bus!(
    rolling_restarts_behind_nginx_cost_no_answer_and_no_upgrade,
    rolling_restarts_behind_haproxy_cost_no_answer_and_no_upgrade,
);

async fn rolling_restarts_behind_nginx_cost_no_answer_and_no_upgrade(site: &Site) {
    costs_nothing(site, Sample::NginxTwo, QUICKLY).await;
}

/// On one bus HAProxy learns of a drain from a refused connect, on the other from its own check.
async fn rolling_restarts_behind_haproxy_cost_no_answer_and_no_upgrade(site: &Site) {
    let options = if site.bus() == Bus::Embedded { QUICKLY } else { ANNOUNCED };
    costs_nothing(site, Sample::Haproxy, options).await;
}

/// So quick that clients who send again on getting an answer do cross the Close.
const QUICKLY: &[&str] = &["--ebb-window=200ms", "--quiet-window=1ms", "--log-level=error"];
const ANNOUNCED: &[&str] =
    &["--announce=5s", "--ebb-window=200ms", "--quiet-window=1ms", "--log-level=error"];

async fn costs_nothing(site: &Site, sample: Sample, options: &'static [&'static str]) {
    // Each balancer and each bus has its turn in any case.
    let short = matches!(
        (sample, site.bus()),
        (Sample::NginxTwo, Bus::Embedded) | (Sample::Haproxy, Bus::Redis)
    );
    if !short && !is_long() {
        let what = format!("rolling restarts on {:?} behind {sample:?}", site.bus());
        return skipped(&what, "only in the long form");
    }
    // Busy, and still with a gap now and then that is longer than a busy machine's round trip.
    let habits = Habits { longest_thought: Duration::from_millis(400), ..Habits::default() };
    let Some(figures) = restarts(site, Plan { habits, options, ..plan(sample) }).await else {
        return;
    };
    let totals = figures.seen.totals;
    totals.agree(&figures.status, figures.executed).expect("one story");
    assert_eq!(totals.answered, figures.seen.done, "each answered exactly once");
    assert_eq!(figures.executed, figures.seen.done, "each executed exactly once");
    assert_eq!((totals.refused, totals.unknown), (0, 0));
}

/// Runs it, asserts what is so whatever the clients do, and reports. `None`: skipped.
async fn restarts(site: &Site, plan: Plan) -> Option<Figures> {
    let bus = site.bus();
    report(format_args!("rolling restarts on {bus:?}: {plan:?}"));
    let figures = run(site, Path::new(PROGRAM), plan).await.expect("all are served")?;
    let Figures { seen, status, executed, restarts, longest } = &figures;
    report(format_args!(
        "rolling restarts on {bus:?} behind {:?}, {:?} of round trip, {:?}: {restarts} restarts, \
         the longest drain {longest:?}; executed by the bus {executed}, crossed {}; {seen:?}",
        plan.sample, plan.round_trip, plan.way, status["crossed_requests"]
    ));
    assert!(*restarts >= 2 && seen.totals.answered > plan.clients, "there was load");
    let failed = (seen.refused, seen.unavailable, seen.reset);
    assert_eq!(failed, (0, 0, 0), "upgrades that failed: refused, 50x, reset");
    if plan.way == Way::Drained {
        assert_eq!((seen.broken, seen.deadline), (0, 0));
        assert_eq!(status["lost_replies"], json!(0), "{status}");
        assert!(seen.drained > plan.clients, "they were closed again and again");
    }
    Some(figures)
}

fn plan(sample: Sample) -> Plan {
    Plan {
        sample,
        way: Way::Drained,
        time: Duration::from_secs(if is_long() { 60 } else { 10 }),
        clients: 200,
        habits: Habits::default(),
        round_trip: Duration::ZERO,
        options: &[],
        seed: seed(),
    }
}

/// Requests that were executed and of which nobody got the whole answer.
fn lost(figures: &Figures) -> u64 {
    figures.executed - figures.seen.totals.answered
}

fn crossed(status: &Value) -> u64 {
    status["crossed_requests"].as_u64().expect("a count")
}
