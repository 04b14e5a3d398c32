//! How a draining session finds the instant at which closing it costs nobody anything: slack
//! water, the quiet window, the barrier; and what happens when the operator's deadline is nearer
//! (DRAIN.md, "Confirming it" and "The deadline").

use std::time::{Duration, Instant};

use super::{Deadlines, Input, Output, Session, State, Upstream};
use crate::event::{Cause, Event};

/// A drain, as one session sees it.
#[derive(Debug, Clone)]
pub(super) struct Order {
    deadlines: Deadlines,
    /// Whether the soft deadline has passed.
    pub(super) soft_passed: bool,
    pub(super) barrier: Option<Barrier>,
    /// When a Pong came back too early to close upon: the round trip is known, and the next Ping
    /// goes out when it has been quiet for long enough by that.
    measured: Option<Instant>,
}

impl Order {
    const fn new(deadlines: Deadlines) -> Self {
        Self { deadlines, soft_passed: false, barrier: None, measured: None }
    }
}

/// A Ping that must come back before any data frame does.
#[derive(Debug, Clone)]
pub(super) struct Barrier {
    nonce: u64,
    sent: Instant,
}

/// The last Ping, whatever it was sent for.
#[derive(Debug, Clone)]
pub(super) struct Ping {
    nonce: u64,
    sent: Instant,
}

/// While rtt is unknown and the path stands still, a Pong is waited for so long.
const BARRIER_PATIENCE: Duration = Duration::from_secs(2);

/// Whoever does what is due so late did not run in between.
const HELD_UP: Duration = Duration::from_secs(1);

impl<U: Upstream> Session<U> {
    pub(super) fn on_drain(&mut self, deadlines: Deadlines, now: Instant) {
        let is_slack = self.is_slack();
        match &mut self.state {
            State::Open => {
                self.upstream.on_drain(&deadlines);
                // Who is busy now leaves when it falls slack; only the idle are spread.
                let slot = if is_slack { deadlines.slot } else { now };
                let deadlines = Deadlines { slot, ..deadlines };
                self.state = State::Draining(Order::new(deadlines));
            }
            State::Draining(order) => {
                order.deadlines = Deadlines { slot: order.deadlines.slot, ..deadlines };
                order.soft_passed = false;
            }
            State::Closing(closing) | State::Ending(closing) => {
                closing.end_by(deadlines.hard.map(|hard| hard + self.config.close_timeout));
            }
            State::Closed(_) => {}
        }
    }

    pub(super) fn on_undrain(&mut self) {
        if let State::Draining(_) = self.state {
            self.state = State::Open;
            self.upstream.on_undrain();
        }
    }

    pub(super) fn on_pong(&mut self, nonce: u64, now: Instant) {
        if let Some(ping) = self.ping.take_if(|ping| ping.nonce == nonce) {
            // The least that was seen: what a busy client adds is not the path's.
            let measured = now.saturating_duration_since(ping.sent);
            self.rtt = Some(self.rtt.map_or(measured, |least| least.min(measured)));
        }
        let State::Draining(order) = &mut self.state else { return };
        let deadlines = order.deadlines;
        if order.barrier.take_if(|barrier| barrier.nonce == nonce).is_none() {
            return;
        }
        order.measured = Some(now);
        if self.is_slack() && self.quiet_due(&deadlines) <= now {
            self.close_drained(now);
        }
    }

    /// Whether new requests are refused. The clock decides, not whether its timer was heard.
    pub(super) fn executes_no_more(&self, now: Instant) -> bool {
        let State::Draining(order) = &self.state else { return false };
        let Deadlines { soft, hard, .. } = order.deadlines;
        order.soft_passed || [soft, hard].into_iter().flatten().any(|deadline| deadline <= now)
    }

    /// Does what a draining session has to do now. True if it is draining no more.
    pub(super) fn ebb(&mut self, now: Instant) -> bool {
        let State::Draining(order) = &mut self.state else { return true };
        let deadlines = order.deadlines;
        let nothing_owed = self.upstream.owes_nothing() && !self.unwritten;
        if deadlines.hard.is_some_and(|hard| hard <= now) && !nothing_owed {
            self.cut_off(now);
            return true;
        }
        order.soft_passed |= deadlines.soft.is_some_and(|soft| soft <= now);
        if order.soft_passed {
            // A frame that is half read has not been executed, and will not be.
            if nothing_owed {
                self.close_drained(now);
                return true;
            }
            return false;
        }
        if !self.is_slack() {
            return false;
        }
        let State::Draining(order) = &self.state else { return true };
        match &order.barrier {
            Some(barrier) => {
                let given_up = self.barrier_due(barrier) <= now;
                if given_up {
                    self.tell(Event::BarrierGivenUp);
                    self.close_drained(now);
                }
                given_up
            }
            None => {
                if self.ping_due(order) <= now {
                    let nonce = self.send_ping(now);
                    if let State::Draining(order) = &mut self.state {
                        order.barrier = Some(Barrier { nonce, sent: now });
                    }
                }
                false
            }
        }
    }

