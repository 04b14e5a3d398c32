//! What is wanted of the gateway, and whether a run has shown it. A target whose scenario was not run
//! is not in the list.

use std::fmt;

use super::record::{Figure, Run};
use super::scenario::Scenario;
use super::subject::Subject;
use crate::site::{Bus, EJABBERD, PROSODY};

/// A target and what was seen of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    what: String,
    seen: String,
    /// What it is judged by: at most `limit`, or at least.
    value: f64,
    limit: f64,
    at_most: bool,
}

impl Target {
    pub(super) fn is_kept(&self) -> bool {
        if self.at_most { self.value <= self.limit } else { self.value >= self.limit }
    }
}

/// A row of a table.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, seen, value, limit, at_most } = self;
        let bound = if *at_most { "≤" } else { "≥" };
        let kept = if self.is_kept() { "yes" } else { "**no**" };
        write!(formatter, "| {what} | {seen} | {value:.3} | {bound} {limit} | {kept} |")
    }
}

const MILLI: f64 = 1e3;

/// All that the run can tell of.
pub(super) fn targets(run: &Run) -> Vec<Target> {
    let mut targets = Vec::new();
    calls(run, &mut targets);
    memory(run, &mut targets);
    others(run, &mut targets);
    programs(run, &mut targets);
    targets.retain(|target| !target.value.is_nan());
    targets
}

fn at_most(what: &str, seen: String, value: f64, limit: f64) -> Target {
    Target { what: what.to_owned(), seen, value, limit, at_most: true }
}

fn at_least(what: &str, seen: String, value: f64, limit: f64) -> Target {
    Target { what: what.to_owned(), seen, value, limit, at_most: false }
}

fn calls(run: &Run, targets: &mut Vec<Target>) {
    let buses =
        [(Bus::Redis, "Redis", 1.3), (PROSODY, "Prosody", 1.5), (EJABBERD, "ejabberd", 1.5)];
    for (bus, name, limit) in buses {
        let (bare, relay) = (Subject::Bare(bus), Subject::Relay(bus));
        let gateway = Subject::Gateway(bus);
        let added = |subject| MILLI * run.added(Scenario::Sequential, ONE, subject, &bare);
        let (by_gateway, by_relay) = (added(&gateway), added(&relay));
        targets.push(at_most(
            &format!("{name}: p50 added to a sequential call, by the gateway / by the relay"),
            format!("{by_gateway:.3} / {by_relay:.3} ms"),
            by_gateway / by_relay,
            limit,
        ));
    }
    let (bare, gateway) = (Subject::Bare(Bus::Redis), Subject::Gateway(Bus::Redis));
    let timed = |subject| MILLI * run.median(Scenario::Timed, ONE, subject, Figure::P50);
    targets.push(at_most(
        "p50 with a worker that takes 0.4 ms, gateway / bare client",
        format!("{:.3} / {:.3} ms", timed(&gateway), timed(&bare)),
        timed(&gateway) / timed(&bare),
        1.15,
    ));
    targets.push(at_most(
        "processor time of the gateway at 50 clients",
        "ms a call".to_owned(),
        MILLI * run.median(Scenario::Closed, "50 clients", &gateway, Figure::Cpu),
        0.025,
    ));
    let rate = |subject| run.median(Scenario::Closed, "200 clients", subject, Figure::Rate);
    targets.push(at_least(
        "calls a second of 200 clients, gateway / bare clients",
        format!("{:.0} / {:.0}", rate(&gateway), rate(&bare)),
        rate(&gateway) / rate(&bare),
        0.6,
    ));
    targets.push(at_most(
        "connect and first answer, p50",
        "ms".to_owned(),
        MILLI * run.median(Scenario::First, "one after the other", &gateway, Figure::P50),
        0.6,
    ));
    targets.push(at_most(
        "12 calls of 2 s on one socket",
        "s".to_owned(),
        run.median(Scenario::Parallel, "12 calls", &gateway, Figure::Took),
        2.05,
    ));
    let beside = |case| MILLI * run.median(Scenario::Beside, case, &gateway, Figure::P99);
    for (pace, case) in [
        ("at 50 MiB/s", "beside 100 MiB at 50 MiB/s to another"),
        ("as fast as a worker can", "beside 100 MiB at once to another"),
    ] {
        let (alone, stream) = (beside("alone"), beside(case));
        targets.push(at_most(
            &format!("p99 of a fast call while 100 MiB go to another client {pace} / alone"),
            format!("{stream:.3} / {alone:.3} ms"),
            stream / alone,
            3.0,
        ));
    }
}

