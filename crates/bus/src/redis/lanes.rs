//! The way to the workers of other domains: a connection to each domain's Redis, made on first
//! use, with a task of its own, so that a domain that hangs holds up no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use slackwater_core::osrf::envelope::Refusal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::link::Link;
use super::post::{self, Unsure};
use super::site::Site;
use crate::Event;
use crate::recovery::refuse;
use crate::sender::Queued;

/// Other domains, at most: an address, and so a domain, is what a stranger says it is.
const MOST_DOMAINS: usize = 5;
/// Envelopes that may wait for a domain.
const WAITING: usize = 1_024;
/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(2);
/// A domain that could not be reached is not tried again for so long.
const PAUSE: Duration = Duration::from_millis(500);
/// An idle connection is looked after so often.
const IDLE: Duration = Duration::from_secs(10);
/// One that was idle for so long is looked at before it is trusted with an envelope.
const DOUBT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Lanes {
    site: Arc<Site>,
    events: mpsc::Sender<Event>,
    by_domain: HashMap<String, mpsc::Sender<Queued>>,
    tasks: JoinSet<()>,
}

impl Lanes {
    pub(super) fn new(site: Arc<Site>, events: mpsc::Sender<Event>) -> Self {
        Self { site, events, by_domain: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Hands an envelope to the lane of its domain; gives it back with the reason if it cannot.
    pub(super) fn hand(&mut self, domain: &str, queued: Queued) -> Option<(Queued, String)> {
        if !self.by_domain.contains_key(domain) {
            if self.by_domain.len() >= MOST_DOMAINS {
                return Some((queued, format!("{domain:?} is one domain too many")));
            }
            let (sender, waiting) = mpsc::channel(WAITING);
            let (site, events) = (Arc::clone(&self.site), self.events.clone());
            let lane = Lane {
                domain: domain.to_owned(),
                site,
                events,
                link: None,
                used: Instant::now(),
                closed_until: None,
            };
            self.tasks.spawn(lane.run(waiting));
            self.by_domain.insert(domain.to_owned(), sender);
        }
        let error = self.by_domain.get(domain)?.try_send(queued).err()?;
        Some((error.into_inner(), format!("too many envelopes wait for domain {domain}")))
    }

    /// Sends what waits, and ends.
    pub(super) async fn finish(mut self, patience: Duration) {
        self.by_domain.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            tracing::warn!("envelopes to another domain were still on their way at the end");
        }
    }
}

struct Lane {
    domain: String,
    site: Arc<Site>,
    events: mpsc::Sender<Event>,
    link: Option<Link>,
    /// When something last passed the connection.
    used: Instant,
    /// The domain cannot be reached; until when that is taken to be so, and why.
    closed_until: Option<(Instant, String)>,
}

impl Lane {
    async fn run(mut self, mut waiting: mpsc::Receiver<Queued>) {
        let mut idle = interval(IDLE);
        loop {
            let first = tokio::select! {
                first = waiting.recv() => first,
                _ = idle.tick() => {
                    if self.used.elapsed() >= IDLE {
                        self.look_after().await;
                    }
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut bytes = first.room.num_permits();
            let mut batch = vec![first];
            while bytes < post::BATCH_BYTES
                && let Ok(next) = waiting.try_recv()
            {
                bytes += next.room.num_permits();
                batch.push(next);
            }
            self.push(&batch).await;
        }
    }

    /// Pushes a batch, or gives it back; of what was under way to a connection that was lost, says
    /// so.
    async fn push(&mut self, batch: &[Queued]) {
        if self.link.as_mut().is_some_and(Link::is_closed) {
            self.link = None;
        } else if self.used.elapsed() > DOUBT {
            self.look_after().await;
        }
        if let Err(reason) = self.open().await {
            for queued in batch {
                refuse(&self.events, &queued.envelope, &Refusal::NotTaken(reason.clone())).await;
            }
            return;
        }
        let Some(link) = &mut self.link else { return };
        self.used = Instant::now();
        if let Err(Unsure { broken, sent }) =
            post::push(link, &self.site, batch, &self.events).await
        {
            self.link = None;
            for queued in sent {
                let reason = format!("domain {}: {broken}", self.domain);
                let envelope = queued.envelope.clone();
                // Nobody may be there to take it, when the bus ends.
                drop(self.events.send(Event::Uncertain { envelope, reason }).await);
            }
        }
    }

    async fn open(&mut self) -> Result<(), String> {
        if self.link.is_some() {
            return Ok(());
        }
        if let Some((until, reason)) = &self.closed_until
            && Instant::now() < *until
        {
            return Err(reason.clone());
        }
        let endpoint = self.site.endpoint_of(&self.domain);
        match Link::open(&endpoint, &self.site.account, PATIENCE).await {
            Ok(link) => {
                self.link = Some(link);
                Ok(())
            }
            Err(error) => {
                let reason = format!("domain {}: {error}", self.domain);
                self.closed_until = Some((Instant::now() + PAUSE, reason.clone()));
                Err(reason)
            }
        }
    }

    /// Shows the server that we are there, and us that it is. With nothing under way, a loss
    /// costs nothing.
    async fn look_after(&mut self) {
        let Some(link) = &mut self.link else { return };
        self.used = Instant::now();
        if let Err(broken) = link.delete(&[&self.site.nothing]).await {
            tracing::info!(domain = self.domain, %broken, "an idle connection was lost");
            self.link = None;
        }
    }
}
