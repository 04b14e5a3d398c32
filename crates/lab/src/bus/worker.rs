//! The embedded services as real OpenSRF services: a listener for each service, which registers with
//! a router, and a worker for each envelope that comes. The workers of a process share one address; conversations are told apart by who asks and in which thread.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slackwater_bus::services::{self, Service};
use slackwater_bus::worker::{self, Asker, Delivery, Gone, Port, SessionLimits};
use slackwater_bus::xmpp::Encryption;
use slackwater_bus::{Bus, Endpoint, Error, Event, QueueLimits, Sender};
use slackwater_core::osrf::envelope::{Outgoing, Recipient, Refusal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::Running;
use super::account::{Account, Kind};
use super::ear::Ear;

/// Envelopes that may wait for a worker in a session.
const WAITING: usize = 1_024;
/// How long an answer waits that the bus did not take.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a full bus is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Streams by which the workers of a process answer on XMPP: in production, each has its own.
const STREAMS: usize = 4;
/// The largest stanza that XMPP servers take, bytes (OPENSRF-XMPP §7).
const STANZA: usize = 262_144;

/// How services serve, and who is told of them.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the routers.
    pub router_name: String,
    /// The domains of the routers that are told.
    pub router_domains: Vec<String>,
    /// Bounds of a session.
    pub limits: SessionLimits,
    /// Workers that a service has at one time; whoever comes later waits. At least 1.
    pub max_workers: usize,
}

/// Starts the demo services in the domain of the account, and registers them with the routers.
///
/// # Errors
/// The bus cannot be joined.
pub async fn start(account: Account, options: Options) -> Result<Running, Error> {
    let Options { router_name, router_domains, limits, max_workers } = options;
    let journal = tempfile::tempdir()
        .map_err(|source| Error::StateDirectory { path: std::env::temp_dir(), source })?;
    let bus = join(&account, &router_name, journal.path()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let sessions = Arc::<Sessions>::default();
    let mut listeners = JoinSet::new();
    for service in services::all() {
        let listener = Listener {
            ear: Ear::new(
                account.clone(),
                service.name().to_owned(),
                router_name.clone(),
                router_domains.clone(),
            ),
            service,
            limits,
            max_workers: u32::try_from(max_workers).unwrap_or(u32::MAX),
            bus: bus.sender.clone(),
            sessions: Arc::clone(&sessions),
        };
        listeners.spawn(listener.run(Arc::clone(&stop)));
    }
    let (sender, mut events) = (bus.sender, bus.events);
    let again = Again { sessions: Arc::clone(&sessions), bus: sender.clone() };
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if sessions.hear(event) {
                tokio::spawn(again.clone().send_all());
            }
        }
    });
    let task = tokio::spawn(async move {
        while listeners.join_next().await.is_some() {}
        sender.close().await;
        drop(journal);
    });
    Ok(Running { stop, task })
}

/// One service's listener.
struct Listener {
    service: Arc<dyn Service>,
    ear: Ear,
    limits: SessionLimits,
    max_workers: u32,
    bus: Sender,
    sessions: Arc<Sessions>,
}

impl Listener {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        let workers = Arc::new(Semaphore::new(self.max_workers as usize));
        self.ear.register().await;
        while let Some(delivery) = self.ear.next(&stop).await {
            let Ok(slot) = Arc::clone(&workers).acquire_owned().await else { break };
            let mut port = BusPort {
                asker: delivery.asker.clone(),
                bus: self.bus.clone(),
                sessions: Arc::clone(&self.sessions),
                mailbox: None,
            };
            let (service, limits) = (Arc::clone(&self.service), self.limits);
            tokio::spawn(async move {
                worker::serve(&mut port, service.as_ref(), limits, delivery).await;
                drop(slot);
            });
        }
        self.ear.unregister().await;
        // Those that are at work still have something to say.
        drop(tokio::time::timeout(PATIENCE, workers.acquire_many(self.max_workers)).await);
    }
}

/// Joins the bus by which workers answer.
async fn join(account: &Account, router_name: &str, journal: &Path) -> Result<Bus, Error> {
    let Account { user, password, domain, host, port, .. } = account.clone();
    let endpoint = Endpoint::Tcp { host, port };
    let router_name = router_name.to_owned();
    match account.bus {
        Kind::Redis => {
            slackwater_bus::redis::connect(slackwater_bus::redis::Options {
                endpoint,
                username: user,
                password: Some(password),
                domain,
                router_name,
                max_message_size: usize::MAX,
                size_warning: None,
                state_directory: journal.to_owned(),
                sweeps_after: Duration::ZERO,
                queue: QueueLimits::default(),
            })
            .await
        }
        Kind::Xmpp => {
            slackwater_bus::xmpp::connect(slackwater_bus::xmpp::Options {
                endpoint,
                username: user,
                password: Some(password),
                domain,
                router_name,
                resource: "drone".to_owned(),
                encryption: Encryption::Off,
                authorities: None,
                streams: STREAMS,
                max_stanza_size: STANZA,
                size_warning: None,
                queue: QueueLimits::default(),
            })
            .await
        }
    }
}

