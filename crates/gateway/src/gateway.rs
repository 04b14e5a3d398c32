//! The running gateway: where clients, bus, listeners and operator meet. It feeds the one drain
//! of the process and does what that says; what it does to others never waits.

mod configuration;
mod operations;
mod place;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::StatusCode;
use slackwater_bus::Event as BusEvent;
use slackwater_core::drain::{Drain, Input, Output, Verdict};
use slackwater_core::event::Event;
use slackwater_core::seldom::Seldom;
use slackwater_core::session::{self, FromBus};
use tokio::sync::{Notify, mpsc, oneshot, watch};

pub use self::configuration::Configuration;
pub use self::place::Place;
pub use crate::books::Behind;
use crate::books::{Books, Fixed, shown};
use crate::clock::now;
use crate::config::parts;
use crate::front::{self, Then};
use crate::hub::Hub;
use crate::mailbox::Letter;
use crate::operate::status::Phase;
use crate::operate::systemd;

/// One gateway.
pub struct Gateway {
    configuration: Configuration,
    hub: Hub,
    /// The number of the next connection, given once.
    numbers: AtomicU64,
    books: Mutex<Books>,
    bytes: Bytes,
    fixed: OnceLock<Fixed>,
    orders: mpsc::UnboundedSender<Order>,
    phase: watch::Sender<Phase>,
    /// The drain's next timeout may have changed.
    rearm: Notify,
    exit: watch::Sender<Option<Verdict>>,
}

/// Bytes that have passed to and from clients, counted without a lock.
#[derive(Debug, Default)]
struct Bytes {
    received: AtomicU64,
    sent: AtomicU64,
}

/// What one gateway takes on, and what it says when it takes no more.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Clients at a time.
    pub connections: usize,
    /// Bytes that may wait for one client.
    pub queued_bytes: usize,
    /// Bytes that may wait for all of them.
    pub total_queued_bytes: usize,
    /// The answer of `/readyz` during a drain.
    pub drain_status: StatusCode,
}

/// What the listeners are to do; carried out one after the other.
#[derive(Debug)]
pub enum Order {
    /// Refuse new clients, and say so with [`Gateway::refused`] and this number.
    Refuse(u64, Then),
    /// The process is to end after all: leave inherited sockets to a successor.
    Leave,
    /// Accept again.
    Serve,
    /// Let clients in by these from now on.
    Configure(Box<front::Settings>),
    /// Say when everything before this is done.
    Report(oneshot::Sender<()>),
}

impl Gateway {
    /// A gateway that serves, over a bus or without one. What it wants of its listeners comes out of the second value.
    pub fn new(
        configuration: Configuration,
        bus: Option<slackwater_bus::Sender>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Order>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let settings = configuration.settings();
        let sessions = parts::session(&settings);
        let limits = parts::limits(&settings);
        let hub = Hub::new(bus, sessions.rules.ingress.clone(), limits.total_queued_bytes);
        let drain = Drain::new(parts::drain(&settings));
        let books = Books::new(drain, sessions, limits);
        drop(settings);
        let gateway = Self {
            configuration,
            hub,
            numbers: AtomicU64::new(1),
            books: Mutex::new(books),
            bytes: Bytes::default(),
            fixed: OnceLock::new(),
            orders,
            phase: watch::Sender::new(Phase::Serving),
            rearm: Notify::new(),
            exit: watch::Sender::new(None),
        };
        (Arc::new(gateway), receiver)
    }

    /// Says where it listens, whether over TLS, and what stands behind it, for its status.
    pub fn begin(&self, listen: Vec<String>, tls: bool, behind: Behind) {
        self.fixed.get_or_init(|| Fixed { began: now(), behind, listen, tls });
    }

    /// Tells the drain something and does what it says.
    pub fn tell(&self, input: Input) {
        let mut books = self.books();
        self.tell_locked(&mut books, |drain| drain.handle_input(input, now()));
    }

    /// The listeners have carried out [`Order::Refuse`] with this number.
    pub fn refused(&self, order: u64) {
        let mut books = self.books();
        if books.orders == order {
            self.tell_locked(&mut books, |drain| drain.handle_input(Input::Refused, now()));
        }
    }

