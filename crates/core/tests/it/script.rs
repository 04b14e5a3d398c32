//! Any script at all, played to a session and to the naive model: after each act both agree on
//! every number, on what the client was told and on what reached the bus, and every drain ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;
use slackwater_core::event::Cause;
use slackwater_core::osrf::envelope::{Bounce, Outgoing};
use slackwater_core::session::identity::ClientId;
use slackwater_core::session::{FromBus, Input, Phase};

use crate::bench::Bench;
use crate::model::{Answer, Fate, MAX_REQUESTS, MAX_SESSIONS, Model, Word};
use crate::words::{
    ROUTER, SERVICE, WORKER, bad_request, complete, connect, connected, disconnect, ms,
    no_such_method, not_taken, request_to, result, secs, status, wrapper,
};

const THREADS: [&str; 3] = ["a", "b", "c"];
const CLOSE_TIMEOUT: Duration = secs(10);
const QUIET_WINDOW: Duration = ms(200);
const PATIENCE: Duration = secs(2);

#[derive(Debug, Clone)]
enum Act {
    Say { thread: usize, names_service: bool, words: Vec<Word> },
    Garbage,
    Answer { place: usize, answer: Answer, trace: u32 },
    Refuse(usize),
    Uncertain(usize),
    Bounce(usize),
    Flush,
    Traffic { bytes: u64, mid_message: bool },
    Pong { right: bool },
    Wait(u64),
    Drain { slot: u64, deadline: Option<u64> },
    Undrain,
    BusLost,
    BusRestored,
    Overflow,
    PeerClose,
    Ended,
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let word = prop_oneof![
        4 => (0..3u32).prop_map(Word::Request),
        2 => (0..3u32).prop_map(Word::Connect),
        2 => Just(Word::Disconnect),
        1 => (0..3u32).prop_map(Word::BadRequest),
    ];
    prop::collection::vec(word, 1..4)
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        1 => Just(Answer::Result),
        4 => Just(Answer::Connected),
        5 => Just(Answer::Complete),
        1 => Just(Answer::WorkerLeft),
        2 => Just(Answer::Failed),
        1 => Just(Answer::EnvelopeRefused),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => (0..3usize, prop::bool::weighted(0.8), words())
            .prop_map(|(thread, names_service, words)| Act::Say { thread, names_service, words }),
        1 => Just(Act::Garbage),
        14 => (0..12usize, answers(), 0..3u32)
            .prop_map(|(place, answer, trace)| Act::Answer { place, answer, trace }),
        1 => (0..8usize).prop_map(Act::Refuse),
        1 => (0..8usize).prop_map(Act::Uncertain),
        1 => (0..8usize).prop_map(Act::Bounce),
        6 => Just(Act::Flush),
        2 => (0..2u64, any::<bool>())
            .prop_map(|(bytes, mid_message)| Act::Traffic { bytes, mid_message }),
        4 => prop::bool::weighted(0.9).prop_map(|right| Act::Pong { right }),
        6 => prop_oneof![0..300u64, 0..3_000u64].prop_map(Act::Wait),
        3 => (0..1_000u64, prop::option::weighted(0.8, 0..20_000u64))
            .prop_map(|(slot, deadline)| Act::Drain { slot, deadline }),
        1 => Just(Act::Undrain),
        1 => prop_oneof![Just(Act::BusLost), Just(Act::BusRestored), Just(Act::BusRestored)],
        1 => prop_oneof![Just(Act::Overflow), Just(Act::PeerClose), Just(Act::Ended)],
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_ledger_is_what_a_plain_list_says(
        script in prop::collection::vec(act(), 1..80)
    ) {
        let mut play = Play::new();
        for act in &script {
            play.perform(act);
        }
        play.end();
    }
}

/// A drain as the client's side sees it.
#[derive(Debug, Clone, Copy)]
struct Order {
    slot: Instant,
    soft: Option<Instant>,
    hard: Option<Instant>,
}

struct Play {
    bench: Bench,
    model: Model,
    order: Option<Order>,
    last_data: Instant,
    /// A reply is on its way to the kernel.
    unwritten: bool,
    /// A Ping is out, and since then no data frame has passed.
    barrier: bool,
    /// The least time in which a Pong has come back.
    round_trip: Option<Duration>,
    awaits_pong: bool,
    /// A Close has passed, or the connection is gone.
    is_over: bool,
    client_ended: bool,
    named: usize,
    sent: Vec<Outgoing>,
    /// How often each request has reached the bus, by its method.
    reached: BTreeMap<String, usize>,
}

