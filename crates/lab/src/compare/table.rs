//! The report in words: what was promised and whether it is kept, the figures at each load, and
//! whose work fills the processors at the highest.

use std::fmt::{self, Write as _};

use super::parts::{REDIS, TAKES};
use super::report::{Cpu, Measurement, Report, SUBJECTS, Scenario, Subject};

const MILLI: f64 = 1e3;

/// A promise and what was seen of it.
struct Promise {
    what: String,
    seen: String,
    /// What it is judged by: at most `limit`, or at least.
    value: f64,
    limit: f64,
    at_most: bool,
}

impl Promise {
    fn kept(&self) -> bool {
        if self.at_most { self.value <= self.limit } else { self.value >= self.limit }
    }
}

impl fmt::Display for Report {
    /// Three tables in Markdown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("| promise | seen | ratio or value | limit | kept |\n")?;
        formatter.write_str("|---|---|---|---|---|\n")?;
        for promise in promises(self) {
            let Promise { what, seen, value, limit, at_most } = &promise;
            let bound = if *at_most { "≤" } else { "≥" };
            let kept = if promise.kept() { "yes" } else { "**no**" };
            writeln!(formatter, "| {what} | {seen} | {value:.3} | {bound} {limit} | {kept} |")?;
        }
        writeln!(formatter, "\n{}", loads(self)?)?;
        formatter.write_str(&processors(self)?)
    }
}

fn promises(report: &Report) -> Vec<Promise> {
    let sequential = Scenario::Load { clients: 1 };
    let p50 = |subject, scenario| MILLI * report.median(subject, scenario, |one| one.p50);
    let added = |subject| MILLI * report.added(subject, sequential);
    let (by_relay, by_gateway) = (added(Subject::Relay), added(Subject::Gateway));
    let timed = |subject| p50(subject, Scenario::Timed);
    let (bare_timed, gateway_timed) = (timed(Subject::Bare), timed(Subject::Gateway));
    let busy = Scenario::Load { clients: 50 };
    let cpu = MILLI * report.median(Subject::Gateway, busy, Measurement::cpu_a_call);
    let full = Scenario::Load { clients: 200 };
    let rate = |subject| report.median(subject, full, Measurement::calls_a_second);
    let (bare_rate, gateway_rate) = (rate(Subject::Bare), rate(Subject::Gateway));
    let first = p50(Subject::Gateway, Scenario::First);
    let mut promises = vec![
        Promise {
            what: "added to the p50 of a sequential call, by the gateway / by the relay".to_owned(),
            seen: format!("{by_gateway:.3} / {by_relay:.3} ms"),
            value: by_gateway / by_relay,
            limit: 1.5,
            at_most: true,
        },
        Promise {
            what: format!("p50 with a worker that takes {TAKES:?}, gateway / bare client"),
            seen: format!("{gateway_timed:.3} / {bare_timed:.3} ms"),
            value: gateway_timed / bare_timed,
            limit: 1.15,
            at_most: true,
        },
        Promise {
            what: "processor time of the gateway at 50 clients".to_owned(),
            seen: "ms a call".to_owned(),
            value: cpu,
            limit: 0.04,
            at_most: true,
        },
        Promise {
            what: "calls/s of 200 clients, gateway / bare clients".to_owned(),
            seen: format!("{gateway_rate:.0} / {bare_rate:.0}"),
            value: gateway_rate / bare_rate,
            limit: 0.6,
            at_most: false,
        },
        Promise {
            what: "p50 of connect and first answer through the gateway".to_owned(),
            seen: "ms".to_owned(),
            value: first,
            limit: 0.8,
            at_most: true,
        },
    ];
    // An XMPP server takes most of the time of a call: nothing more is promised beside one.
    if report.bus() != REDIS {
        promises.truncate(1);
    }
    promises
}

fn loads(report: &Report) -> Result<String, fmt::Error> {
    let mut out = String::from("| clients | subject | calls/s | p50 ms | p99 ms | CPU ms/call |\n");
    out.push_str("|---:|---|---:|---:|---:|---:|\n");
    for clients in report.loads() {
        for subject in SUBJECTS {
            let figure = |figure: fn(&Measurement) -> f64| {
                report.median(subject, Scenario::Load { clients }, figure)
            };
            let rate = figure(Measurement::calls_a_second);
            let (p50, p99) = (MILLI * figure(|one| one.p50), MILLI * figure(|one| one.p99));
            let cpu = match subject {
                Subject::Bare => "-".to_owned(),
                Subject::Relay | Subject::Gateway => {
                    format!("{:.4}", MILLI * figure(Measurement::cpu_a_call))
                }
            };
            let name = subject.name();
            writeln!(out, "| {clients} | {name} | {rate:.0} | {p50:.3} | {p99:.3} | {cpu} |")?;
        }
    }
    Ok(out)
}

/// Who has how much of the processors at the highest load: the limit is where none is left.
fn processors(report: &Report) -> Result<String, fmt::Error> {
    let Some(&clients) = report.loads().last() else { return Ok(String::new()) };
    let all = report.processors();
    let mut out = format!("| {clients} clients, % of one of {all} processors |");
    for subject in SUBJECTS {
        write!(out, " {} |", subject.name())?;
    }
    out.push_str("\n|---|---:|---:|---:|\n");
    let known = |cpu: &Cpu| cpu.subject + cpu.server + cpu.workers + cpu.clients;
    type Part = (&'static str, fn(&Cpu) -> f64);
    let parts: [Part; 4] = [
        ("relay or gateway", |cpu| cpu.subject),
        (report.bus(), |cpu| cpu.server),
        ("router and workers", |cpu| cpu.workers),
        ("clients", |cpu| cpu.clients),
    ];
    let mut row = |name: &str, part: &dyn Fn(&Cpu) -> f64| {
        write!(out, "| {name} |")?;
        for subject in SUBJECTS {
            let share = |one: &Measurement| 100.0 * part(&one.cpu) / one.seconds;
            let share = report.median(subject, Scenario::Load { clients }, share);
            write!(out, " {share:.0} |")?;
        }
        out.push('\n');
        Ok(())
    };
    for (name, part) in parts {
        row(name, &part)?;
    }
    row("anything else on this machine", &|cpu| cpu.machine - known(cpu))?;
    row("all", &|cpu| cpu.machine)?;
    Ok(out)
}
