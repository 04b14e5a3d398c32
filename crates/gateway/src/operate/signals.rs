//! Signals, turned into inputs of the drain (DRAIN.md, "The gateway as a whole"). Handlers are
//! installed before the sockets are bound: no signal finds its default action.

use std::io;
use std::sync::Arc;

use slackwater_core::drain::Input;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::status::Operations as _;
use crate::gateway::{Gateway, seed};

/// The signals that a gateway hears.
#[derive(Debug)]
pub struct Signals {
    user1: Signal,
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Installs the handlers; signals wait until [`Self::obey`].
    ///
    /// # Errors
    /// The kernel refused a handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            user1: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Obeys signals, for ever.
    pub async fn obey(mut self, gateway: &Arc<Gateway>) {
        let mut told_to_stop = false;
        loop {
            let stop = tokio::select! {
                Some(()) = self.user1.recv() => false,
                Some(()) = self.interrupt.recv() => true,
                Some(()) = self.terminate.recv() => true,
                Some(()) = self.hangup.recv() => {
                    let gateway = Arc::clone(gateway);
                    // What came of it is in the log. A file that cannot be read for a while does
                    // not keep the other signals waiting.
                    tokio::spawn(async move { gateway.reload().await });
                    continue;
                }
                else => return,
            };
            if stop && told_to_stop {
                tracing::warn!("told to stop again: cutting off what is pending");
                gateway.tell(Input::Hurry);
            } else {
                told_to_stop |= stop;
                gateway.tell(Input::Drain { exit: stop, deadline: None, seed: seed() });
            }
        }
    }
}
