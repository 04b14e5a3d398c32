//! How a draining session finds its slack water: the quiet window, the barrier, the slot, and the
//! way back.

use slackwater_core::event::Event;
use slackwater_core::session::{Config, Input, Phase};

use crate::bench::{Bench, said};
use crate::words::{complete, ms, request, secs};

#[test]
fn it_must_be_quiet_for_the_window_before_the_barrier() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain();
    bench.answer(1, &[complete(1)]);
    bench.wait(ms(199));
    assert_eq!(bench.pings.len(), 0);
    bench.wait(ms(1));
    assert_eq!(bench.pings.len(), 1);
}

#[test]
fn a_session_that_has_been_quiet_is_asked_at_once() {
    let mut bench = Bench::new();
    bench.wait(secs(5));
    bench.drain();
    assert_eq!(bench.pings.len(), 1);
    bench.pong();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn a_message_of_the_client_begins_the_window_anew() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(150));
    bench.text("not JSON");
    bench.wait(ms(199));
    assert_eq!(bench.pings.len(), 0);
    bench.wait(ms(1));
    assert_eq!(bench.pings.len(), 1);
}

#[test]
fn the_window_grows_with_the_round_trip_time() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    bench.wait(ms(400));
    bench.say("t", &[request(1)]);
    bench.pong();
    bench.answer(1, &[complete(1)]);
    bench.wait(ms(200));
    assert_eq!(bench.pings.len(), 2, "the path is measured again");
    bench.wait(ms(400));
    bench.pong();
    assert_eq!(bench.close, None, "it has been quiet for less than two round trips");
    bench.wait(ms(199));
    assert_eq!(bench.pings.len(), 2);
    bench.wait(ms(1));
    assert_eq!(bench.pings.len(), 3);
    bench.wait(ms(400));
    bench.pong();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn a_first_pong_that_was_slow_by_chance_does_not_hold_a_busy_client() {
    let mut bench = Bench::new();
    bench.drain_by(ms(0), None, None);
    bench.wait(ms(200));
    bench.wait(ms(1_500));
    bench.text("not JSON");
    bench.pong();
    // It is never quiet for two such round trips again.
    for _ in 0..3 {
        bench.wait(ms(250));
        bench.pong();
        if bench.close.is_some() {
            break;
        }
        bench.text("not JSON");
    }
    assert_eq!(bench.close, Some((1012, "drained")));
    assert_eq!(bench.pings.len(), 2);
}

#[test]
fn one_slow_pong_does_not_make_the_path_slow() {
    let mut bench = Bench::new();
    bench.drain();
    for round_trip in [ms(50), ms(1_500)] {
        bench.wait(ms(200));
        bench.wait(round_trip);
        bench.text("not JSON");
        bench.pong();
    }
    bench.wait(ms(200));
    assert_eq!(bench.pings.len(), 3);
    bench.wait(ms(1_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1012, "drained")), "no more patience than a fast path needs");
}

#[test]
fn the_window_shrinks_as_the_soft_deadline_comes_near() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain_by(ms(0), Some(ms(1_100)), Some(secs(2)));
    bench.answer(1, &[complete(1)]);
    bench.wait(ms(99));
    assert_eq!(bench.pings.len(), 0);
    bench.wait(ms(1));
    assert_eq!(bench.pings.len(), 1, "an eleventh of what is left");
}

#[test]
fn a_chatty_client_cannot_hold_the_drain_for_ever() {
    let mut bench = Bench::new();
    let soft = bench.now + secs(30);
    bench.drain_by(ms(0), Some(secs(30)), Some(secs(40)));
    for turn in 0..600 {
        if bench.close.is_some() {
            break;
        }
        bench.say("t", &[request(turn)]);
        bench.answer(u64::from(turn) + 1, &[complete(turn)]);
        let pings = bench.pings.len();
        bench.wait(ms(90));
        if bench.pings.len() > pings {
            bench.pong();
        }
    }
    assert_eq!(bench.close, Some((1012, "drained")));
    assert!(bench.closed_at.is_some_and(|at| at < soft), "and nothing has to be refused");
    assert_eq!((bench.counters.rejected, bench.counters.cut_off), (0, 0));
}

#[test]
fn the_pong_closes_in_the_same_turn() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    assert_eq!((bench.pings.len(), bench.close), (1, None));
    bench.pong();
    assert_eq!((bench.close, bench.session.phase()), (Some((1012, "drained")), Phase::Closing));
}

#[test]
fn data_before_the_pong_cancels_the_barrier() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    bench.pong();
    assert_eq!(bench.close, None, "the Pong is of a barrier that is down");
    assert_eq!(bench.statuses(), [said("t", 1, 205)]);
    bench.confirm_slack_water();
    assert_eq!((bench.close, bench.counters.answered), (Some((1012, "drained")), 1));
}

#[test]
fn a_frame_that_is_half_read_when_the_pong_comes_keeps_the_connection() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    bench.traffic(|traffic| (traffic.received, traffic.mid_message) = (100, true));
    bench.pong();
    bench.wait(secs(20));
    assert_eq!(bench.close, None);
    bench.traffic(|traffic| (traffic.received, traffic.mid_message) = (200, false));
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    bench.confirm_slack_water();
    assert_eq!((bench.close, bench.counters.answered), (Some((1012, "drained")), 1));
}

