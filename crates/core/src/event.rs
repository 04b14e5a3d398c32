//! What a session tells of: every counter, log line and figure that Slackwater shows is derived
//! from these events and from nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::osrf::Trace;
use crate::tally::Services;

/// What became of a request that was sent on. The first three are answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// STATUS 205: answered in full.
    Complete,
    /// A status of 400 or above from the service.
    ErrorStatus,
    /// The router or a listener refused it.
    Refused,
    /// Its worker left the session before it; the client was told 503.
    ServiceGone,
    /// The client left before its answer.
    ClientGone,
    /// The bus was lost; the client was told 504.
    BusLost,
    /// The operator's deadline; the client was told 504.
    CutOff,
}

impl Outcome {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::ErrorStatus,
        Self::Refused,
        Self::ServiceGone,
        Self::ClientGone,
        Self::BusLost,
        Self::CutOff,
    ];

    /// The name in metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ErrorStatus => "error",
            Self::Refused => "refused",
            Self::ServiceGone => "service_gone",
            Self::ClientGone => "client_gone",
            Self::BusLost => "bus_lost",
            Self::CutOff => "cut_off",
        }
    }

    /// Whether it is a service's own answer.
    pub const fn is_of_service(self) -> bool {
        matches!(self, Self::Complete | Self::ErrorStatus)
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// We closed it at slack water.
    Drained,
    /// We closed it at the operator's deadline.
    Deadline,
    /// The client sent Close.
    Client,
    /// The client's end of TCP closed without a Close.
    Eof,
    /// TCP was reset, or failed otherwise.
    Reset,
    /// Pings went unanswered.
    DeadPeer,
    /// The client does not read what it is sent.
    SlowReader,
    /// The client broke the WebSocket protocol.
    Protocol,
    /// A message above what a WebSocket may carry here.
    TooBig,
    /// Nothing was asked for longer than the idle timeout.
    Idle,
    /// The program behind it ended with status 0.
    ProgramEnded,
    /// The program behind it ended otherwise.
    ProgramFailed,
}

impl Cause {
    /// The name in logs, status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Deadline => "deadline",
            Self::Client => "client",
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::DeadPeer => "dead_peer",
            Self::SlowReader => "slow_reader",
            Self::Protocol => "protocol",
            Self::TooBig => "too_big",
            Self::Idle => "idle",
            Self::ProgramEnded => "program_ended",
            Self::ProgramFailed => "program_failed",
        }
    }
}

/// Something that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// REQUESTs have come from the client.
    Received(u64),
    /// A message could not be read; the client was told.
    Invalid {
        /// A word for what is wrong.
        code: &'static str,
    },
    /// A log trace id that must not reach the bus was replaced.
    XidReplaced,
    /// REQUESTs wait behind a CONNECT.
    Held(u64),
    /// REQUESTs no longer wait: an `Executed` or `Rejected` follows for each.
    Released(u64),
    /// A REQUEST was handed to the bus.
    Executed {
        /// The service, by the name the client gave.
        service: String,
        /// The method.
        method: String,
        /// What the activity log shows of its parameters; `None` if there is no such log.
        params: Option<String>,
        /// The log trace id.
        xid: String,
    },
    /// A REQUEST was answered by the gateway and not executed.
    Rejected {
        /// The status that the client got, if it was still there.
        code: u16,
        /// The log trace id; `None`: a program's client names none.
        xid: Option<String>,
    },
    /// The bus would not take a REQUEST that was counted as executed.
    Recalled,
    /// REQUESTs came after our Close and were not executed.
    Crossed {
        /// How many.
        requests: u64,
        /// The client's thread.
        thread: String,
    },
    /// The final answer of a request came, or it is certain that none will.
    Settled {
        /// The service.
        service: String,
        /// The method.
        method: String,
        /// The client's thread.
        thread: String,
        /// The id within the thread.
        trace: Trace,
        /// The log trace id, where the protocol has one.
        xid: Option<String>,
        /// What became of it.
        outcome: Outcome,
        /// How long after it was received.
        took: Duration,
    },
    /// So many final answers have reached the kernel.
    Answered(u64),
    /// So many final answers were ready and could not be written.
    Unwritten {
        /// How many.
        answers: u64,
        /// `CutOff` or `ClientGone`.
        outcome: Outcome,
    },
    /// Messages were handed to a program, each of them a request of which no more is known.
    Passed(u64),
    /// Requests of which only the number is known got no answer.
    Dropped {
        /// How many.
        requests: u64,
        /// `ServiceGone`, `ClientGone` or `CutOff`.
        outcome: Outcome,
        /// How long there have been some.
        took: Duration,
    },
    /// A program that was to decide for itself when to end had not by the operator's deadline.
    ProgramCutOff,
    /// A CONNECT was handed on.
    SessionBegun,
    /// A session has ended, in whatever way.
    SessionEnded,
    /// The operator's deadline ended a session.
    SessionCutOff {
        /// The service.
        service: String,
        /// The client's thread.
        thread: String,
        /// How long after its CONNECT.
        took: Duration,
    },
    /// An answer came for a conversation that is settled; it was dropped.
    Stray,
    /// The Pong of the barrier stayed away.
    BarrierGivenUp,
    /// Bytes of an answer were cut off that the client had not acknowledged.
    LostBytes(u64),
}

