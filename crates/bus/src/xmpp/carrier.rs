//! The bus's life: it writes what the gateway sends to its streams, and when one is lost, gives back
//! what is certainly unsent, says that the bus is lost, and gets it back. A conversation keeps to
//! one stream, so that its order is kept and its answers come to one address.
//!
//! Law: an envelope is sent at most once. What is not certainly unsent when a stream is lost is
//! covered by [`Event::Lost`], which comes after every [`Event::Refused`] of that moment.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use slackwater_core::osrf::envelope::{Outgoing, Refusal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::SERVER;
use super::lane::Lane;
use super::site::Site;
use super::stream::Stream;
use crate::recovery::{Rejoin, recover, refuse};
use crate::sender::{Queue, Queued};
use crate::{Error, Event};

/// How long one attempt to connect may take when the bus is joined.
const JOINING: Duration = Duration::from_secs(5);
/// The same when it is lost. A server that has just started listens before it answers, and may never
/// answer who came so early: better to come again soon, but later and later, if it is only slow.
const REJOINING: Duration = Duration::from_millis(500);
/// How often it is looked whether the server is there.
const LOOK: Duration = Duration::from_millis(250);
/// How long the orderly end may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// About the most bytes that are taken from the queue at once.
const BATCH: usize = 4 << 20;

/// All streams, or none.
pub(super) struct Lanes {
    all: Vec<Lane>,
    /// How long the next attempt to get the bus back may take.
    patience: Duration,
    /// Stanzas so far.
    numbers: u64,
}

impl Lanes {
    /// Joins the bus.
    pub(super) async fn join(
        site: &Arc<Site>,
        events: &mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let mut lanes = Self { all: Vec::new(), patience: REJOINING, numbers: 0 };
        lanes.open(site, events, JOINING).await?;
        Ok(lanes)
    }

    async fn open(
        &mut self,
        site: &Arc<Site>,
        events: &mpsc::Sender<Event>,
        patience: Duration,
    ) -> Result<(), Error> {
        let mut opening = JoinSet::new();
        for account in &site.accounts {
            let (site, account) = (Arc::clone(site), account.clone());
            opening.spawn(async move { Stream::open(&site, &account, patience).await });
        }
        let mut lanes = Vec::with_capacity(site.accounts.len());
        while let Some(opened) = opening.join_next().await {
            let stream =
                opened.map_err(|error| Error::failed(SERVER, &site.endpoint, &error))??;
            tracing::debug!(address = stream.address, "joined");
            lanes.push(Lane::new(stream, events.clone()));
        }
        self.all = lanes;
        Ok(())
    }

    fn hand(&mut self, queued: Queued) {
        let mut hash = DefaultHasher::new();
        queued.envelope.thread.hash(&mut hash);
        let place = hash.finish() % self.all.len().max(1) as u64;
        if let Some(lane) = self.all.get_mut(place as usize) {
            lane.push(queued);
        }
    }

    /// Writes what waits, all of it if the servers take it. What may not be sent is given back.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        site: &Site,
    ) -> Poll<io::Result<Vec<(Outgoing, Refusal)>>> {
        let (mut refused, mut is_pending) = (Vec::new(), false);
        for lane in &mut self.all {
            match lane.poll_write(context, site, &mut self.numbers, &mut refused) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => is_pending = true,
            }
        }
        if is_pending && refused.is_empty() { Poll::Pending } else { Poll::Ready(Ok(refused)) }
    }

    /// Writes what waits, and comes back with what may not be sent, or why the bus is lost.
    async fn work(&mut self, site: &Site) -> Result<Vec<(Outgoing, Refusal)>, String> {
        std::future::poll_fn(|context| {
            for lane in &mut self.all {
                if let Poll::Ready(reason) = lane.poll_stopped(context) {
                    return Poll::Ready(Err(reason));
                }
            }
            match self.poll_write(context, site) {
                Poll::Ready(Ok(refused)) if !refused.is_empty() => Poll::Ready(Ok(refused)),
                Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(crate::error::in_one_line(&error))),
            }
        })
        .await
    }

    /// Writes all that waits.
    async fn finish(&mut self, site: &Site, events: &mpsc::Sender<Event>) -> io::Result<()> {
        loop {
            let refused = std::future::poll_fn(|context| self.poll_write(context, site)).await?;
            if refused.is_empty() {
                return Ok(());
            }
            give_back(events, refused).await;
        }
    }

    fn look(&mut self, site: &Site) -> Result<(), String> {
        let now = Instant::now();
        self.all.iter_mut().try_for_each(|lane| lane.look(site, now))
    }
}

impl Rejoin for Lanes {
    type Site = Site;

    async fn rejoin(
        &mut self,
        site: &Arc<Site>,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), String> {
        let opened = self.open(site, events, self.patience).await;
        self.patience = match &opened {
            Err(Error::NoAnswer { .. }) => JOINING.min(self.patience * 3 / 2),
            Ok(()) | Err(_) => REJOINING,
        };
        opened.map_err(|error| error.to_string())
    }
}

/// A bus that has been joined.
pub(super) struct Carrier {
    pub(super) site: Arc<Site>,
    pub(super) lanes: Lanes,
    pub(super) queue: Queue,
    pub(super) events: mpsc::Sender<Event>,
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
            let unsent: Vec<Queued> = self.lanes.all.iter_mut().flat_map(Lane::unsent).collect();
            // With one stream go the others: a conversation must not go on where another, that it
            // belongs to, does not.
            self.lanes.all.clear();
            for queued in unsent {
                let why = Refusal::NotTaken(reason.clone());
                refuse(&self.events, &queued.envelope, &why).await;
            }
            let Self { site, lanes, queue, events } = &mut self;
            if !recover(lanes, site, queue, events, reason).await {
                break;
            }
        }
        self.finish().await;
    }

    async fn carry(&mut self) -> Pause {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Self { site, lanes, queue, events } = &mut *self;
            let refused = tokio::select! {
                () = events.closed() => return Pause::End,
                refused = lanes.work(site) => refused,
                batch = queue.batch(BATCH) => {
                    let Some(batch) = batch else { return Pause::End };
                    batch.into_iter().for_each(|queued| lanes.hand(queued));
                    continue;
                }
                _ = look.tick() => lanes.look(site).map(|()| Vec::new()),
            };
            match refused {
                Ok(refused) => give_back(events, refused).await,
                Err(reason) => return Pause::Lost(reason),
            }
        }
    }

    /// The orderly end: all is sent, and what had come for us by then is read.
    async fn finish(self) {
        let Self { site, mut lanes, queue, events } = self;
        let farewell = async {
            lanes.finish(&site, &events).await?;
            if !events.is_closed() {
                let now = Instant::now();
                lanes.all.iter_mut().for_each(|lane| lane.ping(&site, now));
                lanes.finish(&site, &events).await?;
                for lane in &mut lanes.all {
                    lane.answered().await;
                }
            }
            lanes.all.iter_mut().for_each(|lane| lane.say("</stream:stream>"));
            lanes.finish(&site, &events).await
        };
        match timeout(FAREWELL, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the bus was lost at the end"),
            Err(_) => tracing::warn!("what may have come last from the bus was not read"),
        }
        drop(queue);
    }
}

async fn give_back(events: &mpsc::Sender<Event>, refused: Vec<(Outgoing, Refusal)>) {
    for (envelope, why) in refused {
        refuse(events, &envelope, &why).await;
    }
}
