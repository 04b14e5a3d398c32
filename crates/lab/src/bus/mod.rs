//! The other side of a real message bus: its server, and the router and the workers of OpenSRF in
//! a few lines. For tests and for trying; production sites have OpenSRF's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

pub mod cutter;
pub mod router;
pub mod server;
pub mod tap;
mod wire;
pub mod worker;

pub use wire::Account;

/// Something that runs until it is told to stop; dropped, it ends at once.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Lets it finish what it is at, which takes about a second.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "it has failed");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
