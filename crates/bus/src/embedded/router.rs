//! The router: gives each envelope to the service or the worker that it is for, and never waits
//! for either. Its own errors are those of OpenSRF's router: always for trace 1, without xid.
//! An envelope for a worker that is gone vanishes, as it does on Redis.

use std::collections::HashMap;
use std::sync::Arc;

use slackwater_core::osrf::envelope::{Address, Incoming, Outgoing, Recipient, Refusal};
use slackwater_core::osrf::json::Json;
use slackwater_core::osrf::quote::quote;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::port::{EmbeddedPort, Mailboxes};
use crate::Event;
use crate::sender::{Queue, Queued};
use crate::services::Service;
use crate::turns::{BULK, Turns};
use crate::worker::message::{self, Kind};
use crate::worker::text::{self, Head};
use crate::worker::{self, Gone, SessionLimits};

/// The name by which the router itself can be asked.
const ROUTER: &str = "router";
/// The one thing that it can be asked.
const CLASS_LIST: &str = "opensrf.router.info.class.list";
/// What a listener says that has no worker left, in OpenSRF's words.
const BUSY: &str = "Service unavailable: no available children and backlog queue at limit";
/// Numbers of workers are above this.
const WORKERS: u64 = 1_000;

pub(super) struct Router {
    /// By name; in the order of their registration, for those who ask.
    listeners: HashMap<&'static str, Listener>,
    names: Vec<&'static str>,
    address: Address,
    mark: u64,
    limits: SessionLimits,
    workers_started: u64,
    mailboxes: Arc<Mailboxes>,
    events: mpsc::Sender<Event>,
}

/// A service that the router knows.
struct Listener {
    service: Arc<dyn Service>,
    address: Address,
    /// One permit for each worker that may be running.
    workers: Arc<Semaphore>,
}

impl Router {
    pub(super) fn new(
        services: Vec<Arc<dyn Service>>,
        max_running: usize,
        limits: SessionLimits,
        mark: u64,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let most = max_running.clamp(1, Semaphore::MAX_PERMITS);
        let names = services.iter().map(|service| service.name()).collect();
        let listeners = services.into_iter().zip(1..).map(|(service, number)| {
            let address = service_address(number, mark);
            (service.name(), Listener { service, address, workers: Arc::new(Semaphore::new(most)) })
        });
        Self {
            listeners: listeners.collect(),
            names,
            address: format!("opensrf:client:router:public.localhost:embedded:0:{mark:016x}"),
            mark,
            limits,
            workers_started: 0,
            mailboxes: Arc::default(),
            events,
        }
    }

    /// Routes until nobody can send any more, or nobody reads the answers.
    pub(super) async fn run(mut self, mut queue: Queue) {
        loop {
            let queued = tokio::select! {
                queued = queue.next() => queued,
                () = self.events.closed() => None,
            };
            let Some(queued) = queued else { return };
            if let Err(Gone) = self.route(queued).await {
                return;
            }
        }
    }

    async fn route(&mut self, queued: Queued) -> Result<(), Gone> {
        match &queued.envelope.to {
            Recipient::Worker(address) => {
                let Some(mailbox) = self.mailboxes.find(address) else {
                    tracing::debug!(address, "nobody has this address (any more)");
                    return Ok(());
                };
                let Err(TrySendError::Full(queued)) = mailbox.try_send(queued) else {
                    return Ok(());
                };
                let why = Refusal::NotTaken("too many envelopes wait for this worker".to_owned());
                let event = Event::Refused { envelope: queued.envelope, why };
                self.events.send(event).await.map_err(|_| Gone)
            }
            Recipient::Service(name) if name == ROUTER => self.answer(&queued.envelope).await,
            Recipient::Service(name) => match self.listeners.get(name.as_str()) {
                Some(listener) => match Arc::clone(&listener.workers).try_acquire_owned() {
                    Ok(slot) => {
                        let service = Arc::clone(&listener.service);
                        self.start_worker(service, slot, queued);
                        Ok(())
                    }
                    Err(_) => {
                        let message = Head::new(1, "en-US").method_exception(503, BUSY);
                        let xid = Some(queued.envelope.xid);
                        self.send(&listener.address, queued.envelope.thread, xid, &message).await
                    }
                },
                None => {
                    let message = Head::new(1, "en-US").service_exception(404, "Service Not Found");
                    self.send(&self.address, queued.envelope.thread, None, &message).await
                }
            },
        }
    }

    fn start_worker(
        &mut self,
        service: Arc<dyn Service>,
        slot: OwnedSemaphorePermit,
        queued: Queued,
    ) {
        self.workers_started += 1;
        let address = service_address(WORKERS + self.workers_started, self.mark);
        let (events, limits) = (self.events.clone(), self.limits);
        let mut port = EmbeddedPort::new(address, events.clone(), Arc::clone(&self.mailboxes));
        let worker = async move {
            let delivery = port.take(queued);
            tokio::select! {
                () = worker::serve(&mut port, service.as_ref(), limits, delivery) => {}
                () = events.closed() => {}
            }
            drop(slot);
        };
        tokio::spawn(Turns::after_full(&BULK, worker));
    }

    /// Answers what is asked of the router itself. Each message is an envelope of its own.
    async fn answer(&self, envelope: &Outgoing) -> Result<(), Gone> {
        for message in message::read(&envelope.body) {
            let Kind::Request(request) = &message.kind else { continue };
            let (head, thread) = (message.head(), &envelope.thread);
            if request.as_ref().is_ok_and(|request| request.method == CLASS_LIST) {
                let names: Vec<String> = self.names.iter().map(|name| quote(name)).collect();
                let result = head.router_result(&text::body(&names.join(",")));
                self.send(&self.address, thread.clone(), None, &result).await?;
            }
            self.send(&self.address, thread.clone(), None, &head.complete()).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        from: &Address,
        thread: String,
        xid: Option<String>,
        message: &str,
    ) -> Result<(), Gone> {
        let envelope = Incoming {
            from: from.clone(),
            thread,
            xid,
            body: Json::of_our_making(text::body(message)),
        };
        self.events.send(Event::Received(vec![envelope])).await.map_err(|_| Gone)
    }
}

/// An address in the private domain: those of listeners are numbered from 1, those of workers
/// from [`WORKERS`].
fn service_address(number: u64, mark: u64) -> Address {
    format!("opensrf:client:opensrf:private.localhost:embedded:{number}:{mark:016x}")
}
