//! A session, driven by a script of one act a line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use slackwater_core::event::{Cause, Counters, Event};
use slackwater_core::osrf::activity::Activity;
use slackwater_core::osrf::envelope::{Bounce, Incoming, Outgoing, Refusal};
use slackwater_core::osrf::json::Json;
use slackwater_core::osrf::wrapper::Rules;
use slackwater_core::session::identity::ClientId;
use slackwater_core::session::{
    CloseFin, Config, Deadlines, FromBus, Input, Message, Output, Phase, Session, Traffic,
};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Each line is one act; its first byte says which, and the rest is its text or number:
///
/// | | |
/// |---|---|
/// | `c TEXT` | a message from the client |
/// | `bN TEXT` | a body from the bus for conversation N |
/// | `k`, `n`, `g` | the bus gives the last envelope back; nobody knows what became of it; it bounces |
/// | `l`, `r` | the bus is lost, restored |
/// | `f`, `tN`, `mN` | replies are written; N bytes move; so many, and a frame is half read |
/// | `p` | the Pong of the last Ping |
/// | `wN` | N ms pass |
/// | `dN`, `u` | a drain with a deadline of N ms, or none for 0; undrain |
/// | `o`, `v`, `x`, `e` | overflow, violation, the client's Close, its end |
///
/// After every act the sums hold, the order of outputs is lawful, and no timer spins. In the end a
/// drain ends.
pub fn session(data: &[u8]) {
    let mut play = Play::new();
    for line in data.split(|byte| *byte == b'\n').take(500) {
        let Some((act, rest)) = line.split_first() else { continue };
        let rest = String::from_utf8_lossy(rest);
        play.perform(*act, &rest);
    }
    play.end();
}

struct Play {
    session: Session,
    now: Instant,
    counters: Counters,
    traffic: Traffic,
    last_ping: u64,
    last_sent: Option<Outgoing>,
    has_closed: bool,
}

impl Play {
    fn new() -> Self {
        let ingress = RawValue::from_string("\"gateway\"".to_owned()).expect("a JSON string");
        let seconds = Duration::from_secs;
        let config = Config {
            rules: Rules { max_size: 100_000, max_depth: 32, ingress },
            max_requests_in_flight: 8,
            max_sessions: 3,
            max_held_bytes: 10_000,
            quiet_window: Duration::from_millis(200),
            close_timeout: CLOSE_TIMEOUT,
            close_code: 1012,
            close_fin: CloseFin::OnEcho,
            ping_interval: Some(seconds(30)),
            idle_timeout: Some(seconds(300)),
            write_stall_timeout: seconds(30),
            activity: Some(Activity { protect: vec!["p".to_owned()], max_length: 20 }),
        };
        let now = Instant::now();
        Self {
            session: Session::new(Arc::new(config), ClientId::from_random(1), 1, now),
            now,
            counters: Counters::default(),
            traffic: Traffic::default(),
            last_ping: 0,
            last_sent: None,
            has_closed: false,
        }
    }

    fn perform(&mut self, act: u8, rest: &str) {
        let (digits, text) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let number: u64 = digits.parse().unwrap_or_default();
        let millis = Duration::from_millis(number.min(1_000_000));
        let input = match act {
            b'c' => Input::Message(Message::Text(text.trim_start().to_owned())),
            b'b' => {
                // A bus gives on only what is JSON.
                let Some(body) = Json::read(text) else { return };
                let thread = ClientId::from_random(1).thread(number);
                Input::Upstream(FromBus::Envelope(Incoming {
                    from: "worker".to_owned(),
                    thread,
                    xid: None,
                    body,
                }))
            }
            b'k' | b'n' | b'g' => match self.last_sent.take() {
                Some(envelope) if act == b'k' => {
                    Input::Upstream(FromBus::Refused(envelope, Refusal::NotTaken(String::new())))
                }
                Some(Outgoing { thread, .. }) if act == b'g' => {
                    Input::Upstream(FromBus::Bounced(Bounce { thread, reason: String::new() }))
                }
                Some(envelope) => Input::Upstream(FromBus::Uncertain(envelope)),
                None => return,
            },
            b'l' => Input::Upstream(FromBus::Lost),
            b'r' => Input::Upstream(FromBus::Restored),
            b'f' => Input::Flushed,
            b't' | b'm' => {
                self.traffic.received += number.min(1_000_000);
                self.traffic.mid_message = act == b'm';
                Input::Traffic(self.traffic)
            }
            b'p' => Input::Pong(self.last_ping),
            b'w' => return self.wait(millis),
            b'd' => {
                let after = |time: Duration| (number > 0).then(|| self.now + time);
                let (soft, hard) = (after(millis * 3 / 4), after(millis));
                Input::Drain(Deadlines { slot: self.now, soft, hard })
            }
            b'u' => Input::Undrain,
            b'o' => Input::Overflow,
            b'v' => Input::Violation(Cause::Protocol),
            b'x' => Input::PeerClose,
            b'e' => Input::Ended(Cause::Eof),
            _ => return,
        };
        self.session.handle_input(input, self.now);
        self.take();
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            let changed = self.take() || self.session.poll_timeout() != Some(due);
            assert!(changed, "a timeout that changes nothing would spin its shell");
        }
        self.now = until;
    }

    /// Takes every output. False if there was none.
    fn take(&mut self) -> bool {
        let mut some = false;
        while let Some(output) = self.session.poll_output() {
            some = true;
            match output {
                Output::Upstream(envelope) => self.last_sent = Some(envelope),
                Output::Reply(text) => {
                    assert!(!self.has_closed, "no reply follows our Close");
                    let read = serde_json::from_str::<&RawValue>(&text);
                    assert!(read.is_ok(), "replies are JSON: {text}");
                }
                Output::ReplyBinary(_) => panic!("a bus gives no binary messages"),
                Output::Ping(nonce) => self.last_ping = nonce,
                Output::Close { .. } => {
                    assert!(!std::mem::replace(&mut self.has_closed, true), "closed once");
                }
                Output::Finish | Output::Reset => {}
                Output::Event(event) => {
                    let executes = matches!(event, Event::Executed { .. });
                    assert!(!(executes && self.has_closed), "executed after our Close");
                    self.counters.add(&event);
                }
            }
        }
        let ledger = self.session.ledger();
        assert!(self.counters.balanced(), "{:?}", self.counters);
        assert!(self.counters.pending >= ledger.pending() as u64);
        assert_eq!(self.counters.held, ledger.held() as u64);
        assert_eq!(self.counters.sessions, ledger.sessions() as u64);
        assert!(ledger.held_bytes() <= 10_000 + ledger.sessions() * 100_000);
        some
    }

    fn end(&mut self) {
        self.perform(b'd', "2000");
        let last = self.now + Duration::from_secs(2) + CLOSE_TIMEOUT;
        while self.now < last {
            self.perform(b'w', "1000");
            self.perform(b'm', "1");
        }
        assert_eq!(self.session.phase(), Phase::Closed, "a drain ends by its deadline");
        assert_eq!(self.counters.pending, 0);
    }
}
