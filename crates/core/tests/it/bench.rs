//! One session on a workbench. Its clock is moved by hand, and what must hold always is checked
//! after every step.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;
use slackwater_core::event::{Cause, Counters, Event, Outcome};
use slackwater_core::osrf::envelope::{Incoming, Outgoing, Recipient};
use slackwater_core::osrf::json::Json;
use slackwater_core::osrf::wrapper::Rules;
use slackwater_core::session::{
    CloseFin, Config, Deadlines, FromBus, Input, Message, Output, Phase, Session, Traffic,
};

use crate::words::{CLIENT, SERVICE, WORKER, bus_thread, ms, secs, wrapper};

pub(crate) struct Bench {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) counters: Counters,
    pub(crate) traffic: Traffic,
    /// What was sent to the bus and not yet looked at.
    pub(crate) sent: Vec<Outgoing>,
    /// What was said to the client and not yet looked at.
    pub(crate) replies: Vec<String>,
    pub(crate) events: Vec<Event>,
    pub(crate) pings: Vec<u64>,
    pub(crate) pinged_at: Option<Instant>,
    pub(crate) close: Option<(u16, &'static str)>,
    pub(crate) closed_at: Option<Instant>,
    pub(crate) finished: bool,
    pub(crate) reset: bool,
    /// Final answers given out and not flushed, by the events.
    pub(crate) owed: u64,
    peer_closed: bool,
    reads: bool,
}

/// A status as the client sees it: thread, trace, code.
pub(crate) type Said = (String, u32, u16);

/// Ready to be compared with what [`Bench::statuses`] gives.
pub(crate) fn said(thread: &str, trace: u32, code: u16) -> Said {
    (thread.to_owned(), trace, code)
}

