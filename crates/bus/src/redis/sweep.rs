//! Deletes the lists of processes that are gone: at once, again after 1, 5 and 15 minutes since a
//! worker may answer late, and at our own end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::address;
use super::journal::Journal;
use super::link::Link;
use super::site::Site;

/// How long after the start the lists are deleted, each time.
const AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(900)];
/// After so long, no worker answers any more.
const LATEST: Duration = Duration::from_secs(900);
/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// The task that sweeps.
#[derive(Debug)]
pub(super) struct Sweeper {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Sweeper {
    /// Sweeps what the dead have left: those that the journal has taken over, or if there is a
    /// `wait`, those that are there after it.
    pub(super) fn start(site: Arc<Site>, journal: Journal, wait: Duration) -> Self {
        let (end, ending) = oneshot::channel();
        Self { end, task: tokio::spawn(sweep(site, journal, wait, ending)) }
    }

    /// Sweeps a last time, and lets go of the journal.
    pub(super) async fn finish(self) {
        drop(self.end);
        if self.task.await.is_err() {
            tracing::error!("the sweeper of bus addresses has failed");
        }
    }
}

async fn sweep(
    site: Arc<Site>,
    mut journal: Journal,
    wait: Duration,
    mut ending: oneshot::Receiver<()>,
) {
    if !wait.is_zero() {
        if timeout(wait, &mut ending).await.is_ok() {
            return;
        }
        if let Err(error) = journal.adopt() {
            tracing::warn!(%error, "the lists of processes that are gone are not known");
        }
    }
    let (start, dead) = (Instant::now(), journal.of_the_dead());
    for after in AFTER {
        if timeout_at(start + after, &mut ending).await.is_ok() {
            delete(&site, &dead).await;
            return journal.forget_the_dead(SystemTime::now() - LATEST);
        }
        delete(&site, &dead).await;
    }
    journal.forget_the_dead(SystemTime::now());
    // Fails when the other end is dropped, which is how it says that the end has come.
    ending.await.unwrap_or_default();
    delete(&site, &dead).await;
}

async fn delete(site: &Site, lists: &[String]) {
    let mut by_domain: HashMap<&str, Vec<&str>> = HashMap::new();
    for list in lists {
        by_domain.entry(address::domain_of(list).unwrap_or_default()).or_default().push(list);
    }
    for (domain, lists) in by_domain {
        let endpoint = site.endpoint_of(domain);
        let deleted = match Link::open(&endpoint, &site.account, PATIENCE).await {
            Ok(mut link) => link.delete(&lists).await.map_err(|broken| broken.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = deleted {
            let count = lists.len();
            tracing::warn!(domain, count, reason, "lists of processes that are gone stay in Redis");
        }
    }
}
