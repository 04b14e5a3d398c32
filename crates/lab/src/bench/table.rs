//! A run in words, as Markdown: the targets, and a table for each scenario.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::record::{Figure, Run};
use super::scenario::Scenario;
use super::targets::targets;

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        writeln!(
            formatter,
            "{}; {}; {} processors, {}; {}; rounds: {}\n",
            place.gateway, place.day, place.processors, place.processor, place.kernel, self.rounds
        )?;
        let targets = targets(self);
        if !targets.is_empty() {
            formatter.write_str("| target | seen | ratio or value | limit | kept |\n")?;
            formatter.write_str("|---|---|---:|---|---|\n")?;
            for target in targets {
                writeln!(formatter, "{target}")?;
            }
        }
        for scenario in self.scenarios() {
            write!(formatter, "\n### {}\n\n{}", scenario.title(), table(self, scenario)?)?;
        }
        Ok(())
    }
}

impl Run {
    /// In the order of their first rows.
    pub(super) fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = Vec::new();
        for row in &self.rows {
            if !scenarios.contains(&row.scenario) {
                scenarios.push(row.scenario);
            }
        }
        scenarios
    }

    /// The figures that a scenario has.
    pub(super) fn figures(&self, scenario: Scenario) -> BTreeSet<Figure> {
        let rows = self.rows.iter().filter(|row| row.scenario == scenario);
        rows.flat_map(|row| row.figures.keys().copied()).collect()
    }
}

fn table(run: &Run, scenario: Scenario) -> Result<String, fmt::Error> {
    let figures = run.figures(scenario);
    let mut out = String::from("| case | subject |");
    for figure in &figures {
        write!(out, " {} |", figure.shown().0)?;
    }
    out.push_str("\n|---|---|");
    out.push_str(&"---:|".repeat(figures.len()));
    out.push('\n');
    for (case, _) in run.cases(scenario) {
        for subject in run.subjects(scenario) {
            let mut row = String::new();
            let mut any = false;
            for &figure in &figures {
                let value = run.median(scenario, case, subject, figure);
                any |= !value.is_nan();
                write!(row, " {} |", figure.text(value))?;
            }
            if any {
                writeln!(out, "| {case} | {subject} |{row}")?;
            }
        }
    }
    Ok(out)
}