#[test]
fn a_pong_of_another_ping_proves_nothing() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    bench.feed(Input::Pong(bench.pings[0] + 1));
    bench.feed(Input::Pong(0));
    assert_eq!(bench.close, None);
}

#[test]
fn a_pong_that_stays_away_is_given_up() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    bench.wait(ms(1_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1012, "drained")));
    assert!(bench.events.contains(&Event::BarrierGivenUp));
}

#[test]
fn patience_is_counted_only_while_no_byte_moves() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    for byte in 1..=5 {
        bench.wait(ms(1_500));
        bench.traffic(|traffic| traffic.received = byte);
    }
    assert_eq!(bench.close, None);
    bench.wait(ms(1_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn patience_grows_with_the_round_trip_time() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    bench.wait(ms(1_000));
    bench.say("t", &[request(1)]);
    bench.pong();
    bench.answer(1, &[complete(1)]);
    bench.wait(ms(200));
    assert_eq!(bench.pings.len(), 2);
    bench.wait(ms(3_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn an_idle_session_waits_for_its_slot() {
    let mut bench = Bench::new();
    bench.wait(secs(5));
    bench.drain_by(secs(4), Some(secs(90)), Some(secs(120)));
    bench.wait(ms(3_999));
    assert_eq!(bench.pings.len(), 0);
    bench.wait(ms(1));
    bench.pong();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn a_busy_session_does_not_wait_for_its_slot() {
    let busy: [fn(&mut Bench); 3] = [
        |_| {},
        |bench| {
            bench.stops_reading();
            bench.answer(1, &[complete(1)]);
        },
        |bench| {
            bench.answer(1, &[complete(1)]);
            bench.traffic(|traffic| traffic.mid_message = true);
        },
    ];
    for make_busy in busy {
        let mut bench = Bench::new();
        bench.say("t", &[request(1)]);
        make_busy(&mut bench);
        bench.drain_by(secs(60), Some(secs(90)), Some(secs(120)));
        if bench.session.ledger().pending() > 0 {
            bench.answer(1, &[complete(1)]);
        }
        bench.traffic(|traffic| traffic.mid_message = false);
        bench.flush();
        bench.confirm_slack_water();
        assert_eq!(bench.close, Some((1012, "drained")));
    }
}

#[test]
fn new_requests_are_served_while_draining() {
    let mut bench = Bench::new();
    bench.drain_by(secs(60), Some(secs(90)), Some(secs(120)));
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    assert_eq!((bench.counters.answered, bench.counters.rejected), (1, 0));
}

#[test]
fn an_unwritten_reply_keeps_the_connection_even_if_no_request_is_owed() {
    let mut bench = Bench::new();
    bench.stops_reading();
    bench.drain();
    bench.text("not JSON");
    bench.wait(secs(20));
    assert_eq!((bench.close, bench.pings.len()), (None, 0));
    bench.flush();
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn undrain_gives_normal_service_back() {
    let mut bench = Bench::new();
    bench.drain();
    bench.feed(Input::Undrain);
    assert_eq!(bench.session.phase(), Phase::Open);
    bench.wait(secs(1_000));
    assert_eq!((bench.close, bench.pings.len()), (None, 0));
}

#[test]
fn a_draining_connection_goes_by_other_rules_at_once() {
    let mut bench = Bench::new();
    bench.drain();
    let other = |config: &mut Config| {
        config.quiet_window = secs(3);
        config.close_code = 1001;
    };
    bench.feed(Input::Configure(Bench::config(other)));
    bench.wait(ms(2_999));
    assert_eq!(bench.pings.len(), 0);
    bench.wait(ms(1));
    bench.pong();
    assert_eq!(bench.close, Some((1001, "drained")));
}

#[test]
fn undrain_takes_the_barrier_down() {
    let mut bench = Bench::new();
    bench.drain();
    bench.wait(ms(200));
    bench.feed(Input::Undrain);
    bench.pong();
    bench.wait(secs(1_000));
    assert_eq!((bench.close, bench.session.phase()), (None, Phase::Open));
    bench.drain();
    assert_eq!(bench.close, None, "the next drain asks for itself");
    bench.pong();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn undrain_leaves_no_slot_behind() {
    let mut bench = Bench::new();
    bench.wait(secs(5));
    bench.drain_by(secs(60), Some(secs(90)), Some(secs(120)));
    bench.feed(Input::Undrain);
    bench.drain_by(secs(1), Some(secs(90)), Some(secs(120)));
    bench.wait(secs(1));
    bench.pong();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn undrain_executes_again_after_the_soft_deadline() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain_by(ms(0), Some(secs(10)), Some(secs(100)));
    bench.wait(secs(20));
    bench.feed(Input::Undrain);
    bench.say("t", &[request(2)]);
    assert_eq!((bench.counters.executed, bench.counters.rejected), (2, 0));
    bench.wait(secs(1_000));
    assert_eq!(bench.close, None, "the deadlines of the drain are gone");
}

#[test]
fn a_connection_that_is_closing_finishes_closing_whatever_is_called_off() {
    let mut bench = Bench::new();
    bench.drain();
    bench.confirm_slack_water();
    bench.feed(Input::Undrain);
    assert_eq!(bench.session.phase(), Phase::Closing);
    bench.say("t", &[request(1)]);
    assert_eq!((bench.counters.crossed_requests, bench.counters.executed), (1, 0));
}
