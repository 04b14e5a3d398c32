//! A session with a program behind it: what is owed by each tracker, when its input ends, what its
//! end means; and that the books agree whatever happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use slackwater_core::event::{Cause, Counters};
use slackwater_core::session::program::{Exit, ProgramRules};
use slackwater_core::session::{
    Config, Deadlines, FromProgram, Input, Message, Output, Phase, Program, Session, ToProgram,
};
use slackwater_core::track::Track;

use crate::bench::{Bench, first_instant};
use crate::words::{SERVICE, complete, connect, disconnect, ms, request_to, secs, wrapper};

const TRACKS: [Track; 5] =
    [Track::Osrf, Track::JsonRpc, Track::Lines, Track::Quiet, Track::Program];

/// A session and its program, of which every output is checked.
struct Stage {
    session: Session<Program>,
    now: Instant,
    counters: Counters,
    given: VecDeque<Message>,
    replies: Vec<String>,
    pings: Vec<u64>,
    signals: usize,
    stopped: bool,
    close: Option<(u16, String)>,
}

impl Stage {
    fn new(track: Track) -> Self {
        Self::with(track, false, |_| {})
    }

    fn with(track: Track, relay_usr1: bool, change: impl FnOnce(&mut Config)) -> Self {
        let now = first_instant();
        let rules = ProgramRules {
            name: "program".into(),
            track,
            track_idle: secs(2),
            relay_usr1,
            splits_lines: true,
        };
        Self {
            session: Session::of_program(Arc::clone(&Bench::config(change)), rules, now),
            now,
            counters: Counters::default(),
            given: VecDeque::new(),
            replies: Vec::new(),
            pings: Vec::new(),
            signals: 0,
            stopped: false,
            close: None,
        }
    }

    fn feed(&mut self, input: Input<FromProgram>) {
        self.session.handle_input(input, self.now);
        self.take();
    }

    fn program(&mut self, said: FromProgram) {
        self.feed(Input::Upstream(said));
    }

    /// The client says this, and the program takes it.
    fn say(&mut self, text: &str) {
        self.feed(Input::Message(Message::Text(text.to_owned())));
        if !self.given.is_empty() && self.close.is_none() {
            self.program(FromProgram::Taken);
        }
    }

    /// The program says this, and it is written.
    fn hear(&mut self, text: &str) {
        self.program(FromProgram::Said(Message::Text(text.to_owned())));
        self.feed(Input::Flushed);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.take();
        }
        self.now = end;
    }

    fn drain(&mut self, deadline: Option<Duration>) {
        let hard = deadline.map(|deadline| self.now + deadline);
        let soft = deadline.map(|deadline| self.now + deadline * 3 / 4);
        self.feed(Input::Drain(Deadlines { slot: self.now, soft, hard }));
    }

    /// Quiet, the barrier's Pong, and what follows.
    fn settle(&mut self) {
        self.wait(ms(200));
        if let Some(nonce) = self.pings.last().copied() {
            self.feed(Input::Pong(nonce));
        }
    }

    fn take(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Upstream(ToProgram::Give(message)) => {
                    assert!(
                        !self.stopped && self.close.is_none(),
                        "nothing is given after the end"
                    );
                    self.given.push_back(message);
                }
                Output::Upstream(ToProgram::Signal) => self.signals += 1,
                Output::Upstream(ToProgram::Stop) => {
                    assert!(self.close.is_none(), "its last words come before our Close");
                    assert!(!std::mem::replace(&mut self.stopped, true), "stopped once");
                }
                Output::Reply(text) => {
                    assert_eq!(self.close, None);
                    self.replies.push(text);
                }
                Output::ReplyBinary(_) => assert_eq!(self.close, None),
                Output::Ping(nonce) => self.pings.push(nonce),
                Output::Close { code, reason } => {
                    assert_eq!(self.close, None, "closed once");
                    assert!(self.stopped, "a program behind a closed connection is stopped");
                    self.close = Some((code, reason.into_owned()));
                }
                Output::Finish | Output::Reset => {}
                Output::Event(event) => self.counters.add(&event),
            }
        }
        assert!(self.counters.balanced(), "{:?}", self.counters);
        if self.session.phase() == Phase::Closed {
            assert!(self.stopped, "nothing is left running");
            assert_eq!((self.counters.pending, self.counters.sessions), (0, 0));
        }
    }

    fn assert_drained(&self) {
        assert_eq!(self.close, Some((1012, "drained".to_owned())));
    }
}