impl Play {
    fn new() -> Self {
        let mut bench = Bench::with(|config| {
            config.max_requests_in_flight = MAX_REQUESTS;
            config.max_sessions = MAX_SESSIONS;
            config.close_timeout = CLOSE_TIMEOUT;
            config.write_stall_timeout = secs(1_000_000);
        });
        bench.stops_reading();
        let last_data = bench.now;
        Self {
            bench,
            model: Model::default(),
            order: None,
            last_data,
            unwritten: false,
            barrier: false,
            round_trip: None,
            awaits_pong: false,
            is_over: false,
            client_ended: false,
            named: 0,
            sent: Vec::new(),
            reached: BTreeMap::new(),
        }
    }

    fn perform(&mut self, act: &Act) {
        let pings = self.bench.pings.len();
        let mut answers_barrier = false;
        match act {
            Act::Say { thread, names_service, words } => {
                self.say(THREADS[*thread], *names_service, words);
            }
            Act::Garbage => {
                self.data_passes();
                self.bench.text("garbage");
            }
            Act::Answer { place, answer, trace } => {
                if !self.is_over {
                    self.model.answer(*place, *answer, *trace);
                }
                let (from, text) = answer_text(*answer, *trace);
                self.bench.answer_from(from, *place as u64 + 1, &[text]);
            }
            Act::Refuse(envelope) => self.refuse(*envelope),
            Act::Uncertain(envelope) => self.lose(*envelope),
            Act::Bounce(envelope) => self.bounce(*envelope),
            Act::Flush => {
                if std::mem::take(&mut self.unwritten) {
                    self.data_passes();
                }
                self.model.flush(Fate::Answered);
                self.bench.flush();
            }
            Act::Traffic { bytes, mid_message } => {
                if self.bench.traffic.mid_message {
                    self.last_data = self.bench.now;
                }
                self.bench.traffic(|traffic| {
                    traffic.received += bytes;
                    traffic.mid_message = *mid_message;
                });
            }
            Act::Pong { right } => {
                let last = self.bench.pings.last().copied().unwrap_or_default();
                answers_barrier = *right && self.barrier;
                if *right && std::mem::take(&mut self.awaits_pong) {
                    let took = self.bench.pinged_at.map(|at| self.bench.now - at);
                    self.round_trip = self.round_trip.into_iter().chain(took).min();
                }
                self.bench.feed(Input::Pong(if *right { last } else { last + 1 }));
            }
            Act::Wait(millis) => self.bench.wait(ms(*millis)),
            Act::Drain { slot, deadline } => self.drain(ms(*slot), deadline.map(ms)),
            Act::Undrain => {
                self.order = None;
                self.barrier = false;
                self.bench.feed(Input::Undrain);
            }
            Act::BusLost => {
                self.model.bus_is_down = true;
                if !self.is_over {
                    self.model.end_all(Fate::BusLost, true);
                }
                self.bench.feed(Input::Upstream(FromBus::Lost));
            }
            Act::BusRestored => {
                self.model.bus_is_down = false;
                self.bench.feed(Input::Upstream(FromBus::Restored));
            }
            Act::Overflow => self.bench.feed(Input::Overflow),
            Act::PeerClose => {
                self.client_leaves();
                self.bench.peer_closes();
            }
            Act::Ended => {
                self.client_leaves();
                self.client_ended |= self.bench.session.phase() != Phase::Closed;
                self.bench.feed(Input::Ended(Cause::Eof));
            }
        }
        if self.bench.pings.len() > pings {
            self.judge_ping();
            self.barrier = true;
            self.awaits_pong = true;
        }
        if !self.bench.replies.is_empty() {
            self.unwritten = true;
            self.data_passes();
        }
        self.judge_close(answers_barrier);
        if matches!(act, Act::Pong { right: true }) && self.bench.pings.len() == pings {
            self.barrier = false;
        }
        self.compare();
    }

    fn say(&mut self, thread: &str, names_service: bool, words: &[Word]) {
        if self.bench.session.phase() == Phase::Closed {
            return;
        }
        let mut methods = Vec::new();
        let mut texts = Vec::new();
        for word in words {
            self.named += 1;
            let method = format!("m{}", self.named);
            texts.push(match word {
                Word::Connect(trace) => connect(*trace),
                Word::Request(trace) => request_to(*trace, &method),
                Word::BadRequest(trace) => bad_request(*trace),
                Word::Disconnect => disconnect(9),
            });
            if let Word::Request(_) | Word::BadRequest(_) = word {
                methods.push(method);
            }
        }
        if self.is_over {
            self.model.cross(words, &methods);
        } else {
            self.data_passes();
            let executes = !self.has_passed(self.order.and_then(|order| order.soft));
            self.model.say(thread, names_service, words, &methods, executes);
        }
        self.bench.text(wrapper(names_service.then_some(SERVICE), thread, &texts));
    }