/// An instant to begin at.
#[expect(clippy::disallowed_methods, reason = "a first instant cannot be made otherwise")]
pub(crate) fn first_instant() -> Instant {
    Instant::now()
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let config = Self::config(change);
        let now = first_instant();
        Self {
            session: Session::new(config, CLIENT, 0xABCD, now),
            now,
            counters: Counters::default(),
            traffic: Traffic::default(),
            sent: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            pings: Vec::new(),
            pinged_at: None,
            close: None,
            closed_at: None,
            finished: false,
            reset: false,
            owed: 0,
            peer_closed: false,
            reads: true,
        }
    }

    /// The rules of a bench, changed.
    pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Arc<Config> {
        let ingress = RawValue::from_string("\"gateway\"".to_owned()).expect("a JSON string");
        let mut config = Config {
            rules: Rules { max_size: 1_000_000, max_depth: 128, ingress },
            max_requests_in_flight: 256,
            max_sessions: 64,
            max_held_bytes: 1_000_000,
            quiet_window: ms(200),
            close_timeout: secs(10),
            close_code: 1012,
            close_fin: CloseFin::OnEcho,
            ping_interval: None,
            idle_timeout: None,
            write_stall_timeout: secs(30),
            activity: None,
        };
        change(&mut config);
        Arc::new(config)
    }

    /// From now on replies reach the kernel only with [`Bench::flush`].
    pub(crate) fn stops_reading(&mut self) {
        self.reads = false;
    }

    // What the client does.

    /// Messages to [`SERVICE`].
    pub(crate) fn say(&mut self, thread: &str, messages: &[String]) {
        self.text(wrapper(Some(SERVICE), thread, messages));
    }

    /// Messages that name no service.
    pub(crate) fn say_bare(&mut self, thread: &str, messages: &[String]) {
        self.text(wrapper(None, thread, messages));
    }

    pub(crate) fn text(&mut self, text: impl Into<String>) {
        self.feed(Input::Message(Message::Text(text.into())));
    }

    /// The Pong of the last Ping.
    pub(crate) fn pong(&mut self) {
        let nonce = *self.pings.last().expect("a Ping has gone out");
        self.feed(Input::Pong(nonce));
    }

    pub(crate) fn peer_closes(&mut self) {
        self.peer_closed = true;
        self.feed(Input::PeerClose);
    }

    pub(crate) fn violates(&mut self) {
        self.peer_closed = true;
        self.feed(Input::Violation(Cause::Protocol));
    }

    // What the kernel does.

    pub(crate) fn flush(&mut self) {
        self.feed(Input::Flushed);
    }

    pub(crate) fn traffic(&mut self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.traffic);
        self.feed(Input::Traffic(self.traffic));
    }

    // What the bus does.

    /// A worker answers in the conversation with this number.
    pub(crate) fn answer(&mut self, number: u64, messages: &[String]) {
        self.answer_from(WORKER, number, messages);
    }

    pub(crate) fn answer_from(&mut self, from: &str, number: u64, messages: &[String]) {
        self.envelope(from, bus_thread(number), &format!("[{}]", messages.join(",")));
    }

    pub(crate) fn envelope(&mut self, from: &str, thread: String, body: &str) {
        let body = Json::read(body).expect("an answer is JSON");
        self.feed(Input::Upstream(FromBus::Envelope(Incoming {
            from: from.to_owned(),
            thread,
            xid: None,
            body,
        })));
    }

    // What the operator does.

    /// A drain whose slot is now, with the deadlines that 120 s give.
    pub(crate) fn drain(&mut self) {
        self.drain_by(ms(0), Some(secs(90)), Some(secs(120)));
    }

    /// A drain; all times from now.
    pub(crate) fn drain_by(
        &mut self,
        slot: Duration,
        soft: Option<Duration>,
        hard: Option<Duration>,
    ) {
        let after = |time: Duration| self.now + time;
        let deadlines =
            Deadlines { slot: after(slot), soft: soft.map(after), hard: hard.map(after) };
        self.feed(Input::Drain(deadlines));
    }

    // What time does.

    /// Lets time pass, with every timer at its instant.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut expired = 0;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= until) {
            self.expect_nothing_early(due);
            self.now = self.now.max(due);
            let outputs = self.step(|session, now| session.handle_timeout(now));
            assert!(
                outputs > 0 || self.session.poll_timeout() != Some(due),
                "a timeout that changes nothing would spin its shell"
            );
            self.flush_if_reading(outputs);
            expired += 1;
            assert!(expired < 10_000, "timers follow each other without end");
        }
        self.now = until;
    }

    /// The quiet window passes, and the barrier is answered.
    pub(crate) fn confirm_slack_water(&mut self) {
        let pings = self.pings.len();
        self.wait(ms(200));
        assert_eq!(self.pings.len(), pings + 1, "the barrier's Ping goes out");
        assert_eq!(self.close, None);
        self.pong();
    }

    // What there is to see.

    /// The statuses that the client was told since the last look.
    pub(crate) fn statuses(&mut self) -> Vec<Said> {
        self.take_replies().iter().flat_map(statuses_in).collect()
    }

    pub(crate) fn take_replies(&mut self) -> Vec<Value> {
        let parse = |text: String| serde_json::from_str(&text).expect("replies are JSON");
        self.replies.drain(..).map(parse).collect()
    }

    /// Where what was sent since the last look went, with its number of messages.
    pub(crate) fn destinations(&mut self) -> Vec<(Recipient, usize)> {
        let count = |body: &str| {
            let items: Vec<&RawValue> = serde_json::from_str(body).expect("bodies are arrays");
            items.len()
        };
        self.sent.drain(..).map(|envelope| (envelope.to, count(&envelope.body))).collect()
    }

    /// What became of requests since the last look: trace and outcome.
    pub(crate) fn outcomes(&mut self) -> Vec<(u32, Outcome)> {
        let settled = |event: Event| {
            let Event::Settled { trace, outcome, .. } = event else { return None };
            Some((trace.to_string().parse().expect("traces are numbers"), outcome))
        };
        self.events.drain(..).filter_map(settled).collect()
    }

    pub(crate) fn feed(&mut self, input: Input) {
        let outputs = self.step(|session, now| session.handle_input(input, now));
        self.flush_if_reading(outputs);
    }

    fn flush_if_reading(&mut self, outputs: usize) {
        if self.reads && outputs > 0 {
            self.step(|session, now| session.handle_input(Input::Flushed, now));
        }
    }

    fn expect_nothing_early(&mut self, due: Instant) {
        if due > self.now {
            let outputs = self.step(|session, now| session.handle_timeout(now));
            assert_eq!(outputs, 0, "a timer that is called early does nothing");
            assert_eq!(self.session.poll_timeout(), Some(due));
        }
    }

    fn step(&mut self, act: impl FnOnce(&mut Session, Instant)) -> usize {
        let was_closed = self.session.phase() == Phase::Closed;
        act(&mut self.session, self.now);
        let mut outputs = 0;
        while let Some(output) = self.session.poll_output() {
            assert!(!was_closed, "nothing follows the end: {output:?}");
            outputs += 1;
            self.take(output);
        }
        self.check();
        outputs
    }

    fn take(&mut self, output: Output) {
        if let Output::Event(event) = &output {
            self.counters.add(event);
            self.count_owed(event);
        } else {
            assert!(!self.reset, "nothing but events follows Reset: {output:?}");
        }
        match output {
            Output::Upstream(envelope) => self.sent.push(envelope),
            Output::Reply(text) => {
                assert_eq!(self.close, None, "no reply follows our Close: {text}");
                self.replies.push(text);
            }
            Output::Ping(nonce) => {
                assert_eq!(self.close, None, "no Ping follows our Close");
                self.pings.push(nonce);
                self.pinged_at = Some(self.now);
            }
            Output::ReplyBinary(bytes) => panic!("a bus gives no binary messages: {bytes:?}"),
            Output::Close { code, reason } => {
                let Cow::Borrowed(reason) = reason else { panic!("made up: {reason}") };
                assert_eq!(self.close, None, "a connection is closed once");
                assert!(!self.peer_closed, "the client's Close is answered below us");
                self.close = Some((code, reason));
                self.closed_at = Some(self.now);
            }
            Output::Finish => {
                assert!(!self.finished, "our end of TCP closes once");
                assert!(self.close.is_some() || self.peer_closed, "no FIN before a Close");
                self.finished = true;
            }
            Output::Reset => self.reset = true,
            Output::Event(event) => {
                let executes = matches!(event, Event::Executed { .. });
                assert!(!executes || self.close.is_none(), "nothing is executed after our Close");
                self.events.push(event);
            }
        }
    }

    fn count_owed(&mut self, event: &Event) {
        if let Event::Settled { outcome, .. } = event {
            let answered =
                matches!(outcome, Outcome::Complete | Outcome::ErrorStatus | Outcome::Refused);
            self.owed += u64::from(answered);
        } else if let Event::Answered(answers) | Event::Unwritten { answers, .. } = event {
            self.owed -= answers;
        }
    }

    fn check(&self) {
        let ledger = self.session.ledger();
        let counters = &self.counters;
        assert!(counters.balanced(), "a request is not accounted for: {counters:?}");
        assert_eq!(counters.pending, ledger.pending() as u64 + self.owed);
        assert_eq!(counters.held, ledger.held() as u64);
        assert_eq!(counters.sessions, ledger.sessions() as u64);
        match self.session.phase() {
            Phase::Open | Phase::Draining => assert_eq!(self.close, None),
            Phase::Closing => assert!(self.close.is_some() && ledger.is_empty()),
            Phase::Ending => assert!(self.peer_closed && ledger.is_empty()),
            Phase::Closed => {
                assert!(ledger.is_empty() && self.owed == 0);
                assert_eq!(self.session.poll_timeout(), None);
            }
        }
    }
}

/// The statuses in one frame to a client.
pub(crate) fn statuses_in(frame: &Value) -> Vec<Said> {
    let thread = frame["thread"].as_str().unwrap_or_default();
    let messages = frame["osrf_msg"].as_array().into_iter().flatten();
    messages
        .filter(|message| message["__p"]["type"] == "STATUS")
        .map(|message| {
            let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u32>().ok());
            let trace = number(&message["__p"]["threadTrace"]).expect("a trace");
            let code = number(&message["__p"]["payload"]["__p"]["statusCode"]).expect("a code");
            (thread.to_owned(), trace, code as u16)
        })
        .collect()
}
