//! The bus's life: it pushes what the gateway sends, and when a connection is lost, gives back
//! what is certainly unsent, says that the bus is lost, and gets it back.
//!
//! Law: an envelope is pushed at most once. What is not certainly unsent when a connection is
//! lost is covered by [`Event::Lost`], which comes after every [`Event::Refused`] of that moment.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use slackwater_core::osrf::envelope::Refusal;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};

use super::SERVER;
use super::lanes::Lanes;
use super::link::{Broken, Link};
use super::post::{BATCH_BYTES, Post};
use super::reader::{LAST, MOST_WAITS, Reader, Stopped};
use super::site::{Site, Way};
use super::sweep::Sweeper;
use crate::inbox::{INBOXES, Inboxes};
use crate::recovery::{Rejoin, recover, refuse};
use crate::sender::{Queue, Queued};
use crate::{Error, Event};

/// How long one attempt to connect may take when the bus is joined, and when it is lost.
const JOINING: Duration = Duration::from_secs(5);
const REJOINING: Duration = Duration::from_secs(2);
/// How long a message to ourselves may be on its way.
const ROUND_TRIP: Duration = Duration::from_secs(3);
/// An idle connection is looked after so often.
const IDLE: Duration = Duration::from_secs(10);

/// The connections to our own domain, as far as they are there: one for what goes out, and one for
/// each of our inboxes.
pub(super) struct Links {
    inboxes: Arc<Inboxes>,
    outbound: Option<Post>,
    readers: Readers,
    /// Messages to ourselves so far.
    numbers: u64,
}

/// The readers, each at the place of its inbox.
#[derive(Debug, Default)]
struct Readers([Option<Reader>; INBOXES]);

impl Readers {
    /// Starts those that are missing or have stopped.
    async fn open(
        &mut self,
        site: &Arc<Site>,
        inboxes: &Arc<Inboxes>,
        events: &mpsc::Sender<Event>,
        patience: Duration,
    ) -> Result<(), Error> {
        for (place, reader) in self.0.iter_mut().enumerate() {
            if reader.as_ref().is_none_or(Reader::has_stopped) {
                let link = Link::open(&site.endpoint, &site.account, patience).await?;
                let (site, inboxes) = (Arc::clone(site), Arc::clone(inboxes));
                *reader = Some(Reader::start(link, place, site, inboxes, events.clone()));
            }
        }
        Ok(())
    }

    /// Waits for the end of any, and says why it came. All are of no use after that.
    async fn stopped(&mut self) -> Broken {
        let broken = poll_fn(|context| {
            if self.0.iter().all(Option::is_none) {
                return Poll::Ready(missing());
            }
            let mut readers = self.0.iter_mut().flatten();
            let stopped = readers.find_map(|reader| match reader.poll_stopped(context) {
                Poll::Ready(stopped) => Some(stopped.into()),
                Poll::Pending => None,
            });
            stopped.map_or(Poll::Pending, Poll::Ready)
        });
        let broken = broken.await;
        *self = Self::default();
        broken
    }

    /// Waits until all have ended; whether each has read its list dry.
    async fn dry(&mut self) -> bool {
        let mut all = true;
        for reader in self.0.iter_mut().flatten() {
            all &= reader.stopped().await == Stopped::Dry;
        }
        all
    }
}

impl Links {
    /// Joins the bus, and proves that what is pushed to our first list is read.
    pub(super) async fn join(
        site: &Arc<Site>,
        inboxes: &Arc<Inboxes>,
        events: &mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let inboxes = Arc::clone(inboxes);
        let readers = Readers::default();
        let mut links = Self { inboxes, outbound: None, readers, numbers: 0 };
        links.open(site, events, JOINING).await?;
        let Err(broken) = links.prove(site, events).await else { return Ok(links) };
        if let Some(post) = &mut links.outbound
            && let Err(broken) = post.delete(&site.inboxes, events).await
        {
            tracing::debug!(%broken, "our lists may stay in Redis until the next start");
        }
        let (place, user) = (site.endpoint.to_string(), site.account.user.clone());
        Err(match broken {
            Broken::Denied(said) => Error::Rights { place, user, said },
            Broken::Lost(reason) => Error::Connection { server: SERVER, place, reason },
        })
    }

    async fn open(
        &mut self,
        site: &Arc<Site>,
        events: &mpsc::Sender<Event>,
        patience: Duration,
    ) -> Result<(), Error> {
        self.readers.open(site, &self.inboxes, events, patience).await?;
        if self.outbound.is_none() {
            self.outbound = Some(Post::open(&site.endpoint, &site.account, patience).await?);
        }
        Ok(())
    }

    /// Sends a message to ourselves and waits until the reader has seen it.
    async fn prove(&mut self, site: &Site, events: &mpsc::Sender<Event>) -> Result<(), Broken> {
        self.numbers += 1;
        let number = self.numbers;
        self.post_to_ourselves(site, &site.inboxes[0], number).await?;
        let Some(reader) = &mut self.readers.0[0] else { return Err(missing()) };
        let seen = tokio::select! {
            seen = timeout(ROUND_TRIP, reader.sees(number)) => seen,
            Err(broken) = Post::room(&mut self.outbound, events) => {
                self.outbound = None;
                return Err(broken);
            }
        };
        match seen {
            Ok(true) => Ok(()),
            Ok(false) => {
                let stopped = reader.stopped().await;
                self.readers = Readers::default();
                Err(stopped.into())
            }
            Err(_) => Err(Broken::Lost("a message to ourselves does not arrive".to_owned())),
        }
    }