fn ask(id: u32) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"m\"}}")
}

fn response(id: u32) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":1}}")
}

#[test]
fn a_line_is_pending_until_a_line_comes() {
    let mut stage = Stage::new(Track::Lines);
    stage.say("one\ntwo");
    stage.drain(None);
    stage.settle();
    stage.hear("1");
    stage.settle();
    assert_eq!((stage.close.as_ref(), stage.counters.pending), (None, 1));
    stage.hear("2");
    stage.settle();
    stage.assert_drained();
    assert_eq!((stage.counters.executed, stage.counters.answered), (2, 2));
}

#[test]
fn a_json_rpc_request_is_pending_until_its_own_response_comes() {
    let mut stage = Stage::new(Track::JsonRpc);
    stage.say(&ask(1));
    stage.drain(None);
    stage.hear(&response(2));
    stage.settle();
    assert_eq!(stage.close, None);
    stage.hear(&response(1));
    stage.settle();
    stage.assert_drained();
}

#[test]
fn what_the_program_asks_the_client_holds_the_drain_too() {
    let mut stage = Stage::new(Track::JsonRpc);
    stage.hear(&ask(7));
    stage.drain(None);
    stage.settle();
    assert_eq!(stage.close, None);
    stage.say(&response(7));
    stage.settle();
    stage.assert_drained();
    assert_eq!(stage.counters.received, 0, "it is no request of the client's");
}

#[test]
fn under_quiet_any_byte_is_pending_for_a_while() {
    let mut stage = Stage::new(Track::Quiet);
    stage.say("question");
    stage.drain(None);
    stage.wait(ms(1_900));
    stage.program(FromProgram::Stirred);
    stage.wait(ms(1_900));
    assert_eq!((stage.close.as_ref(), stage.counters.pending), (None, 1));
    stage.wait(ms(200));
    assert_eq!(stage.counters.answered, 1);
    stage.settle();
    stage.assert_drained();
}

#[test]
fn an_open_session_of_the_relay_behind_holds_the_drain() {
    let mut stage = Stage::new(Track::Osrf);
    stage.say(&wrapper(Some(SERVICE), "t", &[connect(1)]));
    stage.drain(None);
    stage.settle();
    assert_eq!((stage.close.as_ref(), stage.counters.sessions), (None, 1));
    stage.say(&wrapper(Some(SERVICE), "t", &[request_to(2, "m")]));
    stage.say(&wrapper(Some(SERVICE), "t", &[disconnect(3)]));
    stage.settle();
    assert_eq!((stage.close.as_ref(), stage.counters.pending), (None, 1), "left, not answered");
    stage.hear(&format!("{{\"thread\":\"t\",\"osrf_msg\":[{}]}}", complete(2)));
    stage.settle();
    stage.assert_drained();
}

#[test]
fn what_the_program_has_not_taken_holds_the_drain() {
    let mut stage = Stage::new(Track::JsonRpc);
    stage.feed(Input::Message(Message::Text("{\"method\":\"notify\"}".to_owned())));
    stage.drain(None);
    stage.settle();
    assert_eq!(stage.close, None);
    stage.program(FromProgram::Taken);
    stage.settle();
    stage.assert_drained();
}

#[test]
fn what_comes_behind_our_close_is_counted_and_not_given() {
    for track in TRACKS {
        let mut stage = Stage::new(track);
        stage.program(FromProgram::Ended(Exit::Status(0)));
        assert!(stage.close.is_some());
        let text = match track {
            Track::Osrf => wrapper(Some(SERVICE), "t", &[request_to(1, "m")]),
            Track::JsonRpc => ask(1),
            Track::Lines | Track::Quiet | Track::Program => "one".to_owned(),
        };
        stage.feed(Input::Message(Message::Text(text)));
        assert_eq!(stage.given.len(), 0, "{track:?}");
        assert_eq!(stage.counters.crossed_requests, 1, "{track:?}");
    }
}

