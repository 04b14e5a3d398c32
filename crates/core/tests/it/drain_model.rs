//! Any script of signals and connections, played to a drain and to a naive model of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use slackwater_core::drain::{Input, Output, Phase, Verdict};
use slackwater_core::session::Deadlines;

use crate::drain::Dock;
use crate::words::{ms, secs};

const ANNOUNCE: Duration = secs(3);
const EBB_WINDOW: Duration = secs(5);
const DEADLINE: Duration = secs(20);
const CLOSE_TIMEOUT: Duration = secs(10);
const GRACE: Duration = secs(1);

#[derive(Debug, Clone)]
enum Act {
    Join,
    Leave { place: usize, lost: u64 },
    Drain { exit: bool, deadline: Option<Option<u64>> },
    Refused,
    Hurry,
    Undrain,
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let deadline = prop::option::weighted(0.3, prop::option::weighted(0.8, 0..20_000u64));
    prop_oneof![
        4 => Just(Act::Join),
        4 => (0..8usize, 0..2u64).prop_map(|(place, lost)| Act::Leave { place, lost }),
        3 => (prop::bool::weighted(0.2), deadline)
            .prop_map(|(exit, deadline)| Act::Drain { exit, deadline }),
        4 => Just(Act::Refused),
        1 => prop::bool::weighted(0.2).prop_map(|hurry| if hurry { Act::Hurry } else { Act::Undrain }),
        2 => Just(Act::Undrain),
        5 => (0..8_000u64).prop_map(Act::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_everyone_is_asked_and_the_drain_ends(
        script in prop::collection::vec(act(), 1..60)
    ) {
        let mut play = Play::new();
        for act in &script {
            play.perform(act);
        }
        play.end();
    }
}

struct Play {
    dock: Dock,
    /// Each connection there is, and what it was last asked in this drain.
    connections: BTreeMap<u64, Option<Deadlines>>,
    joined: u64,
    is_draining: bool,
    refusing: bool,
    exits: bool,
    has_exited: bool,
    hard: Option<Instant>,
    lost: u64,
}

impl Play {
    fn new() -> Self {
        Self {
            dock: Dock::with(0, |config| {
                config.announce = ANNOUNCE;
                config.ebb_window = EBB_WINDOW;
                config.deadline = Some(DEADLINE);
                config.close_timeout = CLOSE_TIMEOUT;
            }),
            connections: BTreeMap::new(),
            joined: 0,
            is_draining: false,
            refusing: false,
            exits: false,
            has_exited: false,
            hard: None,
            lost: 0,
        }
    }

    fn perform(&mut self, act: &Act) {
        if self.has_exited {
            return;
        }
        let now = self.dock.now;
        let outputs = match act {
            Act::Join => {
                self.joined += 1;
                self.connections.insert(self.joined, None);
                self.dock.feed(Input::Joined(self.joined))
            }
            Act::Leave { place, lost } => {
                let place = place.checked_rem(self.connections.len());
                let Some(id) = place.and_then(|place| self.connections.keys().nth(place)) else {
                    return;
                };
                let id = *id;
                self.connections.remove(&id);
                self.lost += if self.is_draining { *lost } else { 0 };
                self.dock.leaves(id, *lost)
            }
            Act::Drain { exit, deadline } => {
                let deadline = deadline.map(|time| time.map(ms));
                let time = match (self.is_draining, deadline) {
                    (_, Some(time)) => Some(time),
                    (false, None) => Some(Some(DEADLINE)),
                    (true, None) => None,
                };
                if let Some(time) = time {
                    self.hard = time.map(|time| now + time);
                }
                self.begin();
                self.exits |= exit;
                self.dock.feed(Input::Drain { exit: *exit, deadline, seed: self.joined })
            }
            Act::Refused => {
                if !self.refusing {
                    return;
                }
                self.dock.feed(Input::Refused)
            }
            Act::Hurry => {
                self.begin();
                self.exits = true;
                self.hard = Some(now);
                self.dock.feed(Input::Hurry)
            }
            Act::Undrain => {
                if !self.exits {
                    self.is_draining = false;
                    self.refusing = false;
                    self.hard = None;
                    self.connections.values_mut().for_each(|asked| *asked = None);
                }
                self.dock.feed(Input::Undrain)
            }
            Act::Wait(millis) => self.dock.wait(ms(*millis)),
        };
        for output in outputs {
            self.take(&output);
        }
        self.check();
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.is_draining, true) {
            self.lost = 0;
        }
    }

    fn take(&mut self, output: &Output) {
        assert!(!self.has_exited, "nothing follows the exit: {output:?}");
        match output {
            Output::Announce => assert!(self.is_draining && !self.refusing),
            Output::Refuse => {
                assert!(self.is_draining && !self.refusing, "once");
                self.refusing = true;
            }
            Output::Leave => assert!(self.refusing && self.exits),
            Output::Ask(id, deadlines) => {
                assert!(self.refusing, "no one is asked to leave while others may come");
                assert_eq!(deadlines.hard, self.hard);
                assert!(deadlines.slot <= self.dock.now + EBB_WINDOW);
                let asked = self.connections.get_mut(id).expect("a connection there is");
                *asked = Some(*deadlines);
            }
            Output::Recall | Output::Serve => assert!(!self.is_draining),
            Output::Drained(verdict) => {
                assert!(self.connections.is_empty() && self.refusing);
                assert_eq!(*verdict, self.verdict(0));
            }
            Output::Exit(verdict) => {
                assert!(self.exits);
                let left = self.connections.len() as u64;
                let hard = self.hard.map(|hard| hard + CLOSE_TIMEOUT + GRACE);
                assert!(left == 0 || hard.is_some_and(|hard| hard <= self.dock.now));
                assert_eq!(*verdict, self.verdict(left));
                self.has_exited = true;
            }
        }
    }

    fn check(&self) {
        let drain = &self.dock.drain;
        assert_eq!(drain.connections(), self.connections.len());
        assert_eq!(drain.hard_deadline(), self.hard);
        assert_eq!(drain.is_final(), self.exits);
        match drain.phase() {
            Phase::Serving => assert!(!self.is_draining),
            Phase::Announce => assert!(self.is_draining && !self.refusing),
            Phase::Refuse => assert!(self.refusing),
            Phase::Ebb => {
                assert!(!self.connections.is_empty(), "nothing is left: it is drained");
                let by_deadline = |asked: &Option<Deadlines>| {
                    asked.is_some_and(|deadlines| deadlines.hard == self.hard)
                };
                assert!(self.connections.values().all(by_deadline), "everyone knows the deadline");
            }
            Phase::Drained => {
                assert!(self.connections.is_empty() || self.has_exited);
                assert!(self.has_exited || !self.exits, "told to end, and drained: it ends");
            }
        }
    }

    fn verdict(&self, left: u64) -> Verdict {
        match self.lost + left {
            0 => Verdict::Clean,
            lost => Verdict::Lost(lost),
        }
    }

    /// A stop, and connections that hang.
    fn end(&mut self) {
        self.perform(&Act::Drain { exit: true, deadline: Some(Some(8_000)) });
        let by = self.dock.now + secs(8) + CLOSE_TIMEOUT + GRACE;
        while !self.has_exited && self.dock.now < by {
            self.perform(&Act::Wait(500));
            self.perform(&Act::Refused);
        }
        assert!(self.has_exited, "a process that was told to end ends");
    }
}
