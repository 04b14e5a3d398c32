//! A request that crosses our Close is never executed, and is counted.

use std::time::{Duration, Instant};

use slackwater_lab::caller::executed_by_bus;
use slackwater_lab::chance::seed;
use slackwater_lab::crossing::{self, LABEL, Plan};
use slackwater_lab::on_each_bus;
use slackwater_lab::proof::{length, report};
use slackwater_lab::site::Site;

on_each_bus!(a_request_that_crosses_the_close_is_counted_and_never_executed);

async fn a_request_that_crosses_the_close_is_counted_and_never_executed(site: &Site) {
    let plan = Plan {
        attempts: length(500, 10_000),
        clients: 50,
        latest: Duration::from_millis(4),
        seed: seed(),
    };
    report(format_args!("crossing on {:?}: {plan:?}", site.bus()));
    let began = Instant::now();
    let options = ["--ebb-window", "0s", "--quiet-window", "1ms", "--log-level", "warn"];
    let mut gateway =
        site.gateway(env!("CARGO_BIN_EXE_slackwater"), &options).await.expect("a gateway");

    let figures = crossing::run(&mut gateway, plan).await.expect("every client leaves in order");

    let status = gateway.status().await.expect("a status");
    let executed = executed_by_bus(&gateway, LABEL).await.expect("a count");
    let crossed = status["crossed_requests"].as_u64().unwrap_or_default();
    report(format_args!(
        "crossing on {:?}: {figures:?}; {} requests behind a Ping, {crossed} of them crossed; \
         executed by the bus: {executed}; {:.1} s",
        site.bus(),
        plan.attempts,
        began.elapsed().as_secs_f64(),
    ));
    figures.totals.agree(&status, executed).expect("one story");
    assert_eq!(figures.totals.sent, figures.connections + plan.attempts);
    assert_eq!(figures.totals.refused + figures.totals.unknown, 0, "no deadline came near");
    assert_eq!(status["closed"]["drained"].as_u64(), Some(figures.connections));
    assert!(crossed * 10 >= plan.attempts, "not tested: only {crossed} really crossed");
}