#[test]
fn after_the_soft_deadline_nothing_is_given_to_the_program() {
    for track in TRACKS {
        let mut stage = Stage::new(track);
        stage.drain(Some(secs(8)));
        // Held by something, whatever the tracker.
        stage.feed(Input::Traffic(slackwater_core::session::Traffic {
            mid_message: true,
            ..Default::default()
        }));
        stage.say(&match track {
            Track::Osrf => wrapper(Some(SERVICE), "t", &[request_to(1, "m")]),
            Track::JsonRpc => ask(1),
            Track::Lines | Track::Quiet | Track::Program => "one".to_owned(),
        });
        let given = stage.given.len();
        if track == Track::Quiet {
            stage.wait(ms(5_500));
            stage.program(FromProgram::Stirred);
        }
        stage.wait(ms(6_100).saturating_sub(if track == Track::Quiet { ms(5_500) } else { ms(0) }));
        assert_eq!(stage.close, None, "{track:?}");
        stage.say(&match track {
            Track::Osrf => wrapper(Some(SERVICE), "t", &[request_to(2, "m")]),
            Track::JsonRpc => ask(2),
            Track::Lines | Track::Quiet | Track::Program => "two".to_owned(),
        });
        assert_eq!((stage.given.len(), stage.counters.rejected), (given, 1), "{track:?}");
        assert_eq!(stage.replies.len(), usize::from(matches!(track, Track::Osrf | Track::JsonRpc)));
        stage.wait(secs(2));
        assert!(stage.close.is_some(), "{track:?}");
    }
}

#[test]
fn at_the_hard_deadline_those_who_are_known_by_name_are_told() {
    for (track, text) in [
        (Track::JsonRpc, ask(5)),
        (Track::Osrf, wrapper(Some(SERVICE), "t", &[request_to(5, "m")])),
    ] {
        let mut stage = Stage::new(track);
        stage.say(&text);
        stage.drain(Some(secs(1)));
        stage.wait(secs(1));
        assert_eq!(stage.close, Some((1012, "deadline".to_owned())));
        assert!(stage.replies[0].contains("504"), "{:?}", stage.replies);
        assert_eq!((stage.counters.cut_off, stage.counters.lost_replies), (1, 1));
    }
    let mut counted = Stage::new(Track::Lines);
    counted.say("a\nb");
    counted.drain(Some(secs(1)));
    counted.wait(secs(1));
    assert_eq!((counted.counters.cut_off, counted.counters.lost_replies), (2, 2));
}

#[test]
fn the_end_of_a_program_is_the_close_code_of_its_client() {
    for (exit, draining, code, reason, cause) in [
        (Exit::Status(0), false, 1000, "the program has ended", Cause::ProgramEnded),
        (Exit::Status(0), true, 1012, "drained", Cause::Drained),
        (Exit::Status(3), false, 1011, "exit status 3", Cause::ProgramFailed),
        (Exit::Status(3), true, 1011, "exit status 3", Cause::ProgramFailed),
        (Exit::Signal(9), true, 1011, "killed by signal 9", Cause::ProgramFailed),
        (Exit::OutputClosed, false, 1000, "output closed", Cause::ProgramEnded),
    ] {
        let mut stage = Stage::new(Track::Lines);
        if draining {
            stage.drain(None);
        }
        stage.program(FromProgram::Ended(exit));
        assert_eq!(stage.close, Some((code, reason.to_owned())), "{exit:?}");
        stage.feed(Input::PeerClose);
        stage.feed(Input::Ended(Cause::Eof));
        assert_eq!(stage.session.cause(), Some(cause));
    }
}

