//! Pushes envelopes in batches, and says of each that was not taken why.

use slackwater_core::osrf::envelope::Outgoing;
use tokio::sync::mpsc;

use super::link::{Broken, Link};
use super::site::Site;
use crate::Event;
use crate::sender::Queued;

/// About the most bytes that are pushed at once.
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// Pushes `batch` in its order. On an error nobody knows what of it has reached anyone.
pub(super) async fn push(
    link: &mut Link,
    site: &Site,
    batch: &[Queued],
    events: &mpsc::Sender<Event>,
) -> Result<(), Broken> {
    let mut sent = Vec::with_capacity(batch.len());
    let mut texts = Vec::with_capacity(batch.len());
    for queued in batch {
        match site.text(&queued.envelope) {
            Ok(text) => {
                texts.push(text);
                sent.push(queued);
            }
            Err(reason) => refuse(events, &queued.envelope, &reason).await,
        }
    }
    if texts.is_empty() {
        return Ok(());
    }
    let answers = link.push(&texts).await?;
    for (queued, answer) in sent.into_iter().zip(answers) {
        if let Err(said) = answer {
            refuse(events, &queued.envelope, &format!("Redis refuses it: {said}")).await;
        }
    }
    Ok(())
}

/// Gives an envelope back. Nobody may be there to take it, when the bus ends.
pub(super) async fn refuse(events: &mpsc::Sender<Event>, envelope: &Outgoing, reason: &str) {
    let (envelope, reason) = (envelope.clone(), reason.to_owned());
    drop(events.send(Event::Refused { envelope, reason }).await);
}
