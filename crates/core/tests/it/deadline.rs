//! The operator's deadline: soft, nothing new is executed; hard, everyone is told and cut off.

use slackwater_core::event::{Event, Outcome};
use slackwater_core::osrf::envelope::Recipient;
use slackwater_core::session::{Input, Phase};

use crate::bench::{Bench, said};
use crate::words::{
    SERVICE, WORKER, bus_thread, complete, connect, connected, disconnect, ms, request, secs,
};

#[test]
fn after_the_soft_deadline_nothing_new_is_executed() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain_by(ms(0), Some(secs(90)), Some(secs(120)));
    bench.wait(ms(89_999));
    bench.say("t", &[request(2)]);
    assert_eq!(bench.counters.executed, 2);
    bench.wait(ms(1));
    bench.say("t", &[request(3)]);
    bench.say("u", &[connect(0)]);
    assert_eq!(bench.statuses(), [said("t", 3, 503), said("u", 0, 503)]);
    assert_eq!((bench.counters.executed, bench.counters.rejected), (2, 1));
}

#[test]
fn the_soft_deadline_holds_even_before_its_timer_is_heard() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain_by(ms(0), Some(secs(90)), Some(secs(120)));
    bench.now += secs(100);
    bench.say("t", &[request(2)]);
    assert_eq!((bench.counters.executed, bench.counters.rejected), (1, 1));
}

#[test]
fn after_the_soft_deadline_the_first_instant_with_nothing_pending_closes() {
    let mut bench = Bench::new();
    bench.stops_reading();
    bench.say("t", &[request(1)]);
    bench.drain_by(secs(60), Some(secs(90)), Some(secs(120)));
    bench.wait(secs(100));
    bench.answer(1, &[complete(1)]);
    assert_eq!(bench.close, None, "not before the answer has reached the kernel");
    bench.flush();
    assert_eq!((bench.close, bench.pings.len()), (Some((1012, "drained")), 0));
    assert_eq!(bench.counters.answered, 1);
}

#[test]
fn at_the_soft_deadline_an_idle_connection_closes_at_once() {
    let mut bench = Bench::new();
    bench.drain_by(secs(200), Some(secs(90)), Some(secs(120)));
    bench.traffic(|traffic| traffic.mid_message = true);
    bench.wait(ms(89_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1012, "drained")), "a half frame has not been executed");
}

#[test]
fn after_the_soft_deadline_a_session_can_still_be_left() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.drain_by(ms(0), Some(secs(90)), Some(secs(120)));
    bench.wait(secs(100));
    bench.say_bare("t", &[request(1), disconnect(2)]);
    assert_eq!(bench.statuses()[1..], [said("t", 1, 503)]);
    assert_eq!(bench.destinations()[1..], [(Recipient::Worker(WORKER.into()), 1)]);
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn at_the_hard_deadline_everyone_is_told_and_cut_off() {
    let mut bench = Bench::new();
    bench.say("plain", &[request(1)]);
    bench.say("open", &[connect(0)]);
    bench.answer(2, &[connected(0)]);
    bench.say("open", &[request(2)]);
    bench.say("opening", &[connect(5), request(6)]);
    bench.say("opening", &[request(7)]);
    bench.take_replies();
    bench.sent.clear();
    bench.drain();
    bench.wait(ms(119_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));

    assert_eq!(
        bench.statuses(),
        [
            said("plain", 1, 504),
            said("open", 2, 504),
            said("opening", 5, 504),
            said("opening", 6, 504),
            said("opening", 7, 503),
        ]
    );
    assert_eq!(bench.close, Some((1012, "deadline")));
    assert_eq!(bench.sent.len(), 1);
    assert_eq!(bench.sent[0].thread, bus_thread(2));
    assert!(bench.sent[0].body.contains("DISCONNECT"));
    assert_eq!(bench.destinations(), [(Recipient::Worker(WORKER.into()), 1)]);
    let counters = &bench.counters;
    assert_eq!((counters.cut_off, counters.rejected, counters.pending), (3, 1, 0));
    assert_eq!((counters.sessions, counters.lost_replies), (0, 5), "3 requests, 2 sessions");
    assert!(bench.outcomes().iter().all(|(_, outcome)| *outcome == Outcome::CutOff));
}

#[test]
fn what_was_cut_off_is_told_with_its_age() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.wait(secs(10));
    bench.say("t", &[request(1)]);
    bench.drain();
    bench.wait(secs(120));
    let session =
        Event::SessionCutOff { service: SERVICE.into(), thread: "t".into(), took: secs(130) };
    assert!(bench.events.contains(&session));
    let took = bench.events.iter().find_map(|event| {
        let Event::Settled { took, .. } = event else { return None };
        Some(*took)
    });
    assert_eq!(took, Some(secs(120)));
}

#[test]
fn the_words_of_503_and_504_say_what_they_mean() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain();
    bench.wait(secs(100));
    bench.say("t", &[request(2)]);
    bench.wait(secs(20));
    assert!(bench.replies[0].contains("the request was never executed, send it again"));
    assert!(bench.replies[1].contains("sent on and its outcome is unknown"));
}

#[test]
fn without_a_deadline_a_drain_waits_for_ever() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain_by(ms(0), None, None);
    bench.wait(secs(1_000_000));
    assert_eq!(bench.close, None);
    bench.answer(1, &[complete(1)]);
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn a_new_order_replaces_the_deadline_and_takes_the_soft_one_back() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain_by(ms(0), Some(secs(10)), Some(secs(20)));
    bench.wait(secs(15));
    bench.drain_by(ms(0), Some(secs(100)), Some(secs(200)));
    bench.say("t", &[request(2)]);
    assert_eq!(bench.counters.executed, 2);
    bench.wait(ms(199_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1012, "deadline")));
}

#[test]
fn a_new_order_keeps_the_slot() {
    let mut bench = Bench::new();
    bench.wait(secs(1));
    bench.drain_by(secs(4), Some(secs(90)), Some(secs(120)));
    bench.drain_by(ms(0), Some(secs(90)), Some(secs(120)));
    bench.wait(ms(3_999));
    assert_eq!(bench.pings.len(), 0);
    bench.wait(ms(1));
    assert_eq!(bench.pings.len(), 1);
}

#[test]
fn a_hurry_cuts_off_at_once() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.feed(Input::hurry(bench.now));
    assert_eq!(bench.statuses(), [said("t", 1, 504)]);
    assert_eq!((bench.close, bench.counters.cut_off), (Some((1012, "deadline")), 1));

    let mut idle = Bench::new();
    idle.feed(Input::hurry(idle.now));
    assert_eq!(idle.session.phase(), Phase::Closing);
    assert_eq!(idle.counters.lost_replies, 0, "nothing was pending");
}

#[test]
fn an_answer_that_could_not_be_written_by_the_deadline_is_cut_off() {
    let mut bench = Bench::with(|config| config.write_stall_timeout = secs(1_000));
    bench.stops_reading();
    bench.say("t", &[request(1)]);
    bench.drain();
    bench.answer(1, &[complete(1)]);
    bench.wait(secs(130));
    assert_eq!((bench.counters.cut_off, bench.counters.lost_replies), (1, 1));
    assert_eq!(bench.session.phase(), Phase::Closed);
}