#[test]
fn a_program_that_ends_owing_answers_is_a_service_that_is_gone() {
    let mut stage = Stage::new(Track::Lines);
    stage.say("one");
    stage.program(FromProgram::Ended(Exit::OutputClosed));
    assert_eq!(stage.close, Some((1011, "output closed".to_owned())));
    assert_eq!(stage.counters.service_gone, 1);
}

#[test]
fn track_program_tells_it_when_its_slot_comes_and_waits_for_its_end() {
    let mut stage = Stage::new(Track::Program);
    stage.say("one");
    assert_eq!(stage.counters.answered, 1, "taken is all that is known");
    let slot = stage.now + secs(3);
    stage.feed(Input::Drain(Deadlines { slot, soft: None, hard: None }));
    stage.wait(ms(2_900));
    assert_eq!(stage.signals, 0);
    stage.wait(secs(60));
    assert_eq!((stage.signals, stage.close.as_ref()), (1, None));
    stage.program(FromProgram::Ended(Exit::Status(0)));
    stage.assert_drained();
}

#[test]
fn a_drain_called_off_before_its_slot_tells_no_program() {
    let mut stage = Stage::new(Track::Program);
    let slot = stage.now + secs(3);
    stage.feed(Input::Drain(Deadlines { slot, soft: None, hard: None }));
    stage.feed(Input::Undrain);
    stage.wait(secs(60));
    assert_eq!(stage.signals, 0);
}

#[test]
fn a_program_that_stays_past_the_deadline_is_a_loss() {
    let mut stage = Stage::new(Track::Program);
    stage.drain(Some(secs(1)));
    stage.wait(secs(1));
    assert_eq!(stage.close, Some((1012, "deadline".to_owned())));
    assert_eq!(stage.counters.lost_replies, 1);
}

#[test]
fn relay_usr1_tells_it_under_any_tracker_once() {
    for track in TRACKS {
        let mut stage = Stage::with(track, true, |_| {});
        stage.say("x");
        stage.drain(Some(secs(100)));
        stage.wait(ms(10));
        stage.drain(Some(secs(50)));
        stage.wait(ms(10));
        assert_eq!(stage.signals, 1, "{track:?}");
    }
}

#[test]
fn a_client_that_is_not_read_is_not_taken_for_dead() {
    let mut stage = Stage::with(Track::Lines, false, |config| config.ping_interval = Some(secs(1)));
    let traffic = |paused| slackwater_core::session::Traffic { paused, ..Default::default() };
    stage.feed(Input::Traffic(traffic(true)));
    for _ in 0..50 {
        stage.wait(ms(500));
        stage.feed(Input::Traffic(traffic(true)));
    }
    assert_eq!(stage.close, None);
    stage.feed(Input::Traffic(traffic(false)));
    stage.wait(secs(5));
    assert_eq!(stage.close.as_ref().map(|(code, _)| *code), Some(1011), "now it is");
}

#[test]
fn a_client_that_is_not_read_is_pinged_and_its_late_pongs_measure_nothing() {
    let mut stage =
        Stage::with(Track::Lines, false, |config| config.ping_interval = Some(secs(10)));
    let traffic = |paused| slackwater_core::session::Traffic { paused, ..Default::default() };
    stage.feed(Input::Traffic(traffic(true)));
    for pings in 1..=30 {
        // As the shell does: what a timer means is asked once it is known how far the stream is.
        stage.now += secs(10);
        stage.feed(Input::Traffic(traffic(true)));
        stage.wait(ms(0));
        assert_eq!((stage.pings.len(), stage.close.as_ref()), (pings, None));
    }
    stage.now += secs(9);
    stage.feed(Input::Traffic(traffic(false)));
    for nonce in stage.pings.clone() {
        stage.feed(Input::Pong(nonce));
    }
    stage.drain(None);
    // A Pong that stays away is waited for no longer for that: 2 s, after the quiet window.
    stage.wait(ms(2_500));
    stage.assert_drained();
}

