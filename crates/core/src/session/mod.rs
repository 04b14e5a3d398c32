//! One client: what it is owed, and how its connection ends.
//!
//! The law: feed one input, then take every output until there is none; only then feed the next.
//! Time is an argument. The session neither waits nor reads, writes or asks for the time; its
//! shell does, and tells.

mod closing;
mod ebb;
pub mod identity;
pub mod ledger;
pub mod program;
pub mod relay;
pub mod upstream;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::closing::Closing;
use self::ebb::{Order, Ping};
pub use self::program::{FromProgram, Program, ToProgram};
pub use self::relay::{FromBus, Relay};
pub use self::upstream::{Message, Upstream};
use crate::event::{Cause, Event};
use crate::osrf::activity::Activity;
use crate::osrf::envelope::Outgoing;
use crate::osrf::wrapper::Rules;

/// What holds for every session of a gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// What a client's message must keep to.
    pub rules: Rules,
    /// Requests of one client that may await their answer at once.
    pub max_requests_in_flight: usize,
    /// Sessions that one client may have open at once.
    pub max_sessions: usize,
    /// Bytes that may wait behind unanswered CONNECTs of one client.
    pub max_held_bytes: usize,
    /// How long no data frame may have passed before slack water is believed.
    pub quiet_window: Duration,
    /// How long a closing connection may stand still.
    pub close_timeout: Duration,
    /// The close code of a drain.
    pub close_code: u16,
    /// When our end of TCP closes.
    pub close_fin: CloseFin,
    /// How long a client may be silent before it is pinged, and then before it is given up.
    pub ping_interval: Option<Duration>,
    /// How long slack water may last.
    pub idle_timeout: Option<Duration>,
    /// How long a write may stand still.
    pub write_stall_timeout: Duration,
    /// What the activity log shows of a request, if there is one.
    pub activity: Option<Activity>,
}

/// When our end of TCP closes (DRAIN.md says why it matters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseFin {
    /// When the client's Close has come back: safe behind every proxy.
    OnEcho,
    /// Right behind our Close: for sites without a proxy.
    WithClose,
}

/// The times that a drain sets for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Not before this instant is an idle connection closed; one that is busy when the order
    /// comes does not wait for it.
    pub slot: Instant,
    /// From now on nothing new is executed.
    pub soft: Option<Instant>,
    /// Now everything is cut off.
    pub hard: Option<Instant>,
}

/// What a session is told; `I` is what its upstream says.
#[derive(Debug)]
pub enum Input<I = FromBus> {
    /// A whole message from the client.
    Message(Message),
    /// A Pong with the nonce of a Ping.
    Pong(u64),
    /// The client's Close.
    PeerClose,
    /// The client broke the WebSocket protocol, for which it has been sent a Close already; what
    /// it sends from now on means nothing.
    Violation(Cause),
    /// The connection is gone, and why.
    Ended(Cause),
    /// How far the byte stream is, told before any other input that follows from it.
    Traffic(Traffic),
    /// Every reply taken so far has reached the kernel.
    Flushed,
    /// More is queued for the client than it may have queued.
    Overflow,
    /// Something from the upstream.
    Upstream(I),
    /// Drain, or drain by other deadlines.
    Drain(Deadlines),
    /// The drain is called off.
    Undrain,
    /// Go by these from now on. One that is closing goes on as it began.
    Configure(Arc<Config>),
}

/// How far the byte stream under a session is. All sums are over its whole life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read from the client.
    pub received: u64,
    /// Bytes that the kernel has taken for the client.
    pub written: u64,
    /// Of these, still in the kernel's send queue, unacknowledged.
    pub unsent: u64,
    /// Whether a frame or fragmented message from the client is half read.
    pub mid_message: bool,
    /// Whether we do not read from the client, since what it has sent cannot be taken yet: its
    /// silence means nothing.
    pub paused: bool,
}

