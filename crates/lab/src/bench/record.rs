//! What was measured: rows of figures, by scenario, case, subject and round. They are saved as they
//! are, and read again to be compared; of the rounds the middle one counts.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scenario::Scenario;
use super::subject::Subject;

/// A figure. In a record times are in seconds, sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Clients that were there.
    Clients,
    /// Of the times of calls, the middle one.
    P50,
    /// The time that 90 % keep below.
    P90,
    /// 99 %.
    P99,
    /// 99.9 %.
    P999,
    /// The longest.
    Longest,
    /// Calls, messages or connects a second.
    Rate,
    /// Bytes a second.
    Throughput,
    /// The subject's processor time for a call.
    Cpu,
    /// Processors that the subject keeps busy.
    ShareSubject,
    /// That the bus's server does.
    ShareServer,
    /// Router and workers.
    ShareWorkers,
    /// The clients.
    ShareClients,
    /// The whole machine.
    ShareMachine,
    /// From the first to the last.
    Took,
    /// Memory of the subject, of which nothing is counted twice.
    Memory,
    /// What it grew by, for each client.
    MemoryEach,
    /// How much of what it was before.
    MemoryRatio,
    /// Threads of the subject.
    Threads,
    /// Its connections to the bus.
    BusConnections,
    /// Over which a drain spreads what it closes.
    Window,
    /// How long it took beyond that.
    Beyond,
    /// Closes in the worst 100 ms, to their mean over the window.
    Worst,
    /// Answers that were lost.
    Lost,
    /// Connects that failed.
    Refused,
}

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
    Neither,
}

impl Figure {
    /// Its name with the unit, what a value of a record is multiplied by for it, digits behind the
    /// point, and which way is better.
    pub(super) fn shown(self) -> (&'static str, f64, usize, Better) {
        use Better::{Less, More, Neither};
        const MILLI: f64 = 1e3;
        const MEBI: f64 = 1.0 / 1_048_576.0;
        match self {
            Self::Clients => ("clients", 1.0, 0, Neither),
            Self::P50 => ("p50 ms", MILLI, 3, Less),
            Self::P90 => ("p90 ms", MILLI, 3, Less),
            Self::P99 => ("p99 ms", MILLI, 3, Less),
            Self::P999 => ("p99.9 ms", MILLI, 3, Less),
            Self::Longest => ("longest ms", MILLI, 1, Less),
            Self::Rate => ("a second", 1.0, 0, More),
            Self::Throughput => ("MiB/s", MEBI, 0, More),
            Self::Cpu => ("CPU ms/call", MILLI, 4, Less),
            Self::ShareSubject => ("CPUs: subject", 1.0, 2, Neither),
            Self::ShareServer => ("bus", 1.0, 2, Neither),
            Self::ShareWorkers => ("workers", 1.0, 2, Neither),
            Self::ShareClients => ("clients", 1.0, 2, Neither),
            Self::ShareMachine => ("machine", 1.0, 2, Neither),
            Self::Took => ("took s", 1.0, 3, Less),
            Self::Memory => ("MiB", MEBI, 1, Less),
            Self::MemoryEach => ("bytes/client", 1.0, 0, Less),
            Self::MemoryRatio => ("of before", 1.0, 3, Less),
            Self::Threads => ("threads", 1.0, 0, Neither),
            Self::BusConnections => ("connections to the bus", 1.0, 0, Neither),
            Self::Window => ("window s", 1.0, 1, Neither),
            Self::Beyond => ("beyond it s", 1.0, 3, Less),
            Self::Worst => ("worst 100 ms / mean", 1.0, 2, Less),
            Self::Lost => ("answers lost", 1.0, 0, Less),
            Self::Refused => ("failed connects", 1.0, 0, Less),
        }
    }

    /// A value as a table has it.
    pub(super) fn text(self, value: f64) -> String {
        let (_, factor, digits, _) = self.shown();
        if value.is_nan() { "-".to_owned() } else { format!("{:.digits$}", value * factor) }
    }
}

/// What one turn gave in one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was done.
    pub scenario: Scenario,
    /// What is special in this case: `50 clients`.
    pub case: String,
    /// Its number, for pictures.
    pub at: f64,
    /// By whom.
    pub subject: Subject,
    /// In which round.
    pub round: usize,
    /// What was seen.
    pub figures: BTreeMap<Figure, f64>,
    /// What was counted in each 100 ms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub course: Vec<u64>,
}

/// Where and when a run was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The day, UTC.
    pub day: String,
    /// The processor, as it names itself.
    pub processor: String,
    /// Processors.
    pub processors: usize,
    /// The kernel.
    pub kernel: String,
    /// The gateway, as it names itself.
    pub gateway: String,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Where and when.
    pub place: Place,
    /// Rounds of the scenarios that have more than one.
    pub rounds: usize,
    /// All that was measured, in order.
    pub rows: Vec<Row>,
}

/// The file of a run in its directory.
const FILE: &str = "figures.json";

