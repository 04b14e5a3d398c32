//! The process's drain: announce, refuse, ebb, drained, and the way back from each.

use std::time::{Duration, Instant};

use slackwater_core::drain::{Config, ConnectionId, Drain, Input, Output, Phase, TooLate, Verdict};
use slackwater_core::session::Deadlines;

use crate::bench::first_instant;
use crate::words::{ms, secs};

/// A drain on a workbench, its clock moved by hand.
pub(crate) struct Dock {
    pub(crate) drain: Drain,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
}

impl Dock {
    pub(crate) fn new(connections: u64) -> Self {
        Self::with(connections, |_| {})
    }

    pub(crate) fn with(connections: u64, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            announce: secs(0),
            ebb_window: secs(5),
            deadline: Some(secs(120)),
            close_timeout: secs(10),
        };
        change(&mut config);
        let now = first_instant();
        let mut dock = Self { drain: Drain::new(config), start: now, now };
        for id in 0..connections {
            assert_eq!(dock.feed(Input::Joined(id)), []);
        }
        dock
    }

    pub(crate) fn feed(&mut self, input: Input) -> Vec<Output> {
        self.drain.handle_input(input, self.now);
        self.outputs()
    }

    /// `SIGUSR1` or `drain`.
    pub(crate) fn drain(&mut self) -> Vec<Output> {
        self.feed(Input::Drain { exit: false, deadline: None, seed: 1 })
    }

    /// `SIGTERM`.
    pub(crate) fn stop(&mut self) -> Vec<Output> {
        self.feed(Input::Drain { exit: true, deadline: None, seed: 1 })
    }

    pub(crate) fn leaves(&mut self, id: ConnectionId, lost: u64) -> Vec<Output> {
        self.feed(Input::Left { id, lost })
    }

    /// Lets time pass, with every timer at its instant.
    pub(crate) fn wait(&mut self, time: Duration) -> Vec<Output> {
        let until = self.now + time;
        let mut outputs = Vec::new();
        while let Some(due) = self.drain.poll_timeout().filter(|due| *due <= until) {
            if due > self.now {
                self.drain.handle_timeout(self.now);
                assert_eq!(self.outputs(), [], "a timer that is called early does nothing");
            }
            self.now = self.now.max(due);
            self.drain.handle_timeout(self.now);
            let new = self.outputs();
            let changed = !new.is_empty() || self.drain.poll_timeout() != Some(due);
            assert!(changed, "a timeout that changes nothing would spin its shell");
            outputs.extend(new);
        }
        self.now = until;
        outputs
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.drain.poll_output()).collect()
    }

    /// Deadlines whose times are all from the start.
    fn ask(
        &self,
        id: ConnectionId,
        slot: Duration,
        soft: Option<Duration>,
        hard: Option<Duration>,
    ) -> Output {
        let at = |time: Duration| self.start + time;
        Output::Ask(id, Deadlines { slot: at(slot), soft: soft.map(at), hard: hard.map(at) })
    }
}

/// The deadlines of each connection that is asked to leave.
fn asked(outputs: &[Output]) -> Vec<(ConnectionId, Deadlines)> {
    let ask = |output: &Output| {
        let Output::Ask(id, deadlines) = output else { return None };
        Some((*id, *deadlines))
    };
    outputs.iter().filter_map(ask).collect()
}

#[test]
fn an_idle_process_is_drained_as_soon_as_it_refuses() {
    let mut dock = Dock::new(0);
    assert_eq!(dock.drain(), [Output::Announce, Output::Refuse]);
    assert_eq!(dock.drain.phase(), Phase::Refuse);
    assert_eq!(dock.feed(Input::Refused), [Output::Drained(Verdict::Clean)]);
    assert_eq!(dock.drain.phase(), Phase::Drained);
}

#[test]
fn nothing_ebbs_before_the_listeners_refuse() {
    let mut dock = Dock::new(2);
    dock.drain();
    assert_eq!(dock.wait(secs(60)), []);
    assert_eq!(asked(&dock.feed(Input::Refused)).len(), 2);
    assert_eq!(dock.drain.phase(), Phase::Ebb);
    assert_eq!(dock.feed(Input::Refused), [], "once");
}

#[test]
fn the_announcement_stands_for_its_time_and_connections_are_served() {
    let mut dock = Dock::with(1, |config| config.announce = secs(5));
    assert_eq!(dock.drain(), [Output::Announce]);
    assert_eq!(dock.feed(Input::Joined(7)), []);
    assert_eq!(dock.wait(ms(4_999)), []);
    assert_eq!(dock.wait(ms(1)), [Output::Refuse]);
    let asked = asked(&dock.feed(Input::Refused));
    assert_eq!(asked.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 7]);
}

