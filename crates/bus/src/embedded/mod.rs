//! The embedded bus: a router, listeners and workers inside the process, which behave as
//! OpenSRF's do over Redis, their oddities included: what works with this works with those.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::sender::{self, QueueLimits};
use crate::services::{self, Service};
use crate::worker::SessionLimits;
use crate::{Bus, Event};

mod port;
mod router;

/// Events that the bus may be ahead of the gateway. One event holds one body, which is about
/// 51,200 bytes at most, and twice that if all of its text must be escaped.
const EVENTS_AHEAD: usize = 64;

/// How the embedded bus behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// A session in which nothing arrives for so long is ended with STATUS 408.
    pub keepalive: Duration,
    /// Requests that a session may make; the next one is answered with STATUS 307.
    pub max_requests: u32,
    /// Workers that a service may have at one time, each with one request or one session; past
    /// it, STATUS 503. At least 1.
    pub max_running: usize,
    /// How much the bus takes at one time. Its bytes are held until the worker is done with the
    /// envelope: they bound the memory of all requests under way.
    pub queue: QueueLimits,
    /// The services, under their names.
    pub services: Vec<Arc<dyn Service>>,
}

impl Default for Options {
    /// Keepalive 5 s, 1,000 requests a session, 10,000 workers a service, all services.
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(5),
            max_requests: 1_000,
            max_running: 10_000,
            queue: QueueLimits::default(),
            services: services::all(),
        }
    }
}

/// Starts an embedded bus on the current tokio runtime. It is never [`Event::Lost`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(options: Options) -> Bus {
    let (sender, queue) = sender::queue(options.queue);
    let (event_sender, events) = mpsc::channel::<Event>(EVENTS_AHEAD);
    // Tells this bus's addresses from another's; who could guess them could do nothing with them.
    let mark = RandomState::new().hash_one("slackwater");
    let limits = SessionLimits { keepalive: options.keepalive, max_requests: options.max_requests };
    let router =
        router::Router::new(options.services, options.max_running, limits, mark, event_sender);
    tokio::spawn(router.run(queue));
    Bus { sender, events }
}
