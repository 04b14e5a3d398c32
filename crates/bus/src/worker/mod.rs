//! What an OpenSRF worker (a drone) does with the envelopes that reach it, whichever bus they
//! come by: the bus is a [`Port`], the work is a [`Service`](crate::services::Service).

use std::future::Future;
use std::time::Duration;

use slackwater_core::osrf::envelope::Address;

pub use conversation::serve;

mod bundle;
mod conversation;
pub(crate) mod message;
mod request;
pub mod text;

/// The bus as one worker sees it.
pub trait Port: Send {
    /// From now on what is sent to this worker's own address reaches [`Port::receive`].
    fn bind(&mut self);

    /// Sends a body, a JSON array of osrfMessages, to whoever is asking. Waits while the bus is
    /// full.
    ///
    /// # Errors
    /// [`Gone`] when the bus has ended.
    fn send(
        &mut self,
        asker: &Asker,
        body: String,
    ) -> impl Future<Output = Result<(), Gone>> + Send;

    /// The next envelope to this worker's own address; `None` when the bus has ended. Dropping
    /// the future half-way loses no envelope.
    fn receive(&mut self) -> impl Future<Output = Option<Delivery>> + Send;
}

/// An envelope as a worker gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Who asks, and in which conversation.
    pub asker: Asker,
    /// The text of a JSON value, an array of osrfMessages if the sender is sound.
    pub body: String,
}

/// Where answers go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The bus address of the client.
    pub address: Address,
    /// The conversation on the bus.
    pub thread: String,
    /// The log trace id (`osrf_xid`), which answers carry too.
    pub xid: Option<String>,
}

/// What a worker allows one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// A session in which nothing arrives for so long is ended with STATUS 408.
    pub keepalive: Duration,
    /// So many requests are run; the next one is answered with STATUS 307, which ends the session.
    pub max_requests: u32,
}

/// The bus has ended; so does the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bus has ended")]
pub struct Gone;