#[test]
fn more_requests_than_may_be_in_flight_are_refused() {
    let mut stage = Stage::with(Track::JsonRpc, false, |config| config.max_requests_in_flight = 2);
    for id in 0..5 {
        stage.say(&ask(id));
    }
    assert_eq!((stage.given.len(), stage.counters.rejected, stage.replies.len()), (2, 3, 3));
    // A program that asks without end is remembered so far and no further.
    for id in 0..100 {
        stage.hear(&ask(id));
    }
    for id in [98, 99] {
        stage.say(&response(id));
    }
    for id in 0..2 {
        stage.hear(&response(id));
    }
    stage.drain(None);
    stage.settle();
    stage.assert_drained();
}

#[derive(Debug, Clone)]
enum Act {
    Say(u32),
    Hear(u32),
    Taken,
    Stirred,
    Flushed,
    Pong,
    Wait(u64),
    Drain { slot: u64, deadline: Option<u64> },
    Undrain,
    End(u8),
    Leave(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..4u32).prop_map(Act::Say),
        8 => (0..4u32).prop_map(Act::Hear),
        6 => Just(Act::Taken),
        2 => Just(Act::Stirred),
        6 => Just(Act::Flushed),
        6 => Just(Act::Pong),
        6 => (0..3_000u64).prop_map(Act::Wait),
        3 => (0..1_000u64, prop::option::weighted(0.8, 0..20_000u64))
            .prop_map(|(slot, deadline)| Act::Drain { slot, deadline }),
        1 => Just(Act::Undrain),
        1 => (0..4u8).prop_map(Act::End),
        1 => any::<bool>().prop_map(Act::Leave),
    ]
}

proptest! {
    /// [`Stage::take`] checks after each act what must hold always.
    #[test]
    fn whatever_happens_the_books_agree_and_every_drain_ends(
        track in prop::sample::select(&TRACKS[..]),
        script in prop::collection::vec(act(), 1..60),
    ) {
        let mut stage = Stage::new(track);
        for act in script {
            match act {
                Act::Say(id) => {
                    let text = match track {
                        Track::Osrf => wrapper(Some(SERVICE), "t", &[request_to(id, "m")]),
                        Track::JsonRpc => ask(id),
                        Track::Lines | Track::Quiet | Track::Program => "a\nb".to_owned(),
                    };
                    stage.feed(Input::Message(Message::Text(text)));
                }
                Act::Hear(id) => {
                    let text = match track {
                        Track::Osrf => format!("{{\"thread\":\"t\",\"osrf_msg\":[{}]}}", complete(id)),
                        Track::JsonRpc => response(id),
                        Track::Lines | Track::Quiet | Track::Program => "line".to_owned(),
                    };
                    stage.program(FromProgram::Said(Message::Text(text)));
                }
                Act::Taken => stage.program(FromProgram::Taken),
                Act::Stirred => stage.program(FromProgram::Stirred),
                Act::Flushed => stage.feed(Input::Flushed),
                Act::Pong => {
                    if let Some(nonce) = stage.pings.last().copied() {
                        stage.feed(Input::Pong(nonce));
                    }
                }
                Act::Wait(time) => stage.wait(ms(time)),
                Act::Drain { slot, deadline } => {
                    let slot = stage.now + ms(slot);
                    let hard = deadline.map(|deadline| stage.now + ms(deadline));
                    let soft = deadline.map(|deadline| stage.now + ms(deadline) * 3 / 4);
                    stage.feed(Input::Drain(Deadlines { slot, soft, hard }));
                }
                Act::Undrain => stage.feed(Input::Undrain),
                Act::End(0) => stage.program(FromProgram::Ended(Exit::Status(0))),
                Act::End(1) => stage.program(FromProgram::Ended(Exit::Signal(11))),
                Act::End(_) => stage.program(FromProgram::Ended(Exit::OutputClosed)),
                Act::Leave(true) => stage.feed(Input::PeerClose),
                Act::Leave(false) => stage.feed(Input::Ended(Cause::Reset)),
            }
        }
        stage.drain(Some(secs(4)));
        stage.wait(secs(4) + secs(10));
        prop_assert_eq!(stage.session.phase(), Phase::Closed);
    }
}
