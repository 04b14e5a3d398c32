//! A turn: a scenario done with a subject once. A file for each kind of scenario.

use std::io;

use super::Plan;
use super::record::{Figure, Row};
use super::scenario::Scenario;
use super::stage::{Shares, Stage};
use super::subject::Subject;

mod beside;
mod calls;
mod crowds;
mod drains;
mod large;
mod memory;
mod open;
mod programs;

/// A turn, and where its rows go.
pub(super) struct Turn<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) plan: &'a Plan,
    pub(super) scenario: Scenario,
    pub(super) subject: &'a Subject,
    pub(super) round: usize,
    pub(super) rows: &'a mut Vec<Row>,
}

impl Turn<'_> {
    /// Does it.
    ///
    /// # Errors
    /// Something did not start, or did not answer as it should.
    pub(super) async fn take(self) -> io::Result<()> {
        match self.scenario {
            Scenario::Sequential | Scenario::Timed => calls::sequential(self).await,
            Scenario::First => calls::first(self).await,
            Scenario::Closed => calls::closed(self).await,
            Scenario::Open => open::open(self).await,
            Scenario::Storm => crowds::storm(self).await,
            Scenario::Beside => beside::beside(self).await,
            Scenario::Parallel => beside::parallel(self).await,
            Scenario::Large => large::large(self).await,
            Scenario::Memory => memory::memory(self).await,
            Scenario::Burst => memory::burst(self).await,
            Scenario::Drain => drains::drain(self).await,
            Scenario::Reconnect => drains::reconnect(self).await,
            Scenario::Programs => programs::programs(self).await,
        }
    }

    /// Takes down what was seen in a case; a figure that is not known is left out.
    fn saw(
        &mut self,
        case: impl Into<String>,
        at: f64,
        figures: impl IntoIterator<Item = (Figure, f64)>,
    ) -> &mut Row {
        let row = Row {
            scenario: self.scenario,
            case: case.into(),
            at,
            subject: self.subject.clone(),
            round: self.round,
            figures: figures.into_iter().filter(|(_, value)| value.is_finite()).collect(),
            course: Vec::new(),
        };
        let index = self.rows.len();
        self.rows.push(row);
        &mut self.rows[index]
    }
}

/// How busy the processors were, of two readings so many seconds apart.
fn shares(before: Shares, after: Shares, seconds: f64) -> [(Figure, f64); 5] {
    [
        (Figure::ShareSubject, (after.subject - before.subject) / seconds),
        (Figure::ShareServer, (after.server - before.server) / seconds),
        (Figure::ShareWorkers, (after.workers - before.workers) / seconds),
        (Figure::ShareClients, (after.clients - before.clients) / seconds),
        (Figure::ShareMachine, (after.machine - before.machine) / seconds),
    ]
}
