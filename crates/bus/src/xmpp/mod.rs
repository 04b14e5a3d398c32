//! The XMPP bus: OpenSRF 3's. A request is a message to a resource of the router's account, an
//! answer one to a resource of ours. A few streams carry everything for all clients.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::sender::{self, QueueLimits};
use crate::{Bus, Endpoint, Error, Event};
use carrier::{Carrier, Lanes};
use site::Site;

pub use login::Encryption;

mod carrier;
mod characters;
mod escape;
mod lane;
pub mod login;
pub mod parser;
mod reader;
mod scram;
mod site;
pub mod stanza;
mod stream;
mod tls;

/// Events that the bus may be ahead of the gateway; one holds what came in 64 KiB at most, or one
/// stanza.
const EVENTS_AHEAD: usize = 64;
/// What errors call the server.
const SERVER: &str = "the XMPP server";

/// Which bus, who we are there, and how much of it we take.
#[derive(Clone)]
pub struct Options {
    /// The server of our own domain.
    pub endpoint: Endpoint,
    /// The user of the account.
    pub username: String,
    /// Its password.
    pub password: Option<String>,
    /// Our domain, as the server calls it.
    pub domain: String,
    /// The user of the router in our domain.
    pub router_name: String,
    /// What our resources begin with; the rest is made so that nobody else has them.
    pub resource: String,
    /// Whether the streams are encrypted.
    pub encryption: Encryption,
    /// A PEM file of the certificates to trust; without it, those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// Streams; at least 1. A server may limit the bytes of each.
    pub streams: usize,
    /// A longer stanza is refused, since the server would end the stream for it; bytes, escaped.
    pub max_stanza_size: usize,
    /// So long a stanza, or a longer one, is logged; bytes.
    pub size_warning: Option<usize>,
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
            .field("resource", &self.resource)
            .field("encryption", &self.encryption)
            .field("authorities", &self.authorities)
            .field("streams", &self.streams)
            .field("max_stanza_size", &self.max_stanza_size)
            .field("size_warning", &self.size_warning)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Joins an XMPP bus, with addresses that nobody else has.
///
/// Take it to its end with [`Sender::close`](crate::Sender::close): only then is what has come
/// last read.
///
/// # Errors
/// Anything that will not mend itself while we wait: see [`Error`].
pub async fn connect(options: Options) -> Result<Bus, Error> {
    let site = Arc::new(Site::new(&options)?);
    let (event_sender, events) = mpsc::channel::<Event>(EVENTS_AHEAD);
    let lanes = Lanes::join(&site, &event_sender).await?;
    let (sender, queue) = sender::queue(options.queue);
    tokio::spawn(Carrier { site, lanes, queue, events: event_sender }.run());
    Ok(Bus { sender, events })
}
