//! The process: how it leaves a load-balanced group, and comes back.
//!
//! The law is that of [`crate::session`]: feed one input, take every output, then feed the next.
//! Time and chance are arguments. Steps are announce, refuse, ebb, drained (DRAIN.md, "The gateway
//! as a whole"); `undrain` leads back from each of them.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::session::Deadlines;

/// How a gateway drains.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How long new connections are still served after the announcement.
    pub announce: Duration,
    /// Over how long the closing of idle connections is spread.
    pub ebb_window: Duration,
    /// How long a drain may take in all; `None` waits for ever.
    pub deadline: Option<Duration>,
    /// How long a connection that was closed at the deadline may still take to end.
    pub close_timeout: Duration,
}

/// A connection, by the number that the shell gave it.
pub type ConnectionId = u64;

/// What a drain is told.
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// A connection begins.
    Joined(ConnectionId),
    /// A connection has ended; `lost` counts what was cut off on it.
    Left {
        /// Which.
        id: ConnectionId,
        /// Requests and sessions cut off, answers lost.
        lost: u64,
    },
    /// Drain. During a drain, `deadline` replaces the deadline and `exit` is added.
    Drain {
        /// Whether the process is to end when it is drained.
        exit: bool,
        /// How long from now everything may take, in place of the configured time;
        /// `Some(None)` waits for ever.
        deadline: Option<Option<Duration>>,
        /// Random bits, for the order of the ebb.
        seed: u64,
    },
    /// The listeners refuse now.
    Refused,
    /// Cut off what is pending, and exit.
    Hurry,
    /// Call the drain off.
    Undrain,
    /// Go by these from now on. A deadline that has been set and the order of an ebb that has begun
    /// stay as they are.
    Configure(Config),
}

/// What a drain wants done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Say that this gateway is leaving: not ready.
    Announce,
    /// Refuse new connections; `Input::Refused` when it is done. If the drain is final, sockets
    /// that others listen on as well are left to them.
    Refuse,
    /// The process, which refuses already, is to end after all: leave them now.
    Leave,
    /// Order this connection to drain.
    Ask(ConnectionId, Deadlines),
    /// Take every order to drain back.
    Recall,
    /// Accept again, and say so.
    Serve,
    /// The last connection is gone.
    Drained(Verdict),
    /// End the process, whatever is left.
    Exit(Verdict),
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was cut off.
    Clean,
    /// So much was.
    Lost(u64),
}

impl Verdict {
    /// The exit status: 0, or 3 if something was cut off.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Lost(_) => 3,
        }
    }
}

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No drain.
    Serving,
    /// Not ready, but still accepting.
    Announce,
    /// Listeners are being shut.
    Refuse,
    /// Connections leave as they fall slack.
    Ebb,
    /// No connection is left.
    Drained,
}

impl Phase {
    /// The name in status and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Announce => "announce",
            Self::Refuse => "refuse",
            Self::Ebb => "ebb",
            Self::Drained => "drained",
        }
    }
}

/// A drain that was called off too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gateway was told to stop; that cannot be called off")]
pub struct TooLate;

/// The drain of one process.
#[derive(Debug)]
pub struct Drain {
    config: Config,
    phase: Phase,
    connections: BTreeSet<ConnectionId>,
    /// Of a drain that is under way.
    exit: bool,
    began: Option<Instant>,
    deadlines: (Option<Instant>, Option<Instant>),
    seed: u64,
    at_start: usize,
    lost: u64,
    outputs: VecDeque<Output>,
}

