//! What is lost that Slackwater cannot hold: the client, the bus, an envelope.

use slackwater_core::event::{Cause, Outcome};
use slackwater_core::osrf::envelope::{Bounce, Recipient, Refusal};
use slackwater_core::session::{FromBus, Input, Phase};

use crate::bench::{Bench, said};
use crate::words::{
    WORKER, bus_thread, complete, connect, connected, disconnect, not_taken, request, secs,
};

/// One request outside a session, one in an open session, one behind an unanswered CONNECT.
fn busy() -> Bench {
    let mut bench = Bench::new();
    bench.say("plain", &[request(1)]);
    bench.say("open", &[connect(0)]);
    bench.answer(2, &[connected(0)]);
    bench.say("open", &[request(2)]);
    bench.say("opening", &[connect(5)]);
    bench.say("opening", &[request(6)]);
    bench.take_replies();
    bench.sent.clear();
    bench
}

#[test]
fn a_client_that_is_gone_frees_the_workers_of_its_sessions() {
    for cause in [Cause::Eof, Cause::Reset, Cause::Protocol] {
        let mut bench = busy();
        bench.feed(Input::Ended(cause));
        assert_eq!(bench.sent.len(), 1);
        assert!(bench.sent[0].body.contains(r#""ingress":"gateway","type":"DISCONNECT""#));
        assert_eq!(bench.sent[0].thread, bus_thread(2));
        assert_eq!(bench.destinations(), [(Recipient::Worker(WORKER.into()), 1)]);
        assert_eq!((bench.counters.client_gone, bench.counters.rejected), (2, 1));
        assert_eq!((bench.counters.lost_replies, bench.replies.len()), (0, 0));
        assert_eq!(bench.session.cause(), Some(cause));
    }
}

#[test]
fn a_client_that_closes_frees_the_workers_of_its_sessions() {
    let mut bench = busy();
    bench.peer_closes();
    assert_eq!(bench.destinations(), [(Recipient::Worker(WORKER.into()), 1)]);
    assert!(bench.finished);
    assert_eq!((bench.counters.client_gone, bench.counters.sessions), (2, 0));
    bench.answer(1, &[complete(1)]);
    assert_eq!((bench.counters.strays, bench.replies.len()), (1, 0));
    bench.feed(Input::Ended(Cause::Eof));
    assert_eq!(bench.session.cause(), Some(Cause::Client));
}

#[test]
fn a_client_that_breaks_the_protocol_frees_the_workers_of_its_sessions() {
    let mut bench = busy();
    bench.violates();
    assert_eq!(bench.destinations(), [(Recipient::Worker(WORKER.into()), 1)]);
    assert!(bench.finished);
    bench.wait(secs(10));
    assert_eq!((bench.reset, bench.session.cause()), (true, Some(Cause::Protocol)));
    assert_eq!((bench.counters.client_gone, bench.counters.lost_replies), (2, 0));
}

#[test]
fn a_session_that_opens_after_its_client_has_gone_is_left_at_once() {
    let mut bench = busy();
    bench.peer_closes();
    bench.sent.clear();
    bench.answer_from("worker:2", 3, &[connected(5)]);
    assert!(bench.sent[0].body.contains("DISCONNECT"));
    assert_eq!(bench.sent[0].thread, bus_thread(3));
    assert_eq!(bench.destinations(), [(Recipient::Worker("worker:2".into()), 1)]);
    assert_eq!(bench.counters.strays, 1);
}

#[test]
fn a_client_that_closes_while_draining_is_no_loss_of_ours() {
    let mut bench = busy();
    bench.drain();
    bench.peer_closes();
    bench.wait(secs(10));
    assert_eq!(bench.session.cause(), Some(Cause::Client));
    assert_eq!((bench.counters.client_gone, bench.counters.lost_replies), (2, 0));
}

#[test]
fn an_answer_that_a_vanished_client_never_read_is_no_loss_of_ours() {
    let mut bench = Bench::new();
    bench.stops_reading();
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    bench.feed(Input::Ended(Cause::Reset));
    assert_eq!((bench.counters.client_gone, bench.counters.answered), (1, 0));
    assert_eq!(bench.counters.lost_replies, 0);
}

#[test]
fn a_lost_bus_is_told_to_everyone_who_waits_for_it() {
    let mut bench = busy();
    bench.feed(Input::Upstream(FromBus::Lost));
    assert_eq!(
        bench.statuses(),
        [
            said("plain", 1, 504),
            said("open", 2, 504),
            said("open", 0, 408),
            said("opening", 5, 504),
            said("opening", 6, 503)
        ]
    );
    assert!(bench.outcomes().iter().all(|(_, outcome)| *outcome == Outcome::BusLost));
    assert_eq!((bench.counters.bus_lost, bench.counters.rejected), (2, 1));
    assert_eq!((bench.counters.sessions, bench.sent.len()), (0, 0), "there is no bus to tell");
    assert_eq!(bench.session.phase(), Phase::Open);
}

#[test]
fn an_envelope_of_unknown_fate_ends_its_session_and_nothing_else() {
    let mut bench = busy();
    bench.say("open", &[request(3)]);
    let envelope = bench.sent.pop().expect("a request for the worker");
    bench.sent.clear();
    bench.feed(Input::Upstream(FromBus::Uncertain(envelope.clone())));
    assert_eq!(
        bench.statuses(),
        [said("open", 2, 504), said("open", 3, 504), said("open", 0, 408)]
    );
    assert_eq!((bench.counters.bus_lost, bench.counters.pending), (2, 1));
    assert_eq!(bench.counters.sessions, 1, "the one that is being opened");
    assert!(bench.sent[0].body.contains("DISCONNECT"), "the worker may be there");
    assert_eq!(bench.destinations(), [(Recipient::Worker(WORKER.into()), 1)]);
    // What the worker answers after all is not told: the client has been answered.
    bench.answer(2, &[complete(2)]);
    assert_eq!((bench.replies.len(), bench.counters.strays), (0, 1));
    bench.feed(Input::Upstream(FromBus::Uncertain(envelope)));
    assert!(bench.replies.is_empty() && bench.sent.is_empty(), "said once");
    bench.say("open", &[connect(4)]);
    assert_eq!(bench.counters.sessions, 2, "the thread begins afresh");
}

#[test]
fn while_the_bus_is_gone_new_requests_are_refused() {
    let mut bench = Bench::new();
    bench.feed(Input::Upstream(FromBus::Lost));
    bench.say("t", &[request(1)]);
    bench.say("t", &[connect(2)]);
    assert_eq!(bench.statuses(), [said("t", 1, 503), said("t", 2, 503)]);
    assert!(bench.sent.is_empty());
    bench.feed(Input::Upstream(FromBus::Restored));
    bench.say("t", &[request(3)]);
    assert_eq!(bench.counters.executed, 1);
}

#[test]
fn a_drain_goes_on_without_the_bus() {
    let mut bench = busy();
    bench.drain();
    bench.feed(Input::Upstream(FromBus::Lost));
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
    bench.feed(Input::Upstream(FromBus::Lost));
    bench.feed(Input::Upstream(FromBus::Restored));
    assert_eq!(bench.session.phase(), Phase::Closing);
}

#[test]
fn a_request_that_the_bus_did_not_take_was_never_executed() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1), request(2)]);
    bench.say("u", &[request(3)]);
    assert_eq!(bench.counters.executed, 3);
    let envelope = bench.sent.remove(0);
    bench.feed(Input::Upstream(FromBus::Refused(envelope, not_taken())));
    assert_eq!(bench.statuses(), [said("t", 1, 503), said("t", 2, 503)]);
    assert_eq!((bench.counters.executed, bench.counters.rejected), (1, 2));
    assert_eq!((bench.counters.pending, bench.counters.received), (1, 3));
}

