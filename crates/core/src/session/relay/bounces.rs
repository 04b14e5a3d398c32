//! An envelope that came back. To a service: nobody has had it, so nothing was executed. To the
//! worker of a session: the worker is gone, and with it whatever it had not answered. The client
//! is told in one frame, and what comes next on its thread begins afresh by the router.

use std::time::Instant;

use super::Relay;
use crate::event::{Event, Outcome};
use crate::osrf::Trace;
use crate::osrf::envelope::Bounce;
use crate::osrf::status::{Class, Status, bounced_reply, status_message};
use crate::session::Session;
use crate::session::ledger::{Bond, Conversation};

impl Session<Relay> {
    pub(super) fn on_bounced(&mut self, bounce: &Bounce, now: Instant) {
        let found = self.number_of(&bounce.thread);
        // A DISCONNECT to a worker that has left already is nobody's loss.
        let Some(conversation) = found.and_then(|number| self.upstream.ledger.take(number)) else {
            return;
        };
        let Conversation { thread, service, xid, bond, requests } = conversation;
        let nobody = Status {
            class: Class::Service,
            code: 404,
            // The words of OpenSRF 4's router.
            text: "Service Not Found".to_owned(),
        };
        let gone = format!("the worker of {service} is gone ({})", bounce.reason);
        let (status, outcome) = match &bond {
            Bond::None | Bond::Opening { .. } => (&nobody, Outcome::Refused),
            Bond::Open { .. } | Bond::Over => {
                (&Status::outcome_unknown(&gone), Outcome::ServiceGone)
            }
        };
        let mut messages = Vec::new();
        if let Bond::Opening { connect, .. } = &bond {
            messages.push(status_message(*connect, status));
        }
        messages.extend(requests.iter().map(|request| status_message(request.trace, status)));
        match &bond {
            Bond::Opening { held, .. } => {
                let traces = held.iter().flat_map(|part| part.traces());
                messages.extend(traces.map(|trace| status_message(trace, status)));
            }
            // As a worker says that it has left; a C worker's trace is 0.
            Bond::Open { .. } => {
                messages.push(status_message(Trace::new(0), &Status::session_over(&gone)));
            }
            Bond::None | Bond::Over => {}
        }
        self.reply(bounced_reply(&thread, &xid, &format!("[{}]", messages.join(","))), now);
        if outcome == Outcome::Refused {
            self.owed += requests.len() as u64;
        }
        for request in requests {
            self.settled(&service, &thread, request, outcome, now);
        }
        match bond {
            Bond::Opening { held, .. } => {
                for part in held {
                    self.tell(Event::Released(part.requests.len() as u64));
                    for _ in part.requests {
                        self.tell(Event::Rejected {
                            code: nobody.code,
                            xid: Some(part.xid.clone()),
                        });
                    }
                }
                self.tell(Event::SessionEnded);
            }
            Bond::Open { .. } => self.tell(Event::SessionEnded),
            Bond::None | Bond::Over => {}
        }
    }
}
