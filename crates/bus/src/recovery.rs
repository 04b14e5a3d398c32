//! How a bus that is lost comes back. What is sent meanwhile is given back at once, since nobody
//! knows how long it takes.

use std::sync::Arc;

use slackwater_core::osrf::envelope::{Outgoing, Refusal};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::Event;
use crate::backoff::Backoff;
use crate::sender::Queue;

/// Gives an envelope back. Nobody may be there to take it, when the bus ends.
pub(crate) async fn refuse(events: &mpsc::Sender<Event>, envelope: &Outgoing, why: &Refusal) {
    let (envelope, why) = (envelope.clone(), why.clone());
    drop(events.send(Event::Refused { envelope, why }).await);
}

/// Connections that can be made anew.
pub(crate) trait Rejoin: Send {
    /// What is always known of the bus.
    type Site: Send + Sync;

    /// Makes the connections that are missing, and proves that the bus works.
    fn rejoin(
        &mut self,
        site: &Arc<Self::Site>,
        events: &mpsc::Sender<Event>,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// Says that the bus is lost, once what is certainly unsent has been given back. Gets it back and says
/// so. False: it is not wanted any more.
pub(crate) async fn recover<L: Rejoin>(
    links: &mut L,
    site: &Arc<L::Site>,
    queue: &mut Queue,
    events: &mpsc::Sender<Event>,
    mut reason: String,
) -> bool {
    // Those that wait at this moment: others may come for as long as we go on.
    for _ in 0..queue.len() {
        if let Some(queued) = queue.waiting() {
            refuse(events, &queued.envelope, &Refusal::NotTaken(reason.clone())).await;
        }
    }
    drop(events.send(Event::Lost { reason: reason.clone() }).await);
    let mut backoff = Backoff::new();
    loop {
        let outcome = {
            let attempt = async {
                sleep(backoff.pause(getrandom::u32().unwrap_or_default())).await;
                links.rejoin(site, events).await
            };
            tokio::pin!(attempt);
            loop {
                tokio::select! {
                    outcome = &mut attempt => break outcome,
                    () = events.closed() => return false,
                    queued = queue.next() => {
                        let Some(queued) = queued else { return false };
                        let why = Refusal::NotTaken(format!("the message bus is lost: {reason}"));
                        refuse(events, &queued.envelope, &why).await;
                    }
                }
            }
        };
        match outcome {
            Ok(()) => break,
            Err(now) if now == reason => {}
            Err(now) => {
                tracing::warn!(reason = now, "the bus is not back yet");
                reason = now;
            }
        }
    }
    drop(events.send(Event::Restored).await);
    true
}