impl Drain {
    /// A process that serves.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Serving,
            connections: BTreeSet::new(),
            exit: false,
            began: None,
            deadlines: (None, None),
            seed: 0,
            at_start: 0,
            lost: 0,
            outputs: VecDeque::new(),
        }
    }

    /// How far the drain is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Connections there were when the drain began.
    pub fn connections_at_start(&self) -> usize {
        self.at_start
    }

    /// When the drain began.
    pub fn began(&self) -> Option<Instant> {
        self.began
    }

    /// The instant at which everything is cut off.
    pub fn hard_deadline(&self) -> Option<Instant> {
        self.deadlines.1
    }

    /// The instant from which nothing new is executed.
    pub fn soft_deadline(&self) -> Option<Instant> {
        self.deadlines.0
    }

    /// Whether the process ends when it is drained: then nothing leads back.
    pub fn is_final(&self) -> bool {
        self.exit
    }

    /// How the drain has gone so far.
    pub fn verdict(&self) -> Verdict {
        if self.lost == 0 { Verdict::Clean } else { Verdict::Lost(self.lost) }
    }

    /// Whether `Input::Undrain` would be heard.
    ///
    /// # Errors
    /// [`TooLate`] once the process was told to end.
    pub fn may_undrain(&self) -> Result<(), TooLate> {
        if self.exit { Err(TooLate) } else { Ok(()) }
    }

    /// Takes one input. Every output must have been taken before.
    pub fn handle_input(&mut self, input: Input, now: Instant) {
        debug_assert!(self.outputs.is_empty(), "outputs are taken before the next input");
        match input {
            Input::Joined(id) => {
                self.connections.insert(id);
                if matches!(self.phase, Phase::Ebb | Phase::Drained) {
                    // It was on its way in when the listeners shut; it leaves when it falls slack.
                    self.phase = Phase::Ebb;
                    self.ask(id, now);
                }
            }
            Input::Left { id, lost } => {
                self.connections.remove(&id);
                if self.phase != Phase::Serving {
                    self.lost += lost;
                }
            }
            Input::Drain { exit, deadline, seed } => self.on_drain(exit, deadline, seed, now),
            Input::Refused => {
                if self.phase == Phase::Refuse {
                    self.begin_ebb(now);
                }
            }
            Input::Hurry => self.on_hurry(now),
            Input::Undrain => {
                if self.phase != Phase::Serving && self.may_undrain().is_ok() {
                    self.phase = Phase::Serving;
                    self.began = None;
                    self.deadlines = (None, None);
                    self.outputs.extend([Output::Recall, Output::Serve]);
                }
            }
            Input::Configure(config) => self.config = config,
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
        match self.phase {
            Phase::Serving | Phase::Refuse | Phase::Drained => None,
            Phase::Announce => self.announced(),
            Phase::Ebb => self.last_resort(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn on_drain(
        &mut self,
        exit: bool,
        deadline: Option<Option<Duration>>,
        seed: u64,
        now: Instant,
    ) {
        self.make_final(exit);
        if self.phase == Phase::Serving {
            self.phase = Phase::Announce;
            self.began = Some(now);
            self.at_start = self.connections.len();
            self.lost = 0;
            self.seed = seed;
            self.set_deadline(deadline.unwrap_or(self.config.deadline), now);
            self.outputs.push_back(Output::Announce);
            return;
        }
        if let Some(deadline) = deadline {
            self.set_deadline(deadline, now);
            if self.phase == Phase::Ebb {
                self.ask_all(now, |_| now);
            }
        }
        if exit && self.phase == Phase::Drained {
            self.outputs.push_back(Output::Exit(self.verdict()));
        }
    }

    fn on_hurry(&mut self, now: Instant) {
        self.make_final(true);
        if self.phase == Phase::Serving {
            self.began = Some(now);
            self.at_start = self.connections.len();
            self.lost = 0;
            self.outputs.push_back(Output::Announce);
        }
        self.deadlines = (Some(now), Some(now));
        match self.phase {
            Phase::Serving | Phase::Announce => {
                self.phase = Phase::Refuse;
                self.outputs.push_back(Output::Refuse);
            }
            Phase::Refuse => {}
            Phase::Ebb => self.ask_all(now, |_| now),
            Phase::Drained => self.outputs.push_back(Output::Exit(self.verdict())),
        }
    }

    fn make_final(&mut self, exit: bool) {
        let refuses = matches!(self.phase, Phase::Refuse | Phase::Ebb);
        if exit && !self.exit && refuses {
            self.outputs.push_back(Output::Leave);
        }
        self.exit |= exit;
    }

    fn advance(&mut self, now: Instant) {
        if self.phase == Phase::Announce && self.announced().is_some_and(|due| due <= now) {
            self.phase = Phase::Refuse;
            self.outputs.push_back(Output::Refuse);
        }
        if self.phase != Phase::Ebb {
            return;
        }
        if self.connections.is_empty() {
            self.phase = Phase::Drained;
            self.outputs.push_back(Output::Drained(self.verdict()));
            if self.exit {
                self.outputs.push_back(Output::Exit(self.verdict()));
            }
        } else if self.exit && self.last_resort().is_some_and(|due| due <= now) {
            // Every session should have ended by now: the process does not wait for one that hangs.
            self.lost += self.connections.len() as u64;
            self.phase = Phase::Drained;
            self.outputs.push_back(Output::Exit(self.verdict()));
        }
    }

    fn begin_ebb(&mut self, now: Instant) {
        self.phase = Phase::Ebb;
        let (soft, _) = self.deadlines;
        // Half of the time until the soft deadline belongs to those that are busy.
        let window = soft.map_or(self.config.ebb_window, |soft| {
            self.config.ebb_window.min(soft.saturating_duration_since(now) / 2)
        });
        let count = self.connections.len().max(1) as u32;
        let mut ranks: Vec<u32> = (0..count).collect();
        shuffle(&mut ranks, self.seed);
        self.ask_all(now, |place| {
            now + window * ranks.get(place).copied().unwrap_or_default() / count
        });
    }

    fn ask_all(&mut self, now: Instant, slot: impl Fn(usize) -> Instant) {
        let (soft, hard) = self.deadlines;
        let hurry = hard.is_some_and(|hard| hard <= now);
        for (place, id) in self.connections.iter().enumerate() {
            let slot = if hurry { now } else { slot(place) };
            self.outputs.push_back(Output::Ask(*id, Deadlines { slot, soft, hard }));
        }
    }

    fn ask(&mut self, id: ConnectionId, now: Instant) {
        let (soft, hard) = self.deadlines;
        self.outputs.push_back(Output::Ask(id, Deadlines { slot: now, soft, hard }));
    }

    fn set_deadline(&mut self, deadline: Option<Duration>, now: Instant) {
        self.deadlines = (deadline.map(|d| now + d * 3 / 4), deadline.map(|d| now + d));
    }

    /// When the announcement has stood for long enough. It counts within the deadline: a deadline
    /// that is nearer leaves half of its time for the rest.
    fn announced(&self) -> Option<Instant> {
        let began = self.began?;
        let announce = self.deadlines.1.map_or(self.config.announce, |hard| {
            self.config.announce.min(hard.saturating_duration_since(began) / 2)
        });
        Some(began + announce)
    }

    fn last_resort(&self) -> Option<Instant> {
        const GRACE: Duration = Duration::from_secs(1);
        self.deadlines.1.filter(|_| self.exit).map(|hard| hard + self.config.close_timeout + GRACE)
    }
}

/// Fisher and Yates, with the generator of splitmix64: an order need not be unguessable.
fn shuffle(items: &mut [u32], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        items.swap(last, (bits % (last as u64 + 1)) as usize);
    }
}