#[test]
fn a_connect_that_the_bus_did_not_take_refuses_what_waits_for_it() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0), request(1)]);
    bench.say("t", &[request(2)]);
    let envelope = bench.sent.remove(0);
    bench.feed(Input::Upstream(FromBus::Refused(envelope, not_taken())));
    assert_eq!(bench.statuses(), [said("t", 0, 503), said("t", 1, 503), said("t", 2, 503)]);
    assert!(bench.session.ledger().is_empty());
    assert_eq!((bench.counters.executed, bench.counters.rejected), (0, 2));
    bench.say("t", &[connect(3)]);
    assert_eq!(bench.session.ledger().sessions(), 1, "the thread begins afresh");
}

#[test]
fn a_request_refused_within_a_session_leaves_the_session() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.say("t", &[request(1)]);
    let envelope = bench.sent.remove(1);
    bench.feed(Input::Upstream(FromBus::Refused(envelope, not_taken())));
    assert_eq!(bench.statuses()[1..], [said("t", 1, 503)]);
    assert_eq!(bench.session.ledger().sessions(), 1);
    bench.say("t", &[disconnect(2)]);
    let envelope = bench.sent.remove(1);
    bench.feed(Input::Upstream(FromBus::Refused(envelope, not_taken())));
    assert!(bench.session.ledger().is_empty() && bench.replies.is_empty());
}

