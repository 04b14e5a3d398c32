//! From our Close to the end: what arrives is counted and not executed, and only the client's own
//! Close, or time, ends TCP.

use slackwater_core::event::{Cause, Event};
use slackwater_core::session::{CloseFin, Config, Input, Phase};

use crate::bench::Bench;
use crate::words::{bad_request, complete, connect, disconnect, ms, request, secs};

/// A bench whose Close has just gone out behind one answer of 1000 bytes, all read.
fn closing(mut bench: Bench) -> Bench {
    bench.say("t", &[request(1)]);
    bench.drain();
    bench.answer(1, &[complete(1)]);
    bench.traffic(|traffic| traffic.written = 1_000);
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
    bench
}

#[test]
fn a_request_that_crosses_our_close_is_counted_and_never_sent() {
    let mut bench = closing(Bench::new());
    bench.sent.clear();
    bench.take_replies();
    bench.say("u", &[connect(0), request(1), bad_request(2), disconnect(3)]);
    bench.say("v", &[connect(0)]);
    bench.text("not JSON");
    assert!(bench.sent.is_empty() && bench.replies.is_empty());
    assert_eq!((bench.counters.crossed_requests, bench.counters.received), (2, 3));
    assert!(bench.events.contains(&Event::Crossed { requests: 2, thread: "u".into() }));
}

#[test]
fn our_fin_waits_for_the_clients_close() {
    let mut bench = closing(Bench::new());
    bench.wait(secs(9));
    assert!(!bench.finished);
    bench.peer_closes();
    assert!(bench.finished);
    assert_eq!(bench.session.phase(), Phase::Ending);
    bench.feed(Input::Ended(Cause::Eof));
    assert_eq!(bench.session.cause(), Some(Cause::Drained));
    assert!(!bench.reset);
}

#[test]
fn with_close_our_fin_goes_right_behind_the_close() {
    let mut bench = closing(Bench::with(|config| config.close_fin = CloseFin::WithClose));
    assert!(bench.finished);
    bench.peer_closes();
    assert_eq!(bench.session.phase(), Phase::Ending);
}

#[test]
fn a_connection_that_is_closing_goes_on_by_the_rules_it_began_with() {
    let mut bench = closing(Bench::new());
    let other = |config: &mut Config| {
        config.close_fin = CloseFin::WithClose;
        config.close_timeout = secs(1);
    };
    bench.feed(Input::Configure(Bench::config(other)));
    bench.wait(secs(9));
    bench.peer_closes();
    assert!(bench.finished, "else the client would wait for our FIN in vain");
}

#[test]
fn a_client_that_goes_without_a_close_ends_it() {
    let mut bench = closing(Bench::new());
    bench.feed(Input::Ended(Cause::Reset));
    assert_eq!(bench.session.cause(), Some(Cause::Drained));
    assert_eq!(bench.counters.lost_replies, 0);
}

#[test]
fn a_client_that_never_answers_the_close_is_cut() {
    let mut bench = closing(Bench::new());
    bench.wait(ms(9_999));
    assert_eq!(bench.session.phase(), Phase::Closing);
    bench.wait(ms(1));
    assert_eq!(bench.session.cause(), Some(Cause::Drained));
    assert!(!bench.reset, "the kernel may still deliver what it has");
    assert_eq!(bench.counters.lost_replies, 0, "all had been acknowledged");
}

#[test]
fn a_client_that_never_ends_tcp_is_cut() {
    let mut bench = closing(Bench::new());
    bench.wait(secs(5));
    bench.peer_closes();
    bench.wait(ms(9_999));
    assert_eq!(bench.session.phase(), Phase::Ending);
    bench.wait(ms(1));
    assert_eq!(bench.session.phase(), Phase::Closed);
}

#[test]
fn close_timeout_runs_only_while_no_byte_moves() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain();
    bench.answer(1, &[complete(1)]);
    bench.traffic(|traffic| (traffic.written, traffic.unsent) = (1_000, 1_000));
    bench.confirm_slack_water();
    for left in (0..8).rev() {
        bench.wait(secs(9));
        bench.traffic(|traffic| traffic.unsent = left * 100);
    }
    assert_eq!(bench.session.phase(), Phase::Closing, "a slow reader is getting its answer");
    bench.wait(secs(10));
    assert_eq!(bench.session.phase(), Phase::Closed);
    assert_eq!(bench.counters.lost_replies, 0);
}

#[test]
fn a_client_that_goes_on_sending_is_read_on() {
    let mut bench = closing(Bench::new());
    for received in 1..5 {
        bench.wait(secs(9));
        bench.traffic(|traffic| traffic.received = received * 1_000);
    }
    assert_eq!(bench.session.phase(), Phase::Closing);
}

#[test]
fn the_hard_deadline_bounds_the_slowest_reader() {
    let mut bench = closing(Bench::new());
    let mut waited = secs(0);
    while bench.session.phase() == Phase::Closing {
        assert!(waited < secs(131), "hard deadline and close_timeout have passed");
        bench.wait(secs(1));
        waited += secs(1);
        bench.traffic(|traffic| traffic.received += 1);
    }
    assert!(waited > secs(120));
}

#[test]
fn a_later_order_brings_the_end_of_a_closing_connection_nearer() {
    let mut bench = Bench::new();
    bench.drain_by(ms(0), None, None);
    bench.confirm_slack_water();
    bench.feed(Input::hurry(bench.now));
    for received in 1..=10 {
        bench.wait(secs(1));
        bench.traffic(|traffic| traffic.received = received);
    }
    assert_eq!(bench.session.phase(), Phase::Closed);
}

#[test]
fn answer_bytes_that_were_not_acknowledged_are_lost() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.drain();
    bench.answer(1, &[complete(1)]);
    bench.traffic(|traffic| (traffic.written, traffic.unsent) = (1_000, 1_000));
    bench.confirm_slack_water();
    // A Ping of 10 bytes and a Close of 11 stand behind the answer.
    bench.traffic(|traffic| (traffic.written, traffic.unsent) = (1_021, 121));
    bench.wait(secs(20));
    assert!(bench.events.contains(&Event::LostBytes(100)));
    assert_eq!(bench.counters.lost_replies, 1);
}

#[test]
fn bytes_that_are_no_answer_are_no_loss() {
    let mut bench = closing(Bench::new());
    bench.traffic(|traffic| (traffic.written, traffic.unsent) = (1_021, 21));
    bench.wait(secs(20));
    assert_eq!((bench.session.phase(), bench.counters.lost_replies), (Phase::Closed, 0));
}

#[test]
fn a_client_that_has_sent_its_close_has_every_answer() {
    let mut bench = closing(Bench::new());
    bench.traffic(|traffic| (traffic.written, traffic.unsent) = (2_000, 900));
    bench.peer_closes();
    bench.wait(secs(20));
    assert_eq!((bench.session.phase(), bench.counters.lost_replies), (Phase::Closed, 0));
}

#[test]
fn the_close_code_is_the_operators() {
    let mut bench = Bench::with(|config| config.close_code = 1001);
    bench.drain();
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1001, "drained")));
}