/// What a session wants done, in this order; `O` is what its upstream is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<O = Outgoing> {
    /// For the upstream.
    Upstream(O),
    /// Write this text to the client.
    Reply(String),
    /// Write this binary message to the client.
    ReplyBinary(Vec<u8>),
    /// Write a Ping with this nonce.
    Ping(u64),
    /// Write a Close frame; no reply follows it.
    Close {
        /// The close code.
        code: u16,
        /// At most 123 bytes.
        reason: Cow<'static, str>,
    },
    /// Close our end of TCP once all is written; read on.
    Finish,
    /// Reset the connection: what is unsent is thrown away. Without it, the kernel may still
    /// deliver what it has once the session is closed.
    Reset,
    /// Tell of this.
    Event(Event),
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Normal service.
    Open,
    /// Normal service until slack water.
    Draining,
    /// Our Close is out; what comes is not executed.
    Closing,
    /// Both Closes have passed; only the end of TCP is awaited.
    Ending,
    /// Gone.
    Closed,
}

/// One client of one kind of upstream.
#[derive(Debug)]
pub struct Session<U: Upstream = Relay> {
    config: Arc<Config>,
    upstream: U,
    state: State,
    /// Final answers given out and not known to be written.
    owed: u64,
    /// Whether any reply was given out and is not known to be written.
    unwritten: bool,
    traffic: Traffic,
    /// Bytes of frames that are no answers, written since the last answer.
    control_bytes: u64,
    last_data: Instant,
    last_moved: Instant,
    last_delivered: Instant,
    rtt: Option<Duration>,
    ping: Option<Ping>,
    pings: u64,
    outputs: VecDeque<Output<U::Order>>,
}

#[derive(Debug, Clone)]
enum State {
    Open,
    Draining(Order),
    Closing(Closing),
    Ending(Closing),
    Closed(Cause),
}

impl<U: Upstream> Session<U> {
    fn over(upstream: U, config: Arc<Config>, now: Instant) -> Self {
        Self {
            config,
            upstream,
            state: State::Open,
            owed: 0,
            unwritten: false,
            traffic: Traffic::default(),
            control_bytes: 0,
            last_data: now,
            last_moved: now,
            last_delivered: now,
            rtt: None,
            ping: None,
            pings: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Open => Phase::Open,
            State::Draining(_) => Phase::Draining,
            State::Closing(_) => Phase::Closing,
            State::Ending(_) => Phase::Ending,
            State::Closed(_) => Phase::Closed,
        }
    }

    /// Why it ended, once it has.
    pub fn cause(&self) -> Option<Cause> {
        match self.state {
            State::Closed(cause) => Some(cause),
            State::Open | State::Draining(_) | State::Closing(_) | State::Ending(_) => None,
        }
    }

    /// When the last data frame passed, either way.
    pub fn last_data(&self) -> Instant {
        self.last_data
    }

    /// Takes one input. Every output must have been taken before.
    pub fn handle_input(&mut self, input: Input<U::Input>, now: Instant) {
        debug_assert!(self.outputs.is_empty(), "outputs are taken before the next input");
        if let State::Closed(_) = self.state {
            return;
        }
        match input {
            Input::Message(message) => self.on_message(message, now),
            Input::Pong(nonce) => self.on_pong(nonce, now),
            Input::PeerClose => self.on_peer_close(now),
            Input::Violation(cause) => self.on_violation(cause, now),
            Input::Ended(cause) => self.on_ended(cause, now),
            Input::Traffic(traffic) => self.on_traffic(traffic, now),
            Input::Flushed => self.on_flushed(now),
            Input::Overflow => self.abandon(Cause::SlowReader, 1008, "not reading", now),
            Input::Upstream(input) => U::on_input(self, input, now),
            Input::Drain(deadlines) => self.on_drain(deadlines, now),
            Input::Undrain => self.on_undrain(),
            Input::Configure(config) => {
                if let State::Open | State::Draining(_) = self.state {
                    self.config = config;
                }
            }
        }
        self.advance(now);
    }