    /// Ends all waits.
    async fn post_last(&mut self, site: &Site) -> Result<(), Broken> {
        for list in &site.inboxes {
            for _ in 0..MOST_WAITS {
                self.post_to_ourselves(site, list, LAST).await?;
            }
        }
        Ok(())
    }

    async fn post_to_ourselves(
        &mut self,
        site: &Site,
        list: &str,
        number: u64,
    ) -> Result<(), Broken> {
        let Some(post) = &mut self.outbound else { return Err(missing()) };
        let posted = post.push_text(list, &format!("{}{number}", site.mark)).await;
        if posted.is_err() {
            self.outbound = None;
        }
        posted
    }
}

impl Rejoin for Links {
    type Site = Site;

    async fn rejoin(
        &mut self,
        site: &Arc<Site>,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), String> {
        self.open(site, events, REJOINING).await.map_err(|error| error.to_string())?;
        self.prove(site, events).await.map_err(|broken| broken.to_string())
    }
}

fn missing() -> Broken {
    Broken::Lost("there is no connection".to_owned())
}

/// A bus that has been joined.
pub(super) struct Carrier {
    pub(super) site: Arc<Site>,
    pub(super) links: Links,
    pub(super) lanes: Lanes,
    pub(super) queue: Queue,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) sweeper: Sweeper,
}

/// Why nothing is carried just now.
enum Pause {
    /// Nobody sends any more, or nobody listens.
    End,
    /// The bus is lost.
    Lost(String),
}

impl Carrier {
    /// Carries until nobody can send any more, or nobody takes events.
    pub(super) async fn run(mut self) {
        while let Pause::Lost(reason) = self.carry().await {
            let Self { site, links, queue, events, .. } = &mut self;
            if !recover(links, site, queue, events, reason).await {
                break;
            }
        }
        self.finish().await;
    }

    async fn carry(&mut self) -> Pause {
        let mut idle = interval_at(Instant::now() + IDLE, IDLE);
        let mut used = false;
        loop {
            let Self { links: Links { outbound, readers, .. }, queue, events, .. } = &mut *self;
            let has_room = outbound.as_ref().is_none_or(Post::has_room);
            let batch = tokio::select! {
                // Whatever waits is sent first: the answers that are there are read with it.
                biased;
                () = events.closed() => return Pause::End,
                broken = readers.stopped() => {
                    // The other connections have the same fate, whether they know it already or not.
                    *outbound = None;
                    return Pause::Lost(broken.to_string());
                }
                batch = queue.batch(BATCH_BYTES), if has_room => batch,
                room = Post::room(outbound, events) => {
                    let Err(broken) = room else { continue };
                    *outbound = None;
                    return Pause::Lost(broken.to_string());
                }
                _ = idle.tick() => {
                    if std::mem::take(&mut used) {
                        continue;
                    }
                    Some(Vec::new())
                }
            };
            let Some(batch) = batch else { return Pause::End };
            used = !batch.is_empty();
            if let Err(broken) = self.send(batch).await {
                self.links.outbound = None;
                return Pause::Lost(broken.to_string());
            }
        }
    }

    /// Sends a batch on its way; of an empty one, looks after the connection.
    async fn send(&mut self, batch: Vec<Queued>) -> Result<(), Broken> {
        let idle = batch.is_empty();
        let mut own = Vec::with_capacity(batch.len());
        for queued in batch {
            let refused = match self.site.way(&queued.envelope) {
                Ok(Way::Own) => {
                    own.push(queued);
                    continue;
                }
                Ok(Way::Domain(domain)) => {
                    let domain = domain.to_owned();
                    self.lanes.hand(&domain, queued)
                }
                Err(reason) => Some((queued, reason)),
            };
            if let Some((queued, reason)) = refused {
                refuse(&self.events, &queued.envelope, &Refusal::NotTaken(reason.clone())).await;
            }
        }
        let Links { outbound: Some(post), readers, .. } = &mut self.links else {
            return Err(missing());
        };
        if let Err(broken) = post.look(&self.events).await {
            for queued in &own {
                refuse(&self.events, &queued.envelope, &Refusal::NotTaken(broken.to_string()))
                    .await;
            }
            return Err(broken);
        }
        let pushing = async {
            if idle {
                post.show(&self.site.nothing).await
            } else {
                post.push(&self.site, own, &self.events).await
            }
        };
        // A reader that stops has the events closed or the connection lost; waiting for a server
        // that takes nothing would only hold up the news.
        tokio::select! {
            pushed = pushing => pushed,
            broken = readers.stopped() => Err(broken),
        }
    }

    /// The orderly end: all is sent, our lists are read dry and deleted last.
    async fn finish(self) {
        let Self { site, mut links, lanes, queue, events, sweeper } = self;
        lanes.finish(ROUND_TRIP).await;
        if !events.is_closed()
            && links.post_last(&site).await.is_ok()
            && !timeout(ROUND_TRIP, links.readers.dry()).await.is_ok_and(|dry| dry)
        {
            tracing::warn!("what may have come last from the bus was not read");
        }
        let Links { mut outbound, readers, .. } = links;
        drop(readers);
        if outbound.is_none() {
            outbound = Post::open(&site.endpoint, &site.account, REJOINING).await.ok();
        }
        let deleted = match &mut outbound {
            Some(post) => post.delete(&site.inboxes, &events).await,
            None => Err(missing()),
        };
        if let Err(broken) = deleted {
            tracing::warn!(address = site.inboxes[0], %broken, "our lists stay in Redis until the next start");
        }
        sweeper.finish().await;
        drop(queue);
    }
}