/// What the workers of a process share.
#[derive(Debug, Default)]
struct Sessions {
    /// The mailboxes of those that are in a session, by who asks and in which thread.
    mailboxes: Mutex<HashMap<(String, String), mpsc::Sender<Delivery>>>,
    /// Answers that the bus did not take, in their order. While there are any, the others wait,
    /// so that a row of results stays a row.
    refused: Mutex<Vec<Outgoing>>,
    waits: watch::Sender<bool>,
}

/// Sends what was refused again, until all of it has gone.
#[derive(Debug, Clone)]
struct Again {
    sessions: Arc<Sessions>,
    bus: Sender,
}

impl Again {
    async fn send_all(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let refused = {
                let mut refused = self.sessions.refused();
                if refused.is_empty() {
                    self.sessions.waits.send_replace(false);
                    return;
                }
                std::mem::take(&mut *refused)
            };
            for answer in refused {
                if self.bus.send(answer).is_err() {
                    tracing::warn!("an answer was given up");
                }
            }
        }
    }
}

impl Sessions {
    /// Whether the first of some answers was refused.
    fn hear(&self, event: Event) -> bool {
        match event {
            Event::Received(envelopes) => {
                for envelope in envelopes {
                    let key = (envelope.from, envelope.thread);
                    let mailbox = self.lock().get(&key).cloned();
                    let (address, thread) = key;
                    let asker = Asker { address, thread, xid: envelope.xid };
                    let delivery = Delivery { asker, body: envelope.body.to_string() };
                    if mailbox.is_none_or(|mailbox| mailbox.try_send(delivery).is_err()) {
                        tracing::debug!("an envelope for a session that is over");
                    }
                }
            }
            Event::Refused { envelope, why: why @ Refusal::TooLarge { .. } } => {
                tracing::warn!(%why, xid = envelope.xid, "an answer is lost");
            }
            Event::Bounced(bounce) => {
                tracing::debug!(reason = bounce.reason, "whoever asked is gone");
            }
            Event::Refused { envelope, why: Refusal::NotTaken(reason) } => {
                tracing::debug!(reason, "an answer has to wait");
                let mut refused = self.refused();
                refused.push(envelope);
                return !self.waits.send_replace(true);
            }
            Event::Uncertain { reason, .. } => tracing::warn!(reason, "an answer may be lost"),
            Event::Lost { reason } => tracing::warn!(reason, "bus lost"),
            Event::Restored => tracing::info!("bus restored"),
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), mpsc::Sender<Delivery>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, Vec<Outgoing>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's port.
struct BusPort {
    /// Who the first envelope came from.
    asker: Asker,
    bus: Sender,
    sessions: Arc<Sessions>,
    mailbox: Option<mpsc::Receiver<Delivery>>,
}

impl BusPort {
    fn key(&self) -> (String, String) {
        (self.asker.address.clone(), self.asker.thread.clone())
    }
}

impl Port for BusPort {
    fn bind(&mut self) {
        if self.mailbox.is_none() {
            let (sender, mailbox) = mpsc::channel(WAITING);
            self.sessions.lock().insert(self.key(), sender);
            self.mailbox = Some(mailbox);
        }
    }

    async fn send(&mut self, asker: &Asker, body: String) -> Result<(), Gone> {
        let to = Recipient::Worker(asker.address.clone());
        let (thread, xid) = (asker.thread.clone(), asker.xid.clone().unwrap_or_default());
        let mut envelope = Outgoing { to, thread, xid, body };
        // Fails only when the sender is gone, which we hold.
        self.sessions.waits.subscribe().wait_for(|waits| !waits).await.map_err(|_| Gone)?;
        let began = tokio::time::Instant::now();
        while let Err(back) = self.bus.send(envelope) {
            if began.elapsed() > PATIENCE {
                return Err(Gone);
            }
            envelope = back;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Option<Delivery> {
        self.mailbox.as_mut()?.recv().await
    }
}

impl Drop for BusPort {
    fn drop(&mut self) {
        let key = self.key();
        if self.mailbox.take().is_some() {
            let mut sessions = self.sessions.lock();
            // Another worker may be in this conversation by now.
            if sessions.get(&key).is_some_and(mpsc::Sender::is_closed) {
                sessions.remove(&key);
            }
        }
    }
}