/// The only case of sequential calls.
const ONE: &str = "1 client";

fn memory(run: &Run, targets: &mut Vec<Target>) {
    let gateway = Subject::Gateway(Bus::Redis);
    let cases = run.cases(Scenario::Memory);
    let after_a_call = cases.iter().rfind(|(case, _)| case.ends_with(", after a call"));
    if let Some(&(case, at)) = after_a_call {
        let figure = |figure| run.median(Scenario::Memory, case, &gateway, figure);
        targets.push(at_most(
            "memory of an idle client after one call",
            format!("bytes, of {at:.0} clients"),
            figure(Figure::MemoryEach),
            6.0 * 1024.0,
        ));
        let processors = run.place.processors as f64;
        targets.push(at_most(
            "threads",
            format!("{at:.0} clients, {processors:.0} processors"),
            figure(Figure::Threads),
            processors + 6.0,
        ));
        targets.push(at_most(
            "connections to the bus",
            format!("{at:.0} clients"),
            figure(Figure::BusConnections),
            8.0,
        ));
    }
    let burst = |case, figure| run.median(Scenario::Burst, case, &gateway, figure);
    let mebi = |case| burst(case, Figure::Memory) / f64::from(1 << 20);
    targets.push(at_most(
        "memory after 500 clients sent and received 1 MiB each / before",
        format!("{:.1} / {:.1} MiB", mebi("after"), mebi("before")),
        burst("after", Figure::MemoryRatio),
        1.1,
    ));
}

fn others(run: &Run, targets: &mut Vec<Target>) {
    for scenario in [Scenario::Drain, Scenario::Reconnect] {
        let gateway = Subject::Gateway(Bus::Redis);
        let Some(&(case, _)) = run.cases(scenario).first() else { continue };
        let figure = |figure| run.median(scenario, case, &gateway, figure);
        let elsewhere =
            if scenario == Scenario::Reconnect { ", who go to a second gateway" } else { "" };
        targets.push(at_most(
            &format!("{case} drained{elsewhere}: beyond the ebb window"),
            format!("s; window {:.0} s", figure(Figure::Window)),
            figure(Figure::Beyond),
            0.5,
        ));
        targets.push(at_most(
            "their closes, worst 100 ms / mean",
            String::new(),
            figure(Figure::Worst),
            2.0,
        ));
        targets.push(at_most("their lost answers", String::new(), figure(Figure::Lost), 0.0));
    }
}

fn programs(run: &Run, targets: &mut Vec<Target>) {
    let ratio = |case, figure: Figure| {
        let of = |subject| run.median(Scenario::Programs, case, subject, figure);
        let (ours, theirs) = (of(&Subject::Run), of(&Subject::Websocketd));
        (format!("{} / {}", figure.text(ours), figure.text(theirs)), ours / theirs)
    };
    let (seen, value) = ratio("round trip", Figure::P50);
    let what = "program mode, round trip p50, ms / websocketd's";
    targets.push(at_most(what, seen, value, 0.8));
    let (seen, value) = ratio("messages on one connection", Figure::Rate);
    let what = "program mode, messages a second / websocketd's";
    targets.push(at_least(what, seen, value, 2.0));
    let (seen, value) = ratio("500 connect at once", Figure::MemoryEach);
    let what = "program mode, bytes of the front for a client / websocketd's";
    targets.push(at_most(what, seen, value, 0.25));
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{row, run};
    use super::*;

    #[test]
    fn a_target_is_judged_by_its_limit_and_told_only_if_it_was_measured() {
        let of = |gateway: f64| {
            let one = |subject, p50| {
                let mut row = row(subject, 0, &[(Figure::P50, p50)]);
                row.case = ONE.to_owned();
                row
            };
            targets(&run(vec![
                one(Subject::Bare(Bus::Redis), 0.001),
                one(Subject::Relay(Bus::Redis), 0.002),
                one(Subject::Gateway(Bus::Redis), gateway),
            ]))
        };
        let (good, bad) = (of(0.0022), of(0.0025));
        assert_eq!((good.len(), bad.len()), (1, 1));
        assert!(good[0].is_kept() && !bad[0].is_kept());
        assert!(good[0].to_string().contains("| 1.200 | ≤ 1.3 | yes |"), "{}", good[0]);
        assert!(bad[0].to_string().ends_with("| 1.500 | ≤ 1.3 | **no** |"), "{}", bad[0]);
    }
}