    /// The bus gives some envelope back that it was handed.
    fn refuse(&mut self, envelope: usize) {
        let Some(envelope) = envelope.checked_rem(self.sent.len()) else { return };
        let envelope = self.sent[envelope].clone();
        let (connects, requests) = contents(&envelope);
        let (_, number) = ClientId::parse_thread(&envelope.thread).expect("a thread of ours");
        if !self.is_over {
            let traces: Vec<u32> = requests.iter().map(|(trace, _)| *trace).collect();
            self.model.refuse(number as usize - 1, connects, &traces);
        }
        self.bench.feed(Input::Upstream(FromBus::Refused(envelope, not_taken())));
    }

    /// Of some envelope nobody knows whether it has arrived.
    fn lose(&mut self, envelope: usize) {
        let Some(envelope) = envelope.checked_rem(self.sent.len()) else { return };
        let envelope = self.sent[envelope].clone();
        let (_, number) = ClientId::parse_thread(&envelope.thread).expect("a thread of ours");
        if !self.is_over {
            self.model.end_one(number as usize - 1, Fate::BusLost, true);
        }
        self.bench.feed(Input::Upstream(FromBus::Uncertain(envelope)));
    }

    /// Some envelope comes back.
    fn bounce(&mut self, envelope: usize) {
        let Some(envelope) = envelope.checked_rem(self.sent.len()) else { return };
        let thread = self.sent[envelope].thread.clone();
        let (_, number) = ClientId::parse_thread(&thread).expect("a thread of ours");
        if !self.is_over {
            self.model.bounce(number as usize - 1);
        }
        self.bench.feed(Input::Upstream(FromBus::Bounced(Bounce {
            thread,
            reason: "nobody".to_owned(),
        })));
    }

    fn drain(&mut self, slot: Duration, deadline: Option<Duration>) {
        let now = self.bench.now;
        let is_slack = self.is_quiet() && !self.bench.traffic.mid_message;
        let new = if is_slack { now + slot } else { now };
        self.order = Some(Order {
            slot: self.order.map_or(new, |order| order.slot),
            soft: deadline.map(|time| now + time * 3 / 4),
            hard: deadline.map(|time| now + time),
        });
        self.bench.drain_by(slot, deadline.map(|time| time * 3 / 4), deadline);
    }

    fn data_passes(&mut self) {
        self.last_data = self.bench.now;
        self.barrier = false;
    }