#[test]
fn the_announcement_counts_within_the_deadline() {
    let mut dock = Dock::with(1, |config| config.announce = secs(20));
    dock.feed(Input::Drain { exit: false, deadline: Some(Some(secs(40))), seed: 1 });
    assert_eq!(dock.wait(secs(20)), [Output::Refuse]);
    let (_, deadlines) = asked(&dock.feed(Input::Refused))[0];
    assert_eq!(deadlines.soft, Some(dock.start + secs(30)));
    assert_eq!(deadlines.hard, Some(dock.start + secs(40)));
}

#[test]
fn a_near_deadline_shortens_the_announcement() {
    let mut dock = Dock::with(1, |config| config.announce = secs(20));
    dock.feed(Input::Drain { exit: false, deadline: Some(Some(secs(10))), seed: 1 });
    assert_eq!(dock.wait(ms(4_999)), []);
    assert_eq!(dock.wait(ms(1)), [Output::Refuse]);
}

#[test]
fn slots_are_spread_evenly_over_the_window_in_random_order() {
    let slots = |seed: u64| {
        let mut dock = Dock::new(100);
        dock.feed(Input::Drain { exit: false, deadline: None, seed });
        let asked = asked(&dock.feed(Input::Refused));
        assert_eq!(asked.len(), 100);
        asked.iter().map(|(_, deadlines)| deadlines.slot - dock.start).collect::<Vec<_>>()
    };
    let order = slots(1);
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(sorted, (0..100).map(|rank| ms(50) * rank).collect::<Vec<_>>());
    assert_ne!(order, sorted, "not in the order in which they came");
    assert_ne!(order, slots(2), "not in the same order every time");
    let early_half = order[..50].iter().filter(|slot| **slot < ms(2_500)).count();
    assert!((15..=35).contains(&early_half), "{early_half} of the first 50 in the first half");
}

#[test]
fn an_ebb_window_of_nothing_asks_everyone_now() {
    let mut dock = Dock::with(20, |config| config.ebb_window = secs(0));
    dock.drain();
    let asked = asked(&dock.feed(Input::Refused));
    assert!(asked.iter().all(|(_, deadlines)| deadlines.slot == dock.now));
}

#[test]
fn the_ebb_ends_well_before_the_soft_deadline() {
    let mut dock = Dock::with(100, |config| config.ebb_window = secs(60));
    dock.feed(Input::Drain { exit: false, deadline: Some(Some(secs(40))), seed: 1 });
    let asked = asked(&dock.feed(Input::Refused));
    assert!(asked.iter().all(|(_, deadlines)| deadlines.slot <= dock.now + secs(15)));
}

#[test]
fn without_a_deadline_a_drain_has_none() {
    let mut dock = Dock::with(1, |config| config.deadline = None);
    dock.stop();
    let (_, deadlines) = asked(&dock.feed(Input::Refused))[0];
    assert_eq!((deadlines.soft, deadlines.hard), (None, None));
    assert_eq!(dock.wait(secs(1_000_000)), []);
}

#[test]
fn a_connection_that_joins_during_the_ebb_is_asked_at_once() {
    let mut dock = Dock::new(1);
    dock.drain();
    dock.feed(Input::Refused);
    dock.wait(secs(2));
    let ask = dock.ask(9, secs(2), Some(secs(90)), Some(secs(120)));
    assert_eq!(dock.feed(Input::Joined(9)), [ask]);
    dock.leaves(0, 0);
    assert_eq!(dock.drain.phase(), Phase::Ebb);
    assert_eq!(dock.leaves(9, 0), [Output::Drained(Verdict::Clean)]);
}

#[test]
fn a_connection_that_joins_a_drained_process_is_asked_and_drained_too() {
    let mut dock = Dock::new(0);
    dock.drain();
    dock.feed(Input::Refused);
    assert_eq!(asked(&dock.feed(Input::Joined(3))).len(), 1);
    assert_eq!(dock.drain.phase(), Phase::Ebb);
    assert_eq!(dock.leaves(3, 0), [Output::Drained(Verdict::Clean)]);
}

#[test]
fn it_is_drained_the_instant_the_last_connection_is_gone() {
    let mut dock = Dock::new(2);
    dock.stop();
    dock.feed(Input::Refused);
    assert_eq!(dock.leaves(0, 0), []);
    let end = [Output::Drained(Verdict::Clean), Output::Exit(Verdict::Clean)];
    assert_eq!(dock.leaves(1, 0), end);
}