#[test]
fn an_envelope_refused_after_its_request_was_settled_changes_nothing() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.feed(Input::hurry(bench.now));
    let envelope = bench.sent.remove(0);
    bench.feed(Input::Upstream(FromBus::Refused(envelope, not_taken())));
    assert_eq!((bench.counters.executed, bench.counters.cut_off), (1, 1));
}

#[test]
fn a_request_that_is_too_large_for_the_bus_is_told_so_and_not_to_come_again() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    let envelope = bench.sent.remove(0);
    bench.feed(Input::Upstream(FromBus::Refused(
        envelope,
        Refusal::TooLarge { size: 300_000, limit: 262_144 },
    )));
    let frame = bench.replies[0].clone();
    assert!(frame.contains("it has 300000 bytes there, the limit is 262144"), "{frame}");
    assert_eq!(bench.statuses(), [said("t", 1, 413)]);
    assert_eq!((bench.counters.executed, bench.counters.rejected), (0, 1));
}

/// How a frame ends whose envelope came back.
const MARK: &str = "],\"transport_error\":true}";

/// The envelope of this conversation comes back.
fn bounce(bench: &mut Bench, number: u64) {
    let reason = "service-unavailable".to_owned();
    bench.feed(Input::Upstream(FromBus::Bounced(Bounce { thread: bus_thread(number), reason })));
}

#[test]
fn what_comes_back_from_a_service_that_nobody_serves_was_never_executed() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1), request(2)]);
    bench.say("u", &[connect(3), request(4)]);
    bench.say("u", &[request(5)]);
    bounce(&mut bench, 1);
    bounce(&mut bench, 2);
    let frames = bench.replies.clone();
    assert_eq!(frames.len(), 2, "one frame for an envelope");
    assert!(frames.iter().all(|frame| frame.ends_with(MARK)), "{frames:?}");
    let codes = [("t", 1), ("t", 2), ("u", 3), ("u", 4), ("u", 5)];
    assert_eq!(bench.statuses(), codes.map(|(thread, trace)| said(thread, trace, 404)));
    assert!(bench.session.ledger().is_empty());
    bench.flush();
    assert_eq!((bench.counters.answered, bench.counters.rejected), (3, 1));
}

#[test]
fn a_worker_that_is_gone_ends_its_session_and_the_thread_begins_afresh() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.say("t", &[request(1)]);
    bench.take_replies();
    bounce(&mut bench, 1);
    assert!(bench.replies[0].ends_with(MARK));
    assert_eq!(bench.statuses(), [said("t", 1, 504), said("t", 0, 408)]);
    assert_eq!((bench.counters.service_gone, bench.counters.sessions), (1, 0));
    bounce(&mut bench, 1);
    assert_eq!(bench.replies.len(), 0, "its DISCONNECT may come back, too");
    bench.sent.clear();
    bench.say("t", &[request(2)]);
    let afresh = Recipient::Service("opensrf.math".to_owned());
    assert_eq!(bench.destinations(), [(afresh, 1)], "not to the worker");
}