    pub(super) fn due_ebb(&self, order: &Order) -> Option<Instant> {
        let Deadlines { soft, hard, .. } = order.deadlines;
        let soft = soft.filter(|_| !order.soft_passed);
        let slack = (self.is_slack() && !order.soft_passed).then(|| match &order.barrier {
            Some(barrier) => self.barrier_due(barrier),
            None => self.ping_due(order),
        });
        [soft, hard, slack].into_iter().flatten().min()
    }

    pub(super) fn due_ping(&self) -> Option<Instant> {
        let interval = self.config.ping_interval?;
        let last = match &self.ping {
            Some(ping) => ping.sent.max(self.last_moved),
            None => self.last_moved.max(self.last_data),
        };
        Some(last + interval)
    }

    /// Gives up a client that has not answered the last Ping; asks any other. Who notices late that
    /// it is time was held up himself, and what has come meanwhile may not be read yet.
    pub(super) fn ping_or_give_up(&mut self, due: Instant, now: Instant) {
        let is_silent = self.ping.as_ref().is_some_and(|ping| self.last_moved <= ping.sent);
        if is_silent && now < due + HELD_UP {
            self.abandon(Cause::DeadPeer, 1011, "ping unanswered", now);
        } else {
            self.send_ping(now);
        }
    }

    /// While nothing is read from the client, no Pong can be awaited, and how late one is read later
    /// tells nothing of the path. But the Ping shows whether anybody is there to take it: to who has
    /// left it cannot be delivered, which ends the connection.
    pub(super) fn ping_unheard(&mut self, now: Instant) {
        if self.due_ping().is_some_and(|due| due <= now) {
            self.send_ping(now);
        }
        self.ping = None;
    }

    /// When the Pong is given up: counted only while no byte moves.
    fn barrier_due(&self, barrier: &Barrier) -> Instant {
        let patience = self.rtt.map_or(BARRIER_PATIENCE, |rtt| BARRIER_PATIENCE.max(4 * rtt));
        barrier.sent.max(self.last_moved) + patience
    }

    /// When the barrier's Ping goes out. It does not wait for what an earlier round trip asks for:
    /// one that was slow by chance would make the window longer than a busy client is ever quiet,
    /// and no Ping would go out that could correct it.
    fn ping_due(&self, order: &Order) -> Instant {
        let due = self.quiet_due(&order.deadlines);
        if order.measured.is_some_and(|measured| measured >= self.last_data) {
            return due;
        }
        due.min(order.deadlines.slot.max(self.last_data + self.config.quiet_window))
    }

    /// When it has been quiet for long enough, and the slot has come.
    ///
    /// The window is an eleventh of what is left until the soft deadline at the last data frame,
    /// if that is less: so a chatty client cannot hold the drain for ever.
    fn quiet_due(&self, deadlines: &Deadlines) -> Instant {
        let window = self.rtt.map_or(Duration::ZERO, |rtt| 2 * rtt).max(self.config.quiet_window);
        let window = deadlines
            .soft
            .map_or(window, |soft| window.min(soft.saturating_duration_since(self.last_data) / 11));
        deadlines.slot.max(self.last_data + window)
    }

    fn send_ping(&mut self, now: Instant) -> u64 {
        self.pings += 1;
        let nonce = self.pings;
        self.ping = Some(Ping { nonce, sent: now });
        self.control_bytes += 10;
        self.outputs.push_back(Output::Ping(nonce));
        nonce
    }

    fn close_drained(&mut self, now: Instant) {
        let hard = match &self.state {
            State::Draining(order) => order.deadlines.hard,
            State::Open | State::Closing(_) | State::Ending(_) | State::Closed(_) => None,
        };
        let end_by = hard.map(|hard| hard + self.config.close_timeout);
        self.close(Cause::Drained, self.config.close_code, "drained", end_by, now);
    }
}

impl<I> Input<I> {
    /// An order to drain at once and cut off what is pending.
    pub fn hurry(now: Instant) -> Self {
        Self::Drain(Deadlines { slot: now, soft: Some(now), hard: Some(now) })
    }
}