#[test]
fn what_was_cut_off_makes_the_verdict() {
    let mut dock = Dock::new(3);
    dock.leaves(0, 5);
    dock.stop();
    dock.feed(Input::Refused);
    dock.leaves(1, 2);
    assert_eq!(dock.drain.verdict(), Verdict::Lost(2), "what was lost before is not of this drain");
    let end = [Output::Drained(Verdict::Lost(3)), Output::Exit(Verdict::Lost(3))];
    assert_eq!(dock.leaves(2, 1), end);
    assert_eq!((Verdict::Clean.exit_code(), Verdict::Lost(3).exit_code()), (0, 3));
}

#[test]
fn the_verdict_is_of_one_drain() {
    let mut dock = Dock::new(2);
    dock.drain();
    dock.feed(Input::Refused);
    dock.leaves(0, 1);
    dock.feed(Input::Undrain);
    let mut again = dock;
    again.drain();
    again.feed(Input::Refused);
    assert_eq!(again.leaves(1, 0), [Output::Drained(Verdict::Clean)]);

    let mut hurried = Dock::new(2);
    hurried.drain();
    hurried.feed(Input::Refused);
    hurried.leaves(0, 1);
    hurried.feed(Input::Undrain);
    hurried.feed(Input::Hurry);
    hurried.feed(Input::Refused);
    let end = [Output::Drained(Verdict::Clean), Output::Exit(Verdict::Clean)];
    assert_eq!(hurried.leaves(1, 0), end);
}

#[test]
fn a_drain_during_a_drain_does_not_start_its_deadline_again() {
    let mut dock = Dock::new(1);
    dock.drain();
    dock.feed(Input::Refused);
    dock.wait(secs(60));
    assert_eq!(dock.drain(), []);
    assert_eq!(dock.drain.hard_deadline(), Some(dock.start + secs(120)));
}

#[test]
fn a_stop_during_a_drain_is_the_same_drain_with_an_exit() {
    let mut dock = Dock::new(1);
    dock.drain();
    dock.feed(Input::Refused);
    dock.wait(secs(60));
    assert_eq!(dock.stop(), [Output::Leave]);
    assert_eq!(dock.stop(), [], "once");
    assert_eq!(dock.drain.hard_deadline(), Some(dock.start + secs(120)));
    let end = [Output::Drained(Verdict::Clean), Output::Exit(Verdict::Clean)];
    assert_eq!(dock.leaves(0, 0), end);
}

#[test]
fn a_stop_of_a_drained_process_exits_at_once() {
    let mut dock = Dock::new(0);
    dock.drain();
    dock.feed(Input::Refused);
    assert_eq!(dock.stop(), [Output::Exit(Verdict::Clean)]);
}

#[test]
fn a_new_deadline_replaces_the_old() {
    let mut dock = Dock::new(1);
    dock.drain();
    dock.feed(Input::Refused);
    dock.wait(secs(60));
    let outputs = dock.feed(Input::Drain { exit: false, deadline: Some(Some(secs(20))), seed: 2 });
    let (_, deadlines) = asked(&outputs)[0];
    assert_eq!(deadlines.soft, Some(dock.start + secs(75)));
    assert_eq!(deadlines.hard, Some(dock.start + secs(80)));
    let outputs = dock.feed(Input::Drain { exit: false, deadline: Some(None), seed: 3 });
    let (_, deadlines) = asked(&outputs)[0];
    assert_eq!((deadlines.soft, deadlines.hard), (None, None));
}

#[test]
fn a_second_stop_hurries_from_every_phase() {
    let mut announcing = Dock::with(1, |config| config.announce = secs(5));
    announcing.stop();
    assert_eq!(announcing.feed(Input::Hurry), [Output::Refuse]);
    let ask = announcing.ask(0, secs(0), Some(secs(0)), Some(secs(0)));
    assert_eq!(announcing.feed(Input::Refused), [ask]);

    let mut refusing = Dock::new(1);
    refusing.stop();
    assert_eq!(refusing.feed(Input::Hurry), []);
    let ask = refusing.ask(0, secs(0), Some(secs(0)), Some(secs(0)));
    assert_eq!(refusing.feed(Input::Refused), [ask]);

    let mut ebbing = Dock::new(1);
    ebbing.stop();
    ebbing.feed(Input::Refused);
    ebbing.wait(secs(3));
    let ask = ebbing.ask(0, secs(3), Some(secs(3)), Some(secs(3)));
    assert_eq!(ebbing.feed(Input::Hurry), [ask]);
    let end = [Output::Drained(Verdict::Lost(1)), Output::Exit(Verdict::Lost(1))];
    assert_eq!(ebbing.leaves(0, 1), end);

    let mut serving = Dock::new(1);
    assert_eq!(serving.feed(Input::Hurry), [Output::Announce, Output::Refuse]);
}

