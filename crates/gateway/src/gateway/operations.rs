//! What the gateway is asked and told by whoever operates it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use slackwater_core::drain::Input;
use tokio::sync::{oneshot, watch};

use super::{Gateway, Order, seed};
use crate::books::{Behind, Fixed};
use crate::clock::now;
use crate::mailbox::Letter;
use crate::operate::metrics::Figures;
use crate::operate::readiness::Probe;
use crate::operate::status::{
    Answer, Connection, Deadline, DrainRequest, Operations, Phase, Refused, Reloaded, Selection,
    Status,
};

impl Gateway {
    /// Everything that is so at this instant.
    pub(crate) fn status_now(&self) -> Status {
        self.books().status(self.fixed(), now())
    }

    fn fixed(&self) -> &Fixed {
        self.fixed.get_or_init(|| Fixed {
            began: now(),
            behind: Behind::Bus(String::new()),
            listen: vec![],
            tls: false,
        })
    }

    /// What a load balancer is told.
    pub(crate) fn health(&self, probe: Probe) -> (StatusCode, String) {
        probe.answer(&self.status_now(), self.drain_status())
    }

    /// Waits until the listeners have done everything that they were ordered to do.
    pub(super) async fn orders_obeyed(&self) -> Result<(), Refused> {
        let (sender, done) = oneshot::channel();
        self.order(Order::Report(sender));
        tokio::time::timeout(Duration::from_secs(5), done)
            .await
            .map_err(|_| Refused("the listeners do not obey".to_owned()))?
            .map_err(|_| Refused("the gateway is ending".to_owned()))
    }
}

impl Operations for Gateway {
    fn status(&self) -> Answer<'_, Status> {
        let status = self.status_now();
        Box::pin(async { status })
    }

    fn drain_status(&self) -> StatusCode {
        self.books().limits.drain_status
    }

    fn connections(&self, which: Selection) -> Answer<'_, Vec<Connection>> {
        Box::pin(async move {
            let (only_holding, at_most, asked) = match which {
                Selection::All => (false, usize::MAX, usize::MAX),
                Selection::Some { at_most } => (false, at_most, at_most),
                // Only when all are asked is it known who has waited longest.
                Selection::Holding { at_most } => (true, at_most, usize::MAX),
            };
            let asked: Vec<_> = self
                .hub
                .mailboxes(only_holding)
                .into_iter()
                .take(asked)
                .map(|mailbox| {
                    let (sender, answer) = oneshot::channel();
                    mailbox.post(Letter::Describe(sender));
                    answer
                })
                .collect();
            let mut connections = Vec::with_capacity(asked.len());
            for answer in asked {
                // Its task answers unless it is just ending.
                connections.extend(answer.await.ok());
            }
            if only_holding {
                connections
                    .retain(|holder| !holder.pending.is_empty() || !holder.sessions.is_empty());
                connections.sort_by(|a, b| held_for(b).total_cmp(&held_for(a)));
                connections.truncate(at_most);
            } else {
                connections.sort_by_key(|connection| connection.id);
            }
            connections
        })
    }

    fn drain(&self, request: DrainRequest) -> Answer<'_, Result<(), Refused>> {
        let deadline = request.deadline.map(|deadline| match deadline {
            Deadline::After(time) => Some(time),
            Deadline::Never => None,
        });
        self.tell(Input::Drain { exit: false, deadline, seed: seed() });
        Box::pin(async { Ok(()) })
    }

    fn undrain(&self) -> Answer<'_, Result<(), Refused>> {
        let mut books = self.books();
        if let Err(too_late) = books.drain.may_undrain() {
            return Box::pin(async move { Err(Refused(too_late.to_string())) });
        }
        self.tell_locked(&mut books, |drain| drain.handle_input(Input::Undrain, now()));
        drop(books);
        // Whoever is told that the drain is off may connect at once.
        Box::pin(async { self.orders_obeyed().await })
    }

    fn reload(&self) -> Answer<'_, Result<Reloaded, Refused>> {
        Box::pin(self.read_again())
    }

    fn figures(&self) -> Figures {
        let fixed = self.fixed();
        // Under the lock, under which clients come and go.
        let books = self.books();
        let census = self.hub.census();
        Figures {
            status: books.status(fixed, now()),
            services: books.counters.services.clone(),
            recalled: books.counters.recalled,
            bus_losses: books.bus_losses,
            census,
            received_bytes: self.bytes.received.load(Ordering::Relaxed),
            sent_bytes: self.bytes.sent.load(Ordering::Relaxed),
        }
    }

    fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

fn held_for(connection: &Connection) -> f64 {
    let pending = connection.pending.iter().map(|request| request.age_seconds);
    let sessions = connection.sessions.iter().map(|session| session.age_seconds);
    pending.chain(sessions).fold(0.0, f64::max)
}
