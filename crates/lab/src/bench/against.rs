//! One run against another, figure by figure. Whether a difference says anything is told by the
//! rounds: if what they gave here and there overlaps, it may be the machine.

use std::fmt::Write as _;

use super::record::{Better, Figure, Run};

/// A table of the ratios of this run's figures to another's.
#[must_use]
pub fn against(run: &Run, other: &Run) -> String {
    let mut out = String::from(
        "| scenario | case | subject | figure | before | now | ratio | verdict |\n\
         |---|---|---|---|---:|---:|---:|---|\n",
    );
    for scenario in run.scenarios() {
        for (case, _) in run.cases(scenario) {
            for subject in run.subjects(scenario) {
                for figure in run.figures(scenario) {
                    let here = run.values(scenario, case, subject, figure);
                    let there = other.values(scenario, case, subject, figure);
                    let Some(change) = change(figure, &there, &here) else { continue };
                    let title = scenario.title();
                    let (name, ..) = figure.shown();
                    // Writing to a text cannot fail.
                    writeln!(out, "| {title} | {case} | {subject} | {name} | {change} |").ok();
                }
            }
        }
    }
    out
}

/// Both middles, their ratio and what it means; `None` if it means nothing either way.
fn change(figure: Figure, before: &[f64], now: &[f64]) -> Option<String> {
    let (_, _, _, better) = figure.shown();
    let middle = |values: &[f64]| super::record::middle(values.to_vec());
    let (was, is) = (middle(before), middle(now));
    if was.is_nan() || is.is_nan() || better == Better::Neither {
        return None;
    }
    let edge = |values: &[f64], of: fn(f64, f64) -> f64| values.iter().copied().reduce(of);
    let apart = |low: &[f64], high: &[f64]| edge(low, f64::max) < edge(high, f64::min);
    let single = before.len() < 2 || now.len() < 2;
    let (less, more) = (apart(now, before), apart(before, now));
    let verdict = match (less, more, better) {
        (false, false, _) => "within the rounds",
        (true, _, Better::Less) | (_, true, Better::More) if single => "better, of one round",
        (true, _, Better::Less) | (_, true, Better::More) => "better",
        (true, _, _) | (_, true, _) if single => "worse, of one round",
        (true, _, _) | (_, true, _) => "worse",
    };
    let (before, now) = (figure.text(was), figure.text(is));
    let ratio = if was == is { 1.0 } else { is / was };
    Some(format!("{before} | {now} | {ratio:.3} | {verdict}"))
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{row, run};
    use super::super::subject::Subject;
    use super::*;

    #[test]
    fn a_difference_counts_only_if_no_round_of_one_reaches_into_the_other() {
        let of = |figure, values: &[f64]| {
            let rows = values.iter().enumerate();
            run(rows.map(|(round, value)| row(Subject::Run, round, &[(figure, *value)])).collect())
        };
        let verdict = |figure, before: &[f64], now: &[f64]| {
            let table = against(&of(figure, now), &of(figure, before));
            table.lines().nth(2).map(|line| line.rsplit("| ").next().unwrap().to_owned())
        };
        let is = |text: &str| Some(format!("{text} |"));
        let (low, high, both) = (&[1.0, 2.0], &[3.0, 4.0], &[1.5, 3.5]);
        assert_eq!(verdict(Figure::P50, high, low), is("better"));
        assert_eq!(verdict(Figure::P50, low, high), is("worse"));
        assert_eq!(verdict(Figure::Rate, low, high), is("better"));
        assert_eq!(verdict(Figure::Rate, both, high), is("within the rounds"));
        assert_eq!(verdict(Figure::Rate, &[1.0], &[2.0]), is("better, of one round"));
        assert_eq!(verdict(Figure::Window, low, high), None);
        assert_eq!(verdict(Figure::P50, &[], low), None);
    }
}
