//! Clients that are silent, dead or do not read.

use slackwater_core::event::Cause;
use slackwater_core::session::{Input, Phase};

use crate::bench::Bench;
use crate::words::{complete, connect, connected, disconnect, ms, request, secs};

fn pinging() -> Bench {
    Bench::with(|config| config.ping_interval = Some(secs(30)))
}

fn timed() -> Bench {
    Bench::with(|config| config.idle_timeout = Some(secs(60)))
}

#[test]
fn an_idle_client_is_closed_after_the_idle_timeout() {
    let mut bench = timed();
    bench.wait(ms(59_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1001, "idle")));
    bench.peer_closes();
    bench.feed(Input::Ended(Cause::Eof));
    assert_eq!(bench.session.cause(), Some(Cause::Idle));
}

#[test]
fn the_idle_timeout_counts_only_at_slack_water() {
    let mut bench = timed();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.wait(secs(300));
    bench.say("t", &[request(1)]);
    bench.say("t", &[disconnect(2)]);
    bench.wait(secs(300));
    assert_eq!(bench.close, None);
    bench.answer(1, &[complete(1)]);
    bench.wait(ms(59_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1001, "idle")));
}

#[test]
fn a_slow_write_is_not_idleness() {
    let mut bench = timed();
    bench.stops_reading();
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    for written in 1..=10 {
        bench.wait(secs(20));
        bench.traffic(|traffic| traffic.written = written * 1_000);
    }
    bench.flush();
    bench.wait(ms(59_999));
    assert_eq!(bench.close, None, "idle since the write has ended");
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1001, "idle")));
}

#[test]
fn a_slow_upload_is_not_idleness() {
    let mut bench = timed();
    for received in 1..=10 {
        bench.wait(secs(20));
        bench.traffic(|traffic| (traffic.received, traffic.mid_message) = (received, true));
    }
    bench.traffic(|traffic| (traffic.received, traffic.mid_message) = (11, false));
    bench.say("t", &[request(1)]);
    assert_eq!((bench.close, bench.counters.executed), (None, 1));
}

#[test]
fn a_client_closed_as_idle_cannot_stay_by_sending() {
    let mut bench = timed();
    bench.wait(secs(60));
    for received in 1..=10 {
        bench.wait(secs(1));
        bench.traffic(|traffic| traffic.received = received);
    }
    assert_eq!(bench.session.phase(), Phase::Closed);
}

#[test]
fn a_silent_client_is_pinged_and_an_answer_keeps_it() {
    let mut bench = pinging();
    for _ in 0..10 {
        let pings = bench.pings.len();
        bench.wait(secs(30));
        assert_eq!(bench.pings.len(), pings + 1);
        bench.traffic(|traffic| traffic.received += 14);
        bench.pong();
    }
    assert_eq!(bench.close, None);
}

#[test]
fn a_dead_peer_is_given_up_and_its_workers_freed() {
    let mut bench = pinging();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.sent.clear();
    bench.wait(ms(59_999));
    assert_eq!((bench.pings.len(), bench.close), (1, None));
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1011, "ping unanswered")));
    assert_eq!((bench.sent.len(), bench.counters.sessions), (1, 0));
    bench.wait(secs(10));
    assert_eq!((bench.reset, bench.session.cause()), (true, Some(Cause::DeadPeer)));
}

#[test]
fn whoever_did_not_run_himself_asks_once_more() {
    let mut bench = pinging();
    bench.wait(secs(30));
    bench.now += secs(60);
    bench.wait(ms(0));
    assert_eq!((bench.pings.len(), bench.close), (2, None));
    bench.wait(ms(29_999));
    assert_eq!((bench.pings.len(), bench.close), (2, None));
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1011, "ping unanswered")));
}

#[test]
fn what_a_dead_peer_never_read_is_no_loss_of_ours() {
    let mut bench = pinging();
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    bench.traffic(|traffic| (traffic.written, traffic.unsent) = (1_000, 1_000));
    bench.wait(secs(300));
    assert_eq!(bench.session.cause(), Some(Cause::DeadPeer));
    assert_eq!(bench.counters.lost_replies, 0);
}

#[test]
fn a_client_that_moves_bytes_is_not_dead() {
    let mut bench = pinging();
    bench.wait(secs(30));
    for received in 1..10 {
        bench.wait(secs(29));
        bench.traffic(|traffic| traffic.received = received);
    }
    assert_eq!(bench.close, None);
}

#[test]
fn pings_go_on_during_a_drain() {
    let mut bench = pinging();
    bench.say("t", &[request(1)]);
    bench.drain_by(ms(0), None, None);
    bench.wait(secs(30));
    assert_eq!(bench.pings.len(), 1);
    bench.wait(secs(30));
    assert_eq!(bench.close, Some((1011, "ping unanswered")));
    assert_eq!(bench.counters.client_gone, 1);
}

#[test]
fn a_write_that_stands_still_ends_the_client() {
    let mut bench = Bench::new();
    bench.stops_reading();
    bench.say("t", &[request(1), request(2)]);
    bench.wait(secs(100));
    bench.answer(1, &[complete(1)]);
    bench.wait(ms(29_999));
    assert_eq!(bench.close, None);
    bench.wait(ms(1));
    assert_eq!(bench.close, Some((1008, "not reading")));
    bench.wait(secs(10));
    assert_eq!((bench.reset, bench.session.cause()), (true, Some(Cause::SlowReader)));
    assert_eq!((bench.counters.client_gone, bench.counters.lost_replies), (2, 0));
}

#[test]
fn a_slow_write_that_moves_is_let_be() {
    let mut bench = Bench::new();
    bench.stops_reading();
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    for written in 1..=10 {
        bench.wait(secs(29));
        bench.traffic(|traffic| traffic.written = written * 1_000);
    }
    assert_eq!(bench.close, None);
    bench.flush();
    assert_eq!(bench.counters.answered, 1);
}

#[test]
fn what_the_client_sends_does_not_excuse_that_it_does_not_read() {
    let mut bench = Bench::new();
    bench.stops_reading();
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    for received in 1..=3 {
        bench.wait(secs(10));
        bench.traffic(|traffic| traffic.received = received * 1_000);
    }
    assert_eq!(bench.close, Some((1008, "not reading")));
}

#[test]
fn a_full_queue_ends_the_client() {
    let mut bench = Bench::new();
    bench.stops_reading();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.sent.clear();
    bench.feed(Input::Overflow);
    assert_eq!((bench.close, bench.sent.len()), (Some((1008, "not reading")), 1));
    bench.feed(Input::Overflow);
    assert_eq!(bench.session.phase(), Phase::Closing);
}
