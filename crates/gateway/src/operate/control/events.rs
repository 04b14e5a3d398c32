//! `GET /events`: the gateway's progress as server-sent events. One at once, one at each change
//! of phase, one a second during a drain, and a last one when the gateway ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::operate::status::{Connection, Operations, Phase, Selection, Status};

/// What an event carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// As `GET /status`.
    #[serde(flatten)]
    pub status: Status,
    /// Some of those that hold a drain, the longest pending first; none while serving.
    pub holding: Vec<Connection>,
}

/// How many of those that hold a drain are named.
const NAMED: usize = 5;

/// Between two events during a drain.
const PACE: Duration = Duration::from_secs(1);

/// How long a reader may leave an event unread.
const UNREAD: Duration = Duration::from_secs(10);

/// The body of the answer: events as they come.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<Bytes>);

/// Whether a connection follows the events, and whether it has stopped reading them.
#[derive(Debug, Clone, Default)]
pub(super) struct Following {
    begun: CancellationToken,
    stalled: CancellationToken,
}

impl Following {
    /// Ends when the connection should: after `patience`, or if it follows events, when it does
    /// not read them.
    pub(super) async fn overdue(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        if self.begun.is_cancelled() {
            self.stalled.cancelled().await;
        }
    }
}

/// Begins to follow the gateway.
pub(super) fn follow(
    operations: Arc<dyn Operations>,
    ending: CancellationToken,
    following: Following,
) -> Events {
    let (sender, receiver) = mpsc::channel(1);
    following.begun.cancel();
    tokio::spawn(async move {
        if report(&*operations, &ending, &sender).await == Err(Lost::Stalled) {
            following.stalled.cancel();
        }
    });
    Events(receiver)
}

/// Why a reader gets no more events.
#[derive(Debug, PartialEq, Eq)]
enum Lost {
    Gone,
    Stalled,
}

async fn report(
    operations: &dyn Operations,
    ending: &CancellationToken,
    sender: &mpsc::Sender<Bytes>,
) -> Result<(), Lost> {
    let mut phases = operations.phase();
    loop {
        let last = ending.is_cancelled();
        let phase = *phases.borrow_and_update();
        let due = Instant::now() + PACE;
        send(sender, event(operations).await).await?;
        if last {
            return Ok(());
        }
        let next = async {
            match phase {
                Phase::Serving | Phase::Drained => std::future::pending().await,
                Phase::Announce | Phase::Refuse | Phase::Ebb => tokio::time::sleep_until(due).await,
            }
        };
        tokio::select! {
            () = next => {}
            changed = phases.changed() => if changed.is_err() { ending.cancelled().await },
            () = ending.cancelled() => {}
            () = sender.closed() => return Err(Lost::Gone),
        }
    }
}

async fn event(operations: &dyn Operations) -> Bytes {
    let status = operations.status().await;
    let holding = match status.phase {
        Phase::Serving => Vec::new(),
        Phase::Announce | Phase::Refuse | Phase::Ebb | Phase::Drained => {
            operations.connections(Selection::Holding { at_most: NAMED }).await
        }
    };
    let text = serde_json::to_string(&Progress { status, holding })
        .expect("numbers, texts and lists always make JSON");
    format!("data: {text}\n\n").into()
}

async fn send(sender: &mpsc::Sender<Bytes>, event: Bytes) -> Result<(), Lost> {
    match timeout_at(Instant::now() + UNREAD, sender.send(event)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Lost::Gone),
        Err(_) => Err(Lost::Stalled),
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