#[test]
fn undrain_leads_back_from_every_phase() {
    let back = [Output::Recall, Output::Serve];
    let mut dock = Dock::with(1, |config| config.announce = secs(5));
    assert_eq!(dock.feed(Input::Undrain), [], "there is nothing to call off");
    for phase in [Phase::Announce, Phase::Refuse, Phase::Ebb, Phase::Drained] {
        dock.drain();
        if phase != Phase::Announce {
            assert_eq!(dock.wait(secs(5)), [Output::Refuse]);
        }
        if matches!(phase, Phase::Ebb | Phase::Drained) {
            dock.feed(Input::Refused);
        }
        if phase == Phase::Drained {
            dock.leaves(0, 0);
        }
        assert_eq!(dock.drain.phase(), phase);
        assert_eq!(dock.feed(Input::Undrain), back);
        assert_eq!(dock.drain.phase(), Phase::Serving);
        assert_eq!((dock.drain.began(), dock.drain.hard_deadline()), (None, None));
        assert_eq!(dock.wait(secs(1_000)), [], "nothing of the drain is left");
        assert_eq!(dock.feed(Input::Joined(100)), []);
        dock.leaves(100, 0);
    }
}

#[test]
fn other_times_hold_at_once_but_for_the_deadline_that_was_set() {
    let other = Config {
        announce: secs(20),
        ebb_window: secs(0),
        deadline: Some(secs(60)),
        close_timeout: secs(1),
    };
    let mut dock = Dock::with(2, |config| config.announce = secs(40));
    dock.stop();
    assert_eq!(dock.feed(Input::Configure(other)), []);
    assert_eq!(dock.drain.hard_deadline(), Some(dock.start + secs(120)));
    assert_eq!(dock.wait(secs(20)), [Output::Refuse], "the shorter announcement");
    let slots: Vec<_> = dock
        .feed(Input::Refused)
        .iter()
        .map(|output| {
            let Output::Ask(_, deadlines) = output else { panic!("{output:?}") };
            deadlines.slot - dock.start
        })
        .collect();
    assert_eq!(slots, [secs(20); 2], "no window any more");
    assert_eq!(dock.wait(secs(101)), []);
    assert_eq!(dock.wait(secs(1)), [Output::Exit(Verdict::Lost(2))], "the shorter close_timeout");

    let mut next = Dock::new(1);
    next.feed(Input::Configure(other));
    next.drain();
    assert_eq!(next.drain.hard_deadline(), Some(next.start + secs(60)));
}

#[test]
fn an_announcement_that_was_made_shorter_than_it_has_stood_is_over() {
    let mut dock = Dock::with(1, |config| config.announce = secs(40));
    dock.drain();
    dock.wait(secs(30));
    let shorter =
        Config { announce: secs(10), ebb_window: secs(5), deadline: None, close_timeout: secs(10) };
    assert_eq!(dock.feed(Input::Configure(shorter)), [Output::Refuse]);
}

#[test]
fn a_stop_cannot_be_called_off() {
    let mut dock = Dock::new(1);
    dock.stop();
    assert_eq!(dock.drain.may_undrain(), Err(TooLate));
    assert_eq!(dock.feed(Input::Undrain), []);
    assert_eq!(dock.drain.phase(), Phase::Refuse);
}

#[test]
fn the_process_does_not_wait_for_a_connection_that_hangs() {
    let mut dock = Dock::new(2);
    dock.stop();
    dock.feed(Input::Refused);
    dock.leaves(0, 0);
    assert_eq!(dock.wait(secs(130)), [], "hard deadline and close_timeout");
    assert_eq!(dock.wait(secs(1)), [Output::Exit(Verdict::Lost(1))]);
    assert_eq!(dock.wait(secs(1_000)), []);
}

#[test]
fn a_process_that_stays_waits_for_the_last_connection() {
    let mut dock = Dock::new(1);
    dock.drain();
    dock.feed(Input::Refused);
    assert_eq!(dock.wait(secs(1_000)), []);
    assert_eq!(dock.leaves(0, 1), [Output::Drained(Verdict::Lost(1))]);
}
