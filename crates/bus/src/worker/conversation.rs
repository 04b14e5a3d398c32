//! One worker's life: an envelope from the service's queue and, if it opens a session, all that
//! comes to the worker's own address until the session ends. One request after the other.

use tokio::time::timeout;

use super::message::{self, Kind, Message};
use super::request::Answers;
use super::text::{self, Head};
use super::{Asker, Delivery, Gone, Port, SessionLimits};
use crate::services::Service;

/// Serves one envelope, and the session that it may open, to the end.
///
/// A session ends by DISCONNECT, by silence (STATUS 408), by one request too many (STATUS 307),
/// or with the bus.
pub async fn serve<P: Port>(
    port: &mut P,
    service: &dyn Service,
    limits: SessionLimits,
    first: Delivery,
) {
    let mut worker = Worker { port, service, limits, session: None };
    if let Err(Gone) = worker.run(first).await {
        tracing::debug!("a worker has ended with its bus");
    }
}

struct Worker<'a, P> {
    port: &'a mut P,
    service: &'a dyn Service,
    limits: SessionLimits,
    session: Option<Session>,
}

/// An open session.
#[derive(Default)]
struct Session {
    requests: u32,
}

impl<P: Port> Worker<'_, P> {
    async fn run(&mut self, mut delivery: Delivery) -> Result<(), Gone> {
        loop {
            self.handle(&delivery).await?;
            if self.session.is_none() {
                return Ok(());
            }
            let keepalive = self.limits.keepalive;
            delivery = match timeout(keepalive, self.next_in(&delivery.asker.thread)).await {
                Ok(next) => next.ok_or(Gone)?,
                Err(_silence) => {
                    // C services forget which message was the last: the trace is always 0.
                    let message = Head::new(0, "en-US").timed_out();
                    return self.port.send(&delivery.asker, text::body(&message)).await;
                }
            };
        }
    }

    /// The next envelope of this conversation. What belongs to another is dropped.
    async fn next_in(&mut self, thread: &str) -> Option<Delivery> {
        loop {
            let delivery = self.port.receive().await?;
            if delivery.asker.thread == thread {
                return Some(delivery);
            }
            tracing::debug!(thread = delivery.asker.thread, "not this session's envelope");
        }
    }

    async fn handle(&mut self, delivery: &Delivery) -> Result<(), Gone> {
        let messages = message::read(&delivery.body);
        if messages.is_empty() {
            tracing::debug!(thread = delivery.asker.thread, "an envelope without messages");
        }
        for message in messages {
            self.handle_message(&delivery.asker, message).await?;
        }
        Ok(())
    }

    async fn handle_message(&mut self, asker: &Asker, message: Message<'_>) -> Result<(), Gone> {
        let head = message.head();
        match message.kind {
            Kind::Connect => {
                self.port.bind();
                self.session.get_or_insert_default();
                self.port.send(asker, text::body(&head.connected())).await
            }
            Kind::Disconnect => {
                self.session = None;
                Ok(())
            }
            Kind::Answer => Ok(()),
            Kind::Request(request) => {
                if let Some(session) = &mut self.session {
                    if session.requests >= self.limits.max_requests {
                        self.session = None;
                        return self.port.send(asker, text::body(&head.max_requests())).await;
                    }
                    session.requests += 1;
                }
                let mut answers = Answers::new(self.port, asker, head);
                match request {
                    Ok(request) => answers.run(self.service, &request).await,
                    Err(wrong) => answers.fail(400, wrong).await,
                }
            }
        }
    }
}
