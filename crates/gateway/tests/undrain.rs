//! Drain and undrain at random moments under load: the gateway's figures add up at every instant,
//! every client is served as the close contract says, and nothing leaks (DRAIN.md, invariants 1 to
//! 7). Long form: `LAB_LONG=1`.

use std::time::Instant;

use slackwater_lab::caller::executed_by_bus;
use slackwater_lab::chance::seed;
use slackwater_lab::crowd::LABEL;
use slackwater_lab::on_each_bus;
use slackwater_lab::proof::{length, report};
use slackwater_lab::site::Site;
use slackwater_lab::tide::{self, Plan};

on_each_bus!(drain_and_undrain_at_random_moments_change_nothing_for_clients);

async fn drain_and_undrain_at_random_moments_change_nothing_for_clients(site: &Site) {
    let plan = Plan { rounds: length(20, 200), clients: 40, seed: seed() };
    let bus = site.bus();
    report(format_args!("undrain on {bus:?}: {plan:?}"));
    let began = Instant::now();
    // The announcement is as long as some drains, so that these are called off in it.
    let options = "--announce 15ms --ebb-window 0s --quiet-window 1ms --log-level error";
    let options: Vec<&str> = options.split(' ').collect();
    let mut gateway =
        site.gateway(env!("CARGO_BIN_EXE_slackwater"), &options).await.expect("a gateway");

    let figures = tide::run(&mut gateway, plan).await.expect("every invariant holds");

    let status = gateway.status().await.expect("a status");
    let executed = executed_by_bus(&gateway, LABEL).await.expect("a count");
    let seconds = began.elapsed().as_secs_f64();
    report(format_args!(
        "undrain on {bus:?}: {figures:#?}; executed by the bus: {executed}; {seconds:.1} s"
    ));
    let seen = figures.seen;
    seen.totals.agree(&status, executed).expect("one story");
    assert_eq!(seen.totals.answered, seen.done, "each answered exactly once");
    assert_eq!(seen.totals.unknown, seen.given_up);
    let closed = |cause: &str| status["closed"][cause].as_u64().unwrap_or_default();
    assert_eq!(closed("drained"), seen.drained);
    assert_eq!(closed("deadline"), seen.deadline);
    assert_eq!(closed("client"), figures.probes + 1);
    let all: u64 = status["closed"]
        .as_object()
        .expect("causes")
        .values()
        .filter_map(serde_json::Value::as_u64)
        .sum();
    assert_eq!(all, seen.drained + seen.deadline + figures.probes + 1, "no other cause");
    let called_off: u64 = figures.called_off.values().sum();
    assert_eq!(called_off + figures.left_alone, plan.rounds + 1);
    assert!(seen.totals.answered > plan.rounds && seen.drained > plan.rounds, "there was load");
    assert_eq!(gateway.log(), "", "nothing is logged as an error");
}
