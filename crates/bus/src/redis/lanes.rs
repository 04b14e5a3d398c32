//! The way to the workers of other domains: a connection to each domain's Redis, made on first
//! use, with a task of its own, so that a domain that hangs holds up no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use slackwater_core::osrf::envelope::Refusal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::link::Broken;
use super::post::{BATCH_BYTES, Post};
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
                post: None,
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
    post: Option<Post>,
    /// When something last passed the connection.
    used: Instant,
    /// The domain cannot be reached; until when that is taken to be so, and why.
    closed_until: Option<(Instant, String)>,
}

impl Lane {
    async fn run(mut self, mut waiting: mpsc::Receiver<Queued>) {
        let mut idle = interval(IDLE);
        loop {
            let has_room = self.post.as_ref().is_none_or(Post::has_room);
            let first = tokio::select! {
                biased;
                first = waiting.recv(), if has_room => first,
                room = Post::room(&mut self.post, &self.events) => {
                    if let Err(broken) = room {
                        self.lose(&broken).await;
                    }
                    continue;
                }
                _ = idle.tick() => {
                    if self.used.elapsed() >= IDLE {
                        self.look_after().await;
                    }
                    continue;
                }
            };
            let Some(first) = first else { break };
            let mut bytes = first.room.num_permits();
            let mut batch = vec![first];
            while bytes < BATCH_BYTES
                && let Ok(next) = waiting.try_recv()
            {
                bytes += next.room.num_permits();
                batch.push(next);
            }
            self.push(batch).await;
        }
        if let Some(post) = &mut self.post
            && let Err(broken) = post.settle(&self.events).await
        {
            self.lose(&broken).await;
        }
    }

    /// Pushes a batch, or gives it back.
    async fn push(&mut self, batch: Vec<Queued>) {
        if self.used.elapsed() > DOUBT {
            self.look_after().await;
        } else if let Some(post) = &mut self.post
            && let Err(broken) = post.look(&self.events).await
        {
            self.lose(&broken).await;
        }
        if let Err(reason) = self.open().await {
            for queued in batch {
                refuse(&self.events, &queued.envelope, &Refusal::NotTaken(reason.clone())).await;
            }
            return;
        }
        let Some(post) = &mut self.post else { return };
        self.used = Instant::now();
        if let Err(broken) = post.push(&self.site, batch, &self.events).await {
            self.lose(&broken).await;
        }
    }

    async fn open(&mut self) -> Result<(), String> {
        if self.post.is_some() {
            return Ok(());
        }
        if let Some((until, reason)) = &self.closed_until
            && Instant::now() < *until
        {
            return Err(reason.clone());
        }
        let endpoint = self.site.endpoint_of(&self.domain);
        match Post::open(&endpoint, &self.site.account, PATIENCE).await {
            Ok(post) => {
                self.post = Some(post);
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
        let Some(post) = &mut self.post else { return };
        self.used = Instant::now();
        let looking = async {
            post.show(&self.site.nothing).await?;
            post.settle(&self.events).await
        };
        if let Err(broken) = looking.await {
            self.lose(&broken).await;
        }
    }

    /// The connection is lost. Of what was under way on it, says so.
    async fn lose(&mut self, broken: &Broken) {
        let Some(post) = self.post.take() else { return };
        tracing::info!(domain = self.domain, %broken, "a connection was lost");
        for Queued { envelope, .. } in post.into_unsure() {
            let reason = format!("domain {}: {broken}", self.domain);
            // Nobody may be there to take it, when the bus ends.
            drop(self.events.send(Event::Uncertain { envelope, reason }).await);
        }
    }
}
