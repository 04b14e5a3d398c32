//! One worker's life: an envelope from the service's queue and, if it opens a session, all that
//! comes to the worker's own address until the session ends. One request after the other.

use tokio::time::{Instant, timeout_at};

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
    let asker = first.asker.clone();
    let mut worker = Worker { port, service, limits, session: None };
    if let Err(Gone) = worker.run(first).await {
        tracing::debug!(thread = asker.thread, "a worker has ended with its bus");
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
    async fn run(&mut self, first: Delivery) -> Result<(), Gone> {
        let mut asker = first.asker.clone();
        self.handle(&first).await?;
        let mut silent_until = Instant::now() + self.limits.keepalive;
        while self.session.is_some() {
            match timeout_at(silent_until, self.port.receive()).await {
                Ok(Some(delivery)) if delivery.asker.thread != asker.thread => {
                    tracing::debug!(thread = delivery.asker.thread, "not this session's envelope");
                }
                Ok(Some(delivery)) => {
                    asker = delivery.asker.clone();
                    self.handle(&delivery).await?;
                    silent_until = Instant::now() + self.limits.keepalive;
                }
                Ok(None) => return Err(Gone),
                Err(_silence) => {
                    // C services forget which message was the last: the trace is always 0.
                    let message = Head::new(0, "en-US").timed_out();
                    return self.port.send(&asker, text::body(&message)).await;
                }
            }
        }
        Ok(())
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
