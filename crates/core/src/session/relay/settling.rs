//! Conversations that end before their time: each request gets the outcome that is true of it, and
//! a worker that is tied to the client is told that it has gone.

use std::time::Instant;

use super::Relay;
use crate::event::{Event, Outcome};
use crate::osrf::Trace;
use crate::osrf::envelope::{Outgoing, Recipient};
use crate::osrf::status::{Status, disconnect_body, status_reply};
use crate::session::ledger::{Bond, Conversation};
use crate::session::{Output, Session};

/// How a conversation ends before its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken<'a> {
    /// What becomes of the requests that were sent on.
    pub(super) outcome: Outcome,
    /// What the client is told: 504 for what was sent on, 503 for what still waited. Nothing if
    /// it is not there any more.
    pub(super) why: Option<&'a str>,
    /// Whether there is a bus to tell the worker of a session by.
    pub(super) reaches_worker: bool,
}

impl Session<Relay> {
    /// The operator's deadline: everyone is told.
    pub(super) fn settle_cut_off(&mut self, now: Instant) {
        let broken = Broken {
            outcome: Outcome::CutOff,
            why: Some("the gateway is being stopped"),
            reaches_worker: true,
        };
        for (number, conversation) in self.upstream.ledger.take_all() {
            if let Bond::Opening { since, .. } | Bond::Open { since, .. } = &conversation.bond {
                self.tell(Event::SessionCutOff {
                    service: conversation.service.clone(),
                    thread: conversation.thread.clone(),
                    took: now.saturating_duration_since(*since),
                });
            }
            self.settle_all(number, conversation, broken, now);
        }
    }

    /// The client has gone: nobody is left to be told but the workers.
    pub(super) fn settle_client_gone(&mut self, now: Instant) {
        let broken = Broken { outcome: Outcome::ClientGone, why: None, reaches_worker: true };
        for (number, conversation) in self.upstream.ledger.take_all() {
            self.settle_all(number, conversation, broken, now);
        }
    }

    /// Settles a conversation that ends before its time, and has been taken out of the ledger.
    pub(super) fn settle_all(
        &mut self,
        number: u64,
        conversation: Conversation,
        broken: Broken<'_>,
        now: Instant,
    ) {
        let Conversation { thread, service, xid, bond, requests } = conversation;
        let Broken { outcome, why, reaches_worker } = broken;
        if let (Bond::Opening { connect, .. }, Some(why)) = (&bond, why) {
            let status = Status::outcome_unknown(why);
            self.reply(status_reply(&thread, &xid, *connect, &status), now);
        }
        for request in requests {
            if let Some(why) = why {
                let status = Status::outcome_unknown(why);
                self.reply(status_reply(&thread, &request.xid, request.trace, &status), now);
            }
            self.settled(&service, &thread, request, outcome, now);
        }
        match bond {
            Bond::None | Bond::Over => {}
            Bond::Opening { held, .. } => {
                for part in held {
                    self.tell(Event::Released(part.requests.len() as u64));
                    match why {
                        Some(why) => {
                            self.reject_held(&thread, part, &Status::never_executed(why), now);
                        }
                        None => {
                            for _ in part.requests {
                                self.tell(Event::Rejected {
                                    code: 503,
                                    xid: Some(part.xid.clone()),
                                });
                            }
                        }
                    }
                }
                self.tell(Event::SessionEnded);
            }
            Bond::Open { worker, .. } => {
                if reaches_worker {
                    self.outputs.push_back(Output::Upstream(Outgoing {
                        to: Recipient::Worker(worker),
                        thread: self.upstream.id.thread(number),
                        xid: xid.clone(),
                        body: disconnect_body(&self.config.rules.ingress),
                    }));
                }
                if let (Outcome::BusLost, Some(why)) = (outcome, why) {
                    // As a worker says that it has left: without a word the client would go on
                    // outside its session. A C worker's trace is 0.
                    let status = Status::session_over(why);
                    self.reply(status_reply(&thread, &xid, Trace::new(0), &status), now);
                }
                self.tell(Event::SessionEnded);
            }
        }
    }
}
