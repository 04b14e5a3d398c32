//! What was measured, and the figures that are made of it: of the rounds, the middle one.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;

/// What makes the calls, or stands between them and the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Subject {
    Bare,
    Relay,
    Gateway,
}

pub(super) const SUBJECTS: [Subject; 3] = [Subject::Bare, Subject::Relay, Subject::Gateway];

impl Subject {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare client",
            Self::Relay => "minimal relay",
            Self::Gateway => "gateway",
        }
    }
}

/// How the calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scenario {
    /// By so many clients at once, of a worker that answers at once.
    Load { clients: u64 },
    /// By one client, of a worker that takes its time.
    Timed,
    /// By clients that connect, call once and go.
    First,
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { clients } => write!(formatter, "clients: {clients}"),
            Self::Timed => formatter.write_str("slow worker"),
            Self::First => formatter.write_str("first answers"),
        }
    }
}

/// Seconds of processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Cpu {
    /// The gateway's or the relay's process.
    pub(super) subject: f64,
    /// The bus's server.
    pub(super) server: f64,
    /// Router and workers.
    pub(super) workers: f64,
    /// All clients.
    pub(super) clients: f64,
    /// All of that and whatever else the machine did.
    pub(super) machine: f64,
}

impl Cpu {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            subject: self.subject - before.subject,
            server: self.server - before.server,
            workers: self.workers - before.workers,
            clients: self.clients - before.clients,
            machine: self.machine - before.machine,
        }
    }
}

/// One turn of one subject. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Measurement {
    pub(super) subject: Subject,
    pub(super) scenario: Scenario,
    pub(super) round: usize,
    pub(super) calls: usize,
    pub(super) seconds: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) cpu: Cpu,
}

impl Measurement {
    pub(super) fn calls_a_second(&self) -> f64 {
        self.calls as f64 / self.seconds
    }

    /// The subject's processor time, seconds a call.
    pub(super) fn cpu_a_call(&self) -> f64 {
        self.cpu.subject / self.calls as f64
    }
}

/// All that was measured in one run.
#[derive(Debug, Serialize)]
pub struct Report {
    bus: &'static str,
    processors: usize,
    pub(super) measurements: Vec<Measurement>,
}

impl Report {
    pub(super) fn new(bus: &'static str, measurements: Vec<Measurement>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { bus, processors, measurements }
    }

    /// The name of the bus's server.
    pub(super) fn bus(&self) -> &'static str {
        self.bus
    }

    /// Writes `figures.json` and the pictures to a directory, which is made if need be.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write_to(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        std::fs::write(directory.join("figures.json"), text + "\n")?;
        super::plots::draw(self, directory)
    }

    pub(super) fn processors(&self) -> usize {
        self.processors
    }

    /// Numbers of clients, ascending.
    pub(super) fn loads(&self) -> Vec<u64> {
        let load = |scenario| match scenario {
            Scenario::Load { clients } => Some(clients),
            Scenario::Timed | Scenario::First => None,
        };
        let mut loads: Vec<u64> =
            self.measurements.iter().filter_map(|one| load(one.scenario)).collect();
        loads.sort_unstable();
        loads.dedup();
        loads
    }

    /// The figure of the middle round; NaN if there is none.
    pub(super) fn median(
        &self,
        subject: Subject,
        scenario: Scenario,
        figure: impl Fn(&Measurement) -> f64,
    ) -> f64 {
        let all = self.measurements.iter();
        let ours = all.filter(|one| one.subject == subject && one.scenario == scenario);
        middle(ours.map(figure).collect())
    }

    /// What a subject adds to the middle call of a bare client, seconds: of the rounds, the
    /// middle one.
    pub(super) fn added(&self, subject: Subject, scenario: Scenario) -> f64 {
        self.median(subject, scenario, |one| {
            let bare = self.measurements.iter().find(|bare| {
                (bare.subject, bare.scenario, bare.round) == (Subject::Bare, scenario, one.round)
            });
            one.p50 - bare.map_or(f64::NAN, |bare| bare.p50)
        })
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.as_slice() {
        [] => f64::NAN,
        values if values.len() % 2 == 1 => values[half],
        values => f64::midpoint(values[half - 1], values[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_rounds_the_middle_one_counts() {
        assert_eq!(middle(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(middle(vec![4.0, 1.0, 9.0, 2.0]), 3.0);
        assert!(middle(Vec::new()).is_nan());
        let cpu = Cpu::default();
        let one = |subject, round, p50| {
            let (calls, seconds, p99) = (100, 2.0, 1.0);
            Measurement { subject, scenario: Scenario::Timed, round, calls, seconds, p50, p99, cpu }
        };
        let report = Report::new(
            "none",
            vec![
                one(Subject::Bare, 0, 1.0),
                one(Subject::Gateway, 0, 3.0),
                one(Subject::Gateway, 1, 9.0),
                one(Subject::Bare, 1, 8.0),
                one(Subject::Bare, 2, 2.0),
                one(Subject::Gateway, 2, 3.5),
            ],
        );
        assert_eq!(report.added(Subject::Gateway, Scenario::Timed), 1.5);
        let rate = Measurement::calls_a_second;
        assert_eq!(report.median(Subject::Gateway, Scenario::Timed, rate), 50.0);
        assert!(report.median(Subject::Relay, Scenario::Timed, rate).is_nan());
    }
}
