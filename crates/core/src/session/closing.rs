//! How a connection ends. Our Close goes out first, then we read on without executing; only the
//! client's own Close proves that it has everything, and then we close TCP (DRAIN.md, "One
//! connection"). Whatever ends it, the ledger is settled and the workers are told.

use std::time::Instant;

use super::ledger::{Bond, Conversation};
use super::{CloseFin, Output, Session, State};
use crate::event::{Cause, Event, Outcome};
use crate::osrf::Trace;
use crate::osrf::envelope::{Outgoing, Recipient};
use crate::osrf::status::{Status, disconnect_body, status_reply};

/// A connection on its way out.
#[derive(Debug, Clone)]
pub(super) struct Closing {
    cause: Cause,
    since: Instant,
    /// It ends now, whether bytes still move or not.
    end_by: Option<Instant>,
}

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

impl Closing {
    /// Moves the end forward, never back.
    pub(super) fn end_by(&mut self, end: Option<Instant>) {
        self.end_by = [self.end_by, end].into_iter().flatten().min();
    }
}

impl Session {
    /// Sends Close. The ledger must be settled.
    pub(super) fn close(
        &mut self,
        cause: Cause,
        code: u16,
        reason: &'static str,
        end_by: Option<Instant>,
        now: Instant,
    ) {
        self.control_bytes += 4 + reason.len() as u64;
        self.outputs.push_back(Output::Close { code, reason });
        if self.config.close_fin == CloseFin::WithClose {
            self.outputs.push_back(Output::Finish);
        }
        self.state = State::Closing(Closing { cause, since: now, end_by });
    }

    /// The hard deadline: everyone is told, and the connection is closed.
    pub(super) fn cut_off(&mut self, now: Instant) {
        let broken = Broken {
            outcome: Outcome::CutOff,
            why: Some("the gateway is being stopped"),
            reaches_worker: true,
        };
        for (number, conversation) in self.ledger.take_all() {
            if let Bond::Opening { since, .. } | Bond::Open { since, .. } = &conversation.bond {
                self.tell(Event::SessionCutOff {
                    service: conversation.service.clone(),
                    thread: conversation.thread.clone(),
                    took: now.saturating_duration_since(*since),
                });
            }
            self.settle_all(number, conversation, broken, now);
        }
        let end_by = Some(now + self.config.close_timeout);
        self.close(Cause::Deadline, self.config.close_code, "deadline", end_by, now);
    }

    /// Gives the client up: it is told why if it still listens, and has `close_timeout` to hear.
    pub(super) fn abandon(&mut self, cause: Cause, code: u16, reason: &'static str, now: Instant) {
        match self.state {
            State::Open | State::Draining(_) => {}
            // What is queued for a closing connection grows no more.
            State::Closing(_) | State::Ending(_) | State::Closed(_) => return,
        }
        self.settle_client_gone(now);
        let end_by = Some(now + self.config.close_timeout);
        self.close(cause, code, reason, end_by, now);
    }

    pub(super) fn on_peer_close(&mut self, now: Instant) {
        match &self.state {
            State::Open | State::Draining(_) => self.leave(Cause::Client, now),
            State::Closing(closing) => {
                self.state = State::Ending(Closing { since: now, ..closing.clone() });
                if self.config.close_fin == CloseFin::OnEcho {
                    self.outputs.push_back(Output::Finish);
                }
            }
            State::Ending(_) | State::Closed(_) => {}
        }
    }

    pub(super) fn on_violation(&mut self, cause: Cause, now: Instant) {
        match &self.state {
            State::Open | State::Draining(_) => self.leave(cause, now),
            // Whatever it is, it is not the client's Close: only the end of TCP helps now.
            State::Closing(_) | State::Ending(_) | State::Closed(_) => {}
        }
    }

    pub(super) fn on_ended(&mut self, cause: Cause, now: Instant) {
        match &self.state {
            State::Open | State::Draining(_) => {
                self.settle_client_gone(now);
                self.end(cause, Outcome::ClientGone);
            }
            State::Closing(closing) | State::Ending(closing) => {
                let cause = closing.cause;
                self.end(cause, Outcome::ClientGone);
            }
            State::Closed(_) => {}
        }
    }

    pub(super) fn due_close(&self, closing: &Closing) -> Instant {
        let still = closing.since.max(self.last_moved) + self.config.close_timeout;
        closing.end_by.map_or(still, |end| end.min(still))
    }

    /// `close_timeout` has passed: whatever the client has not acknowledged by now is lost.
    pub(super) fn give_up_closing(&mut self) {
        let (State::Closing(closing) | State::Ending(closing)) = &self.state else { return };
        let (cause, ending) = (closing.cause, matches!(self.state, State::Ending(_)));
        let outcome = match cause {
            Cause::Deadline | Cause::Drained => Outcome::CutOff,
            Cause::Client
            | Cause::Eof
            | Cause::Reset
            | Cause::DeadPeer
            | Cause::SlowReader
            | Cause::Protocol
            | Cause::TooBig
            | Cause::Idle => Outcome::ClientGone,
        };
        let of_answers = self.traffic.unsent.saturating_sub(self.control_bytes);
        // Unwritten answers are told of by `end`, and a client that has sent its Close has
        // everything that came before ours.
        if of_answers > 0 && outcome == Outcome::CutOff && !ending && self.owed == 0 {
            self.tell(Event::LostBytes(of_answers));
        }
        if outcome == Outcome::ClientGone {
            // The kernel need not go on for a client that was given up.
            self.outputs.push_back(Output::Reset);
        }
        self.end(cause, outcome);
    }

    /// The client has ended the conversation: nothing more can be said to it.
    fn leave(&mut self, cause: Cause, now: Instant) {
        self.settle_client_gone(now);
        let end_by = Some(now + self.config.close_timeout);
        self.state = State::Ending(Closing { cause, since: now, end_by });
        self.outputs.push_back(Output::Finish);
    }

    fn end(&mut self, cause: Cause, outcome: Outcome) {
        if self.owed > 0 {
            let answers = std::mem::take(&mut self.owed);
            self.tell(Event::Unwritten { answers, outcome });
        }
        self.state = State::Closed(cause);
    }

    fn settle_client_gone(&mut self, now: Instant) {
        let broken = Broken { outcome: Outcome::ClientGone, why: None, reaches_worker: true };
        for (number, conversation) in self.ledger.take_all() {
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
                                self.tell(Event::Rejected { code: 503 });
                            }
                        }
                    }
                }
                self.tell(Event::SessionEnded);
            }
            Bond::Open { worker, .. } => {
                if reaches_worker {
                    self.outputs.push_back(Output::Send(Outgoing {
                        to: Recipient::Worker(worker),
                        thread: self.id.thread(number),
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