impl Run {
    /// Reads a saved run: its file, or the directory that it is in.
    ///
    /// # Errors
    /// It cannot be read, or is no run.
    pub fn read(path: &Path) -> io::Result<Self> {
        let named = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {error}", path.display()))
        };
        let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
        serde_json::from_str(&text).map_err(|error| named(&error))
    }

    /// Writes the run and its pictures to a directory, which is made if need be.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write_to(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let mut text = Vec::new();
        serde_json::to_writer_pretty(&mut text, self).map_err(io::Error::other)?;
        text.push(b'\n');
        std::fs::write(directory.join(FILE), text)?;
        super::plots::draw(self, directory)
    }

    /// The cases of a scenario and their numbers, in order.
    pub(super) fn cases(&self, scenario: Scenario) -> Vec<(&str, f64)> {
        let mut cases: Vec<(&str, f64)> = Vec::new();
        for row in self.rows.iter().filter(|row| row.scenario == scenario) {
            if !cases.iter().any(|(case, _)| *case == row.case) {
                cases.push((&row.case, row.at));
            }
        }
        cases
    }

    /// The subjects of a scenario, in the order of their first turn.
    pub(super) fn subjects(&self, scenario: Scenario) -> Vec<&Subject> {
        let mut subjects: Vec<&Subject> = Vec::new();
        for row in self.rows.iter().filter(|row| row.scenario == scenario) {
            if !subjects.contains(&&row.subject) {
                subjects.push(&row.subject);
            }
        }
        subjects
    }

    /// The rows of a case and a subject, one a round.
    pub(super) fn rounds_of(
        &self,
        scenario: Scenario,
        case: &str,
        subject: &Subject,
    ) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| {
            row.scenario == scenario && row.case == case && row.subject == *subject
        })
    }

    /// What a figure was in each round.
    pub(super) fn values(
        &self,
        scenario: Scenario,
        case: &str,
        subject: &Subject,
        figure: Figure,
    ) -> Vec<f64> {
        let rounds = self.rounds_of(scenario, case, subject);
        rounds.filter_map(|row| row.figures.get(&figure).copied()).collect()
    }

    /// The figure of the middle round; NaN if there is none.
    pub(super) fn median(
        &self,
        scenario: Scenario,
        case: &str,
        subject: &Subject,
        figure: Figure,
    ) -> f64 {
        middle(self.values(scenario, case, subject, figure))
    }

    /// What a subject adds to the middle call of another, seconds: of the rounds, the middle one.
    pub(super) fn added(
        &self,
        scenario: Scenario,
        case: &str,
        subject: &Subject,
        to: &Subject,
    ) -> f64 {
        let p50 = |row: &Row| row.figures.get(&Figure::P50).copied().unwrap_or(f64::NAN);
        let added = self.rounds_of(scenario, case, subject).map(|row| {
            let mut base = self.rounds_of(scenario, case, to);
            p50(row) - base.find(|base| base.round == row.round).map_or(f64::NAN, p50)
        });
        middle(added.collect())
    }
}

/// The middle one of some values; NaN of none.
pub(super) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.as_slice() {
        [] => f64::NAN,
        values if values.len() % 2 == 1 => values[half],
        values => f64::midpoint(values[half - 1], values[half]),
    }
}

/// Percentiles of some times, and the longest.
pub(super) fn percentiles(mut times: Vec<f64>) -> [(Figure, f64); 5] {
    times.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (times.len() as f64 * part) as usize;
        times.get(index.min(times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    [
        (Figure::P50, at(0.5)),
        (Figure::P90, at(0.9)),
        (Figure::P99, at(0.99)),
        (Figure::P999, at(0.999)),
        (Figure::Longest, at(1.0)),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::site::Bus;

    /// A run without a place.
    pub(in crate::bench) fn run(rows: Vec<Row>) -> Run {
        let text = String::new;
        let place = Place {
            day: text(),
            processor: text(),
            processors: 2,
            kernel: text(),
            gateway: text(),
        };
        Run { place, rounds: 1, rows }
    }

    /// A row with one figure.
    pub(in crate::bench) fn row(subject: Subject, round: usize, figures: &[(Figure, f64)]) -> Row {
        let figures = figures.iter().copied().collect();
        let (case, course) = ("a case".to_owned(), Vec::new());
        Row { scenario: Scenario::Sequential, case, at: 1.0, subject, round, figures, course }
    }

    #[test]
    fn of_the_rounds_the_middle_one_counts() {
        assert_eq!(middle(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(middle(vec![4.0, 1.0, 9.0, 2.0]), 3.0);
        assert!(middle(Vec::new()).is_nan());
        let (bare, gateway) = (Subject::Bare(Bus::Redis), Subject::Gateway(Bus::Redis));
        let one =
            |subject: &Subject, round, p50| row(subject.clone(), round, &[(Figure::P50, p50)]);
        let run = run(vec![
            one(&bare, 0, 1.0),
            one(&gateway, 0, 3.0),
            one(&gateway, 1, 9.0),
            one(&bare, 1, 8.0),
            one(&bare, 2, 2.0),
            one(&gateway, 2, 3.5),
        ]);
        let scenario = Scenario::Sequential;
        assert_eq!(run.added(scenario, "a case", &gateway, &bare), 1.5);
        assert_eq!(run.median(scenario, "a case", &gateway, Figure::P50), 3.5);
        assert!(run.median(scenario, "another", &gateway, Figure::P50).is_nan());
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let mut row = row(Subject::Peer("x".into()), 0, &[(Figure::Rate, 2.5)]);
        row.course = vec![1, 2];
        let run = run(vec![row]);
        let directory = tempfile::tempdir().unwrap();
        run.write_to(directory.path()).unwrap();
        assert_eq!(Run::read(directory.path()).unwrap(), run);
        std::fs::write(directory.path().join(FILE), "{}").unwrap();
        assert!(Run::read(directory.path()).is_err());
    }

    #[test]
    fn percentiles_are_of_the_times_in_order() {
        let times = (0..1_000).rev().map(f64::from).collect();
        let values = percentiles(times).map(|(_, value)| value);
        assert_eq!(values, [500.0, 900.0, 990.0, 999.0, 999.0]);
        assert!(percentiles(Vec::new()).iter().all(|(_, value)| value.is_nan()));
    }
}
