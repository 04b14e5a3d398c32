//! The Redis bus: OpenSRF 4's own. A message is pushed to a list, and whoever the list belongs to
//! pops it. Two connections carry everything for all clients: one pushes, one reads.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::sender::{self, QueueLimits};
use crate::{Bus, Endpoint, Error, Event};
use carrier::{Carrier, Links};
use journal::Journal;
use lanes::Lanes;
use site::Site;
use sweep::Sweeper;

mod address;
mod carrier;
pub mod envelope;
mod journal;
mod lanes;
mod link;
mod post;
mod reader;
mod resp;
mod site;
mod sweep;

/// What errors call the server.
const SERVER: &str = "Redis";
/// Events that the bus may be ahead of the gateway; one holds about 1 MiB at most, or one message.
const EVENTS_AHEAD: usize = 4;

/// Which bus, who we are there, and how much of it we take.
#[derive(Clone)]
pub struct Options {
    /// The Redis server of our own domain.
    pub endpoint: Endpoint,
    /// The user (an ACL user, and a part of our address).
    pub username: String,
    /// The password; without one, nobody logs in.
    pub password: Option<String>,
    /// Our own domain: the name by which others know the host of our server.
    pub domain: String,
    /// The router that requests to a service go to (`opensrf:router:NAME:DOMAIN`).
    pub router_name: String,
    /// A longer message, envelope and all, is refused; bytes.
    pub max_message_size: usize,
    /// So long a message, or a longer one, is logged; bytes.
    pub size_warning: Option<usize>,
    /// Where the journal of addresses is; made if need be.
    pub state_directory: PathBuf,
    /// When what the dead have left there is taken care of; processes that live as long as one
    /// client leave it to those that live longer.
    pub sweeps_after: Duration,
    /// How much the bus takes at one time.
    pub queue: QueueLimits,
}

/// Without the password.
impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("endpoint", &self.endpoint)
            .field("username", &self.username)
            .field("domain", &self.domain)
            .field("router_name", &self.router_name)
            .field("max_message_size", &self.max_message_size)
            .field("size_warning", &self.size_warning)
            .field("state_directory", &self.state_directory)
            .field("sweeps_after", &self.sweeps_after)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Joins a Redis bus under new addresses, once it is proven that what is pushed there is read.
///
/// Take it to its end with [`Sender::close`](crate::Sender::close): only then are our lists read
/// dry and deleted. If the process ends without, the next one with this state directory deletes them.
///
/// # Errors
/// Anything that will not mend itself while we wait: see [`Error`].
pub async fn connect(options: Options) -> Result<Bus, Error> {
    let site = Arc::new(Site::new(&options)?);
    let unusable = |source| Error::StateDirectory { path: options.state_directory.clone(), source };
    let (event_sender, events) = mpsc::channel::<Event>(EVENTS_AHEAD);
    // Before the addresses are used, so that they are never left behind unknown.
    let mut journal = Journal::open(&options.state_directory, &site.inboxes).map_err(unusable)?;
    if options.sweeps_after.is_zero() {
        journal.adopt().map_err(unusable)?;
    }
    let (sender, queue) = sender::queue(options.queue);
    let links = match Links::join(&site, queue.inboxes(), &event_sender).await {
        Ok(links) => links,
        Err(error) => {
            if error.is_before_login() {
                journal.forget_own();
            }
            return Err(error);
        }
    };
    let sweeper = Sweeper::start(Arc::clone(&site), journal, options.sweeps_after);
    let lanes = Lanes::new(Arc::clone(&site), event_sender.clone());
    let carrier = Carrier { site, links, lanes, queue, events: event_sender, sweeper };
    tokio::spawn(carrier.run());
    Ok(Bus { sender, events })
}