    /// Feeds the drain its timeouts, for ever.
    pub async fn keep_time(&self) {
        loop {
            let due = self.books().drain.poll_timeout();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.rearm.notified() => {}
                () = sleep => {
                    let mut books = self.books();
                    self.tell_locked(&mut books, |drain| drain.handle_timeout(now()));
                }
            }
        }
    }

    /// The one reader of the bus. Ends when the bus does.
    pub async fn read_bus(&self, mut events: mpsc::Receiver<BusEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                BusEvent::Received(envelopes) => {
                    let mut strays = Vec::new();
                    for envelope in envelopes {
                        if !self.hub.deliver(envelope) {
                            strays.push(Event::Stray);
                        }
                    }
                    if !strays.is_empty() {
                        tracing::debug!(count = strays.len(), "answers that nobody awaits");
                        self.record(&strays);
                    }
                }
                BusEvent::Refused { envelope, why } => {
                    static SELDOM: Seldom = Seldom::new();
                    if let Some(left_out) = SELDOM.again(now()) {
                        let what = "the bus did not take an envelope";
                        tracing::warn!(xid = envelope.xid, reason = %why, left_out, "{what}");
                    }
                    let thread = envelope.thread.clone();
                    self.hub.give_back(&thread, Letter::Bus(FromBus::Refused(envelope, why)));
                }
                BusEvent::Bounced(bounce) => {
                    tracing::debug!(reason = bounce.reason, "an envelope came back");
                    let thread = bounce.thread.clone();
                    self.hub.give_back(&thread, Letter::Bus(FromBus::Bounced(bounce)));
                }
                BusEvent::Uncertain { envelope, reason } => {
                    tracing::warn!(xid = envelope.xid, reason, "an envelope may not have arrived");
                    let thread = envelope.thread.clone();
                    self.hub.give_back(&thread, Letter::Bus(FromBus::Uncertain(envelope)));
                }
                BusEvent::Lost { reason } => {
                    tracing::error!(reason, "bus lost");
                    // Under the lock: a client that joins now sees one state or the other.
                    let mut books = self.books();
                    books.bus_losses += 1;
                    books.bus_lost = Some(reason);
                    self.hub.post_all(|| Letter::Bus(FromBus::Lost));
                }
                BusEvent::Restored => {
                    tracing::info!("bus restored");
                    let mut books = self.books();
                    books.bus_lost = None;
                    self.hub.post_all(|| Letter::Bus(FromBus::Restored));
                }
            }
        }
    }

    /// Waits until the process is to end, and says how the drain went.
    pub async fn exit(&self) -> Verdict {
        let mut exit = self.exit.subscribe();
        loop {
            if let Some(verdict) = *exit.borrow_and_update() {
                return verdict;
            }
            if exit.changed().await.is_err() {
                return Verdict::Clean;
            }
        }
    }

    /// Whether the process ends when it is drained.
    pub(crate) fn is_ending(&self) -> bool {
        self.books().drain.is_final()
    }

    /// What a session that begins now goes by.
    pub(crate) fn sessions(&self) -> Arc<session::Config> {
        Arc::clone(&self.books().sessions)
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Adds bytes that have come from a client, and that its connection has taken.
    pub(crate) fn count_bytes(&self, received: u64, sent: u64) {
        self.bytes.received.fetch_add(received, Ordering::Relaxed);
        self.bytes.sent.fetch_add(sent, Ordering::Relaxed);
    }

    /// Adds events to the sums, all of them at one instant.
    pub(crate) fn record(&self, events: &[Event]) {
        let mut books = self.books();
        for event in events {
            books.counters.add(event);
        }
    }

    fn tell_locked(&self, books: &mut Books, input: impl FnOnce(&mut Drain)) {
        input(&mut books.drain);
        while let Some(output) = books.drain.poll_output() {
            self.obey(books, &output);
        }
        let phase = shown(books.drain.phase());
        self.phase.send_if_modified(|shown| std::mem::replace(shown, phase) != phase);
        self.rearm.notify_one();
    }

    fn obey(&self, books: &mut Books, output: &Output) {
        match output {
            Output::Announce => {
                let connections = books.drain.connections();
                tracing::info!(connections, "draining: not ready for new clients any more");
                if books.drain.is_final() {
                    systemd::stopping();
                }
            }
            Output::Refuse => {
                books.orders += 1;
                let then = if books.drain.is_final() { Then::Leave } else { Then::Stay };
                self.order(Order::Refuse(books.orders, then));
            }
            Output::Leave => {
                systemd::stopping();
                self.order(Order::Leave);
            }
            Output::Serve => {
                tracing::info!("drain called off: serving again");
                books.orders += 1;
                self.order(Order::Serve);
            }
            Output::Ask(id, deadlines) => self.hub.post(*id, Letter::Drain(*deadlines)),
            Output::Recall => self.hub.post_all(|| Letter::Undrain),
            Output::Drained(verdict) => {
                let seconds = books
                    .drain
                    .began()
                    .map(|began| now().saturating_duration_since(began).as_secs_f64());
                match verdict {
                    Verdict::Clean => tracing::info!(seconds, "drained: nothing was cut off"),
                    Verdict::Lost(count) => {
                        tracing::warn!(seconds, count, "drained: the deadline cut something off");
                    }
                }
            }
            Output::Exit(verdict) => {
                self.exit.send_replace(Some(*verdict));
            }
        }
    }

    fn order(&self, order: Order) {
        // Nobody listens to orders any more when the process is ending.
        self.orders.send(order).ok();
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // No code that holds it can panic half-way through a change.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gateway").finish_non_exhaustive()
    }
}

/// Random bits for the order of an ebb; without randomness, some order or other.
pub(crate) fn seed() -> u64 {
    getrandom::u64().unwrap_or_default()
}
