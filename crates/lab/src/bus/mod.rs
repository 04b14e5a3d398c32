//! The other side of a real message bus: its server, and the router and the workers of OpenSRF in
//! a few lines, on Redis and on XMPP. For tests and for trying; production sites have OpenSRF's own.

use std::io;
use std::pin::Pin;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;

mod account;
pub mod cutter;
mod ear;
pub mod redis;
pub mod router;
pub mod worker;
pub mod xmpp;

pub use account::{Account, Kind};

/// The process of a bus's server.
pub trait Process: Send {
    /// Sends it a signal: `STOP` and `CONT` make it hang and go on.
    ///
    /// # Errors
    /// It is gone.
    fn signal(&self, signal: Signal) -> io::Result<()>;

    /// Ends it at once, with all that it holds.
    ///
    /// # Errors
    /// It cannot be ended.
    fn kill(&mut self) -> io::Result<()>;

    /// Starts it again after it was ended, on the same port.
    ///
    /// # Errors
    /// It does not start.
    fn start_again(&mut self) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>>;
}

/// Sends a signal to a child.
fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    Ok(kill_process(Pid::from_child(child), signal)?)
}

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
