//! Pushes envelopes in batches, and says of each that was not taken why.

use slackwater_core::osrf::envelope::Refusal;
use tokio::sync::mpsc;

use super::link::{Broken, Link};
use super::site::Site;
use crate::Event;
use crate::recovery::refuse;
use crate::sender::Queued;

/// About the most bytes that are pushed at once.
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// A connection was lost while these were under way: nobody knows which of them have arrived.
#[derive(Debug)]
pub(super) struct Unsure<'a> {
    pub(super) broken: Broken,
    pub(super) sent: Vec<&'a Queued>,
}

/// Pushes `batch` in its order. What certainly did not go is given back.
pub(super) async fn push<'a>(
    link: &mut Link,
    site: &Site,
    batch: &'a [Queued],
    events: &mpsc::Sender<Event>,
) -> Result<(), Unsure<'a>> {
    let mut sent = Vec::with_capacity(batch.len());
    let mut texts = Vec::with_capacity(batch.len());
    for queued in batch {
        match site.text(&queued.envelope) {
            Ok(text) => {
                texts.push(text);
                sent.push(queued);
            }
            Err(why) => refuse(events, &queued.envelope, &why).await,
        }
    }
    if texts.is_empty() {
        return Ok(());
    }
    let answers = match link.push(&texts).await {
        Ok(answers) => answers,
        Err(broken) => return Err(Unsure { broken, sent }),
    };
    for (queued, answer) in sent.into_iter().zip(answers) {
        if let Err(said) = answer {
            let why = Refusal::NotTaken(format!("Redis refuses it: {said}"));
            refuse(events, &queued.envelope, &why).await;
        }
    }
    Ok(())
}