impl Event {
    /// What the operator's deadline cost by this event: requests and sessions cut off, and a
    /// connection on which bytes of an answer were.
    pub fn lost_replies(&self) -> u64 {
        match self {
            Self::Settled { outcome: Outcome::CutOff, .. }
            | Self::SessionCutOff { .. }
            | Self::ProgramCutOff
            | Self::LostBytes(_) => 1,
            Self::Unwritten { answers, outcome: Outcome::CutOff } => *answers,
            Self::Dropped { requests, outcome: Outcome::CutOff, .. } => *requests,
            Self::Settled { .. }
            | Self::Unwritten { .. }
            | Self::Received(_)
            | Self::Invalid { .. }
            | Self::XidReplaced
            | Self::Held(_)
            | Self::Released(_)
            | Self::Executed { .. }
            | Self::Rejected { .. }
            | Self::Recalled
            | Self::Passed(_)
            | Self::Dropped { .. }
            | Self::Crossed { .. }
            | Self::Answered(_)
            | Self::SessionBegun
            | Self::SessionEnded
            | Self::Stray
            | Self::BarrierGivenUp => 0,
        }
    }
}

/// The sums over all events. The first two lines of DRAIN.md's invariants are
/// [`Counters::balanced`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// REQUESTs that came from clients.
    pub received: u64,
    /// Of these, waiting behind a CONNECT.
    pub held: u64,
    /// Of these, handed to the bus.
    pub executed: u64,
    /// Of these, answered by the gateway instead.
    pub rejected: u64,
    /// Of these, come after our Close.
    pub crossed_requests: u64,
    /// Executed, and the final answer reached the kernel.
    pub answered: u64,
    /// Executed, and still owed an answer.
    pub pending: u64,
    /// Executed, and cut off by the operator's deadline.
    pub cut_off: u64,
    /// Executed, and the client left first.
    pub client_gone: u64,
    /// Executed, and the worker left first.
    pub service_gone: u64,
    /// Executed, and the bus was lost first.
    pub bus_lost: u64,
    /// Sessions open or being opened.
    pub sessions: u64,
    /// What the operator's deadline cost: requests and sessions cut off, connections on which
    /// bytes of an answer were.
    pub lost_replies: u64,
    /// Messages that could not be read.
    pub invalid: u64,
    /// Answers for which there was no conversation.
    pub strays: u64,
    /// What became of requests, by service.
    pub services: Services,
    /// Requests that the bus gave back: no longer among the executed, rejected instead.
    pub recalled: u64,
    /// Connections by the cause of their end.
    pub closed: BTreeMap<Cause, u64>,
}

impl Counters {
    /// Adds one event.
    pub fn add(&mut self, event: &Event) {
        self.lost_replies += event.lost_replies();
        match event {
            Event::Received(n) => self.received += n,
            Event::Invalid { .. } => self.invalid += 1,
            Event::XidReplaced
            | Event::BarrierGivenUp
            | Event::SessionCutOff { .. }
            | Event::ProgramCutOff
            | Event::LostBytes(_) => {}
            Event::Passed(n) => {
                self.executed += n;
                self.pending += n;
            }
            Event::Dropped { requests, outcome, .. } => self.settle(*outcome, *requests),
            Event::Held(n) => self.held += n,
            Event::Released(n) => self.held -= n,
            Event::Executed { .. } => {
                self.executed += 1;
                self.pending += 1;
            }
            Event::Rejected { .. } => self.rejected += 1,
            Event::Recalled => {
                self.recalled += 1;
                self.executed -= 1;
                self.pending -= 1;
            }
            Event::Crossed { requests, .. } => {
                self.received += requests;
                self.crossed_requests += requests;
            }
            Event::Settled { service, outcome, took, .. } => {
                self.services.add(service, *outcome, *took);
                self.settle(*outcome, 1);
            }
            Event::Answered(n) => {
                self.pending -= n;
                self.answered += n;
            }
            Event::Unwritten { answers, outcome } => self.settle(*outcome, *answers),
            Event::SessionBegun => self.sessions += 1,
            Event::SessionEnded => self.sessions -= 1,
            Event::Stray => self.strays += 1,
        }
    }

    /// Whether every request that came is accounted for, exactly once.
    pub fn balanced(&self) -> bool {
        self.received == self.executed + self.rejected + self.crossed_requests + self.held
            && self.executed
                == self.answered
                    + self.pending
                    + self.cut_off
                    + self.client_gone
                    + self.service_gone
                    + self.bus_lost
    }

    fn settle(&mut self, outcome: Outcome, n: u64) {
        match outcome {
            // Owed until written: `Answered` or `Unwritten` follows.
            Outcome::Complete | Outcome::ErrorStatus | Outcome::Refused => return,
            Outcome::ServiceGone => self.service_gone += n,
            Outcome::ClientGone => self.client_gone += n,
            Outcome::BusLost => self.bus_lost += n,
            Outcome::CutOff => self.cut_off += n,
        }
        self.pending -= n;
    }
}