    fn client_leaves(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.model.end_all(Fate::ClientGone, false);
        }
    }

    /// Nothing is pending, and nothing waits to be written.
    fn is_quiet(&self) -> bool {
        self.model.is_settled() && !self.unwritten
    }

    fn has_passed(&self, deadline: Option<Instant>) -> bool {
        deadline.is_some_and(|deadline| deadline <= self.bench.now)
    }

    /// Whether the barrier went up after quiet, and not before the slot.
    fn judge_ping(&self) {
        let order = self.order.expect("a drain");
        let at = self.bench.pinged_at.expect("a Ping");
        assert!(at >= order.slot, "the slot has not come");
        assert!(at >= self.last_data + window(order, self.last_data, QUIET_WINDOW), "no quiet");
    }

    /// Whether it has been quiet for the whole window, by what is known of the round trip.
    fn was_quiet(&self, order: Order) -> bool {
        let whole = self.round_trip.map_or(QUIET_WINDOW, |trip| QUIET_WINDOW.max(2 * trip));
        self.bench.now >= order.slot
            && self.bench.now >= self.last_data + window(order, self.last_data, whole)
    }

    /// Whether our Close came when it had to, and not when it must not.
    fn judge_close(&mut self, answers_barrier: bool) {
        if self.is_over {
            return;
        }
        let Some((_, reason)) = self.bench.close else {
            let Some(order) = self.order else { return };
            assert!(!self.has_passed(order.hard), "the hard deadline has passed");
            let is_quiet = self.is_quiet();
            assert!(!(is_quiet && self.has_passed(order.soft)), "nothing is pending any more");
            let is_confirmed = answers_barrier
                && is_quiet
                && !self.bench.traffic.mid_message
                && self.was_quiet(order);
            assert!(!is_confirmed, "slack water is confirmed");
            return;
        };
        self.is_over = true;
        let at = self.bench.closed_at.expect("it has been closed");
        match reason {
            "drained" => {
                let order = self.order.expect("a drain");
                assert!(self.is_quiet(), "something is pending or unwritten");
                if order.soft.is_none_or(|soft| soft > at) {
                    let pinged = self.bench.pinged_at.expect("a barrier");
                    assert!(!self.bench.traffic.mid_message, "a frame is half read");
                    assert!(self.barrier, "the barrier is down");
                    assert!(!answers_barrier || self.was_quiet(order), "it was not quiet");
                    assert!(answers_barrier || at >= pinged + PATIENCE, "no Pong has come");
                }
            }
            "deadline" => {
                let hard = self.order.and_then(|order| order.hard);
                assert!(hard.is_some_and(|hard| hard <= at), "the deadline has not come");
                self.model.end_all(Fate::CutOff, true);
            }
            "not reading" => self.model.end_all(Fate::ClientGone, false),
            other => panic!("closed for no reason: {other}"),
        }
    }

    fn compare(&mut self) {
        if self.bench.session.phase() == Phase::Closed {
            let by_us = matches!(self.bench.close, Some((_, "drained" | "deadline")));
            let cut_off = by_us && !self.client_ended;
            self.model.flush(if cut_off { Fate::CutOff } else { Fate::ClientGone });
        }
        for envelope in std::mem::take(&mut self.bench.sent) {
            for (_, method) in contents(&envelope).1 {
                *self.reached.entry(method).or_default() += 1;
            }
            self.sent.push(envelope);
        }
        for request in &self.model.requests {
            let reached = self.reached.get(&request.method).copied().unwrap_or_default();
            let expected = !matches!(request.fate, Fate::Held | Fate::Rejected | Fate::Crossed);
            assert_eq!(reached, usize::from(expected), "{request:?} on the bus");
        }
        let mut told = self.bench.statuses();
        told.sort();
        self.model.told.sort();
        assert_eq!(told, std::mem::take(&mut self.model.told), "what the client was told");
        self.model.agrees_with(&self.bench.counters);
    }

    /// A drain with a deadline, and a client that does nothing but send for ever.
    fn end(&mut self) {
        self.perform(&Act::Drain { slot: 0, deadline: Some(8_000) });
        let last = self.bench.now + secs(8) + CLOSE_TIMEOUT;
        while self.bench.now < last {
            self.perform(&Act::Wait(1_000));
            self.perform(&Act::Traffic { bytes: 1, mid_message: true });
        }
        assert_eq!(self.bench.session.phase(), Phase::Closed, "a drain ends by its deadline");
        for fate in [Fate::Held, Fate::Sent, Fate::Given] {
            assert_eq!(self.model.count(fate), 0);
        }
    }
}

/// A quiet window of so long, or less if the soft deadline is near.
fn window(order: Order, last_data: Instant, whole: Duration) -> Duration {
    let left = order.soft.map(|soft| soft.saturating_duration_since(last_data));
    left.map_or(whole, |left| whole.min(left / 11))
}

fn answer_text(answer: Answer, trace: u32) -> (&'static str, String) {
    match answer {
        Answer::Result => (WORKER, result(trace)),
        Answer::Connected => (WORKER, connected(trace)),
        Answer::Complete => (WORKER, complete(trace)),
        Answer::WorkerLeft => (WORKER, status(trace, "osrfConnectStatus", 408, "Timeout")),
        Answer::Failed => (WORKER, no_such_method(trace)),
        Answer::EnvelopeRefused => (ROUTER, status(trace, "osrfServiceException", 404, "None")),
    }
}

/// Whether a CONNECT is in an envelope, and the trace and method of each REQUEST.
fn contents(envelope: &Outgoing) -> (bool, Vec<(u32, String)>) {
    let body: Value = serde_json::from_str(&envelope.body).expect("bodies are JSON");
    let messages = || body.as_array().into_iter().flatten().map(|message| &message["__p"]);
    let requests = messages().filter(|message| message["type"] == "REQUEST").map(|message| {
        let trace = message["threadTrace"].as_str().and_then(|text| text.parse().ok());
        let method = message["payload"]["__p"]["method"].as_str();
        (trace.expect("a trace"), method.expect("a method").to_owned())
    });
    (messages().any(|message| message["type"] == "CONNECT"), requests.collect())
}
