//! How a connection ends. Our Close goes out first, then we read on without executing; only the
//! client's own Close proves that it has everything, and then we close TCP (DRAIN.md, "One
//! connection"). Whatever ends it, what was owed is settled first.

use std::borrow::Cow;
use std::time::Instant;

use super::{CloseFin, Output, Session, State, Upstream};
use crate::event::{Cause, Event, Outcome};

/// A connection on its way out.
#[derive(Debug, Clone)]
pub(super) struct Closing {
    cause: Cause,
    since: Instant,
    /// It ends now, whether bytes still move or not.
    end_by: Option<Instant>,
}

impl Closing {
    /// Moves the end forward, never back.
    pub(super) fn end_by(&mut self, end: Option<Instant>) {
        self.end_by = [self.end_by, end].into_iter().flatten().min();
    }
}

impl<U: Upstream> Session<U> {
    /// Sends Close. The ledger must be settled.
    pub(super) fn close(
        &mut self,
        cause: Cause,
        code: u16,
        reason: impl Into<Cow<'static, str>>,
        end_by: Option<Instant>,
        now: Instant,
    ) {
        U::on_closing(self, now);
        let reason = reason.into();
        self.control_bytes += 4 + reason.len() as u64;
        self.outputs.push_back(Output::Close { code, reason });
        if self.config.close_fin == CloseFin::WithClose {
            self.outputs.push_back(Output::Finish);
        }
        self.state = State::Closing(Closing { cause, since: now, end_by });
    }

    /// The hard deadline: everyone is told, and the connection is closed.
    pub(super) fn cut_off(&mut self, now: Instant) {
        U::cut_off(self, now);
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
        U::client_gone(self, now);
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
                U::client_gone(self, now);
                U::on_closing(self, now);
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
            | Cause::Idle
            | Cause::ProgramEnded
            | Cause::ProgramFailed => Outcome::ClientGone,
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
        U::client_gone(self, now);
        U::on_closing(self, now);
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
}