    /// Does what is due. `poll_timeout` says when to call; calling early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        debug_assert!(self.outputs.is_empty(), "outputs are taken before the next input");
        self.advance(now);
    }

    /// When `handle_timeout` has something to do, if no input comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dues = match &self.state {
            State::Open => [self.due_ping(), self.due_idle(), self.due_stall()],
            State::Draining(order) => [self.due_ping(), self.due_ebb(order), self.due_stall()],
            State::Closing(closing) | State::Ending(closing) => {
                return Some(self.due_close(closing));
            }
            State::Closed(_) => return None,
        };
        dues.into_iter().chain([self.upstream.poll_timeout()]).flatten().min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<U::Order>> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() && self.outputs.capacity() > 8 {
            // An idle client holds nothing that a busy one needed.
            self.outputs = VecDeque::new();
        }
        output
    }

    fn advance(&mut self, now: Instant) {
        if let State::Open | State::Draining(_) = self.state {
            U::advance(self, now);
        }
        match self.state {
            State::Open => {
                if self.due_idle().is_some_and(|due| due <= now) {
                    let end_by = Some(now + self.config.close_timeout);
                    return self.close(Cause::Idle, 1001, "idle", end_by, now);
                }
            }
            State::Draining(_) => {
                if self.ebb(now) {
                    return;
                }
            }
            State::Closing(ref closing) | State::Ending(ref closing) => {
                if self.due_close(closing) <= now {
                    self.give_up_closing();
                }
                return;
            }
            State::Closed(_) => return,
        }
        if self.due_stall().is_some_and(|due| due <= now) {
            self.abandon(Cause::SlowReader, 1008, "not reading", now);
        } else if let Some(due) = self.due_ping().filter(|due| *due <= now) {
            self.ping_or_give_up(due, now);
        }
    }

    fn on_message(&mut self, message: Message, now: Instant) {
        match self.state {
            State::Open | State::Draining(_) => {
                self.data_passed(now);
                U::on_message(self, message, now);
            }
            State::Closing(_) | State::Ending(_) => U::on_crossing(self, message),
            State::Closed(_) => {}
        }
    }

    fn on_traffic(&mut self, traffic: Traffic, now: Instant) {
        let before = std::mem::replace(&mut self.traffic, traffic);
        if before.mid_message {
            // A frame that takes long passes all that time. If it was a Pong it cancels nothing.
            self.last_data = now;
        }
        // The kernel acknowledges a Ping or Close by itself: only answers that move prove life.
        let answers_under_way = self.unwritten || before.unsent > self.control_bytes;
        let delivered = answers_under_way && traffic.delivered() != before.delivered();
        if delivered {
            self.last_delivered = now;
        }
        if before.paused {
            self.ping_unheard(now);
        }
        if delivered || traffic.received != before.received || before.paused {
            self.last_moved = now;
        }
    }

    fn on_flushed(&mut self, now: Instant) {
        if std::mem::take(&mut self.unwritten) {
            // The reply has passed only now.
            self.data_passed(now);
        }
        if self.owed > 0 {
            let answers = std::mem::take(&mut self.owed);
            self.tell(Event::Answered(answers));
        }
    }

    /// Whether something is owed: what a drain waits for.
    pub fn holds(&self) -> bool {
        !self.upstream.owes_nothing()
    }

    /// Bytes from the client that wait until the upstream can take them.
    pub fn held_bytes(&self) -> usize {
        self.upstream.held_bytes()
    }

    /// Whether nothing is in flight, either way, on this connection (DRAIN.md, slack water).
    fn is_slack(&self) -> bool {
        self.upstream.owes_nothing() && !self.unwritten && !self.traffic.mid_message
    }

    fn due_idle(&self) -> Option<Instant> {
        let timeout = self.config.idle_timeout.filter(|_| self.is_slack())?;
        Some(self.last_data + timeout)
    }

    fn due_stall(&self) -> Option<Instant> {
        self.unwritten.then(|| self.last_delivered + self.config.write_stall_timeout)
    }

    fn reply(&mut self, text: String, now: Instant) {
        self.answer(Output::Reply(text), now);
    }

    /// Gives the client a message; our Close has not gone out.
    fn answer(&mut self, reply: Output<U::Order>, now: Instant) {
        if !self.unwritten {
            self.unwritten = true;
            self.last_delivered = now;
        }
        self.control_bytes = 0;
        self.data_passed(now);
        self.outputs.push_back(reply);
    }

    /// A data frame has passed, either way: slack water has to be confirmed anew.
    fn data_passed(&mut self, now: Instant) {
        self.last_data = now;
        if let State::Draining(order) = &mut self.state {
            order.barrier = None;
        }
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

impl Traffic {
    /// Bytes that the client's end of TCP has acknowledged.
    fn delivered(&self) -> u64 {
        self.written.saturating_sub(self.unsent)
    }
}
