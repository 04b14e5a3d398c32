//! Stateful sessions: a session holds its thread, its worker and the drain from CONNECT to its
//! end, however that comes.

use slackwater_core::event::Outcome;
use slackwater_core::osrf::envelope::Recipient;

use crate::bench::{Bench, said};
use crate::words::{
    ROUTER, SERVICE, WORKER, complete, connect, connected, disconnect, max_requests, ms,
    no_such_method, no_such_service, request, result, secs, timed_out,
};

fn service() -> Recipient {
    Recipient::Service(SERVICE.to_owned())
}

fn worker() -> Recipient {
    Recipient::Worker(WORKER.to_owned())
}

/// A bench with an open session on thread `t`, nothing left to look at.
fn in_session() -> Bench {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    assert_eq!(bench.destinations(), [(service(), 1)]);
    assert_eq!(bench.statuses(), [said("t", 0, 200)]);
    bench
}

#[test]
fn an_idle_open_session_holds_the_drain_until_its_disconnect() {
    let mut bench = in_session();
    bench.drain();
    bench.wait(secs(60));
    assert_eq!((bench.close, bench.pings.len()), (None, 0));
    bench.say_bare("t", &[disconnect(1)]);
    assert_eq!(bench.destinations(), [(worker(), 1)]);
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn an_idle_open_session_holds_the_drain_until_its_worker_leaves() {
    for end in [timed_out(), max_requests(0)] {
        let mut bench = in_session();
        bench.drain();
        bench.wait(secs(60));
        assert_eq!(bench.close, None);
        bench.answer(1, &[end]);
        assert_eq!(bench.session.ledger().sessions(), 0);
        bench.confirm_slack_water();
        assert_eq!(bench.close, Some((1012, "drained")));
        assert!(bench.sent.is_empty(), "the worker has gone: nobody to tell");
    }
}

#[test]
fn an_unanswered_connect_holds_the_drain() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.drain();
    bench.wait(secs(60));
    assert_eq!((bench.close, bench.pings.len()), (None, 0));
}

#[test]
fn connect_and_disconnect_without_a_request_leave_nothing_pending() {
    let mut bench = in_session();
    bench.say("t", &[disconnect(1)]);
    assert!(bench.session.ledger().is_empty());
    bench.drain();
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn a_disconnect_behind_an_unanswered_connect_waits_and_then_goes() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.say("t", &[disconnect(1)]);
    assert_eq!(bench.destinations(), [(service(), 1)]);
    bench.answer(1, &[connected(0)]);
    assert_eq!(bench.destinations(), [(worker(), 1)]);
    assert!(bench.session.ledger().is_empty());
}

#[test]
fn a_request_behind_an_unanswered_connect_waits_and_goes_to_that_worker_in_order() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.say("t", &[request(1)]);
    bench.say_bare("t", &[request(2), request(3)]);
    assert_eq!(bench.destinations(), [(service(), 1)]);
    assert_eq!((bench.counters.held, bench.counters.executed), (3, 0));
    bench.answer(1, &[connected(0)]);
    assert_eq!(bench.destinations(), [(worker(), 1), (worker(), 2)]);
    assert_eq!((bench.counters.held, bench.counters.executed), (0, 3));
    bench.answer(1, &[complete(1), complete(2), complete(3)]);
    assert_eq!(bench.session.ledger().sessions(), 1);
    assert_eq!(bench.session.ledger().pending(), 0);
}

#[test]
fn the_whole_of_a_session_may_be_said_before_its_connect_is_answered() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.say("t", &[request(1)]);
    bench.say("t", &[disconnect(2)]);
    bench.say("t", &[request(3)]);
    assert_eq!(bench.destinations(), [(service(), 1), (service(), 1)], "3 is not of the session");
    bench.answer(1, &[connected(0)]);
    assert_eq!(bench.destinations(), [(worker(), 1), (worker(), 1)]);
    bench.answer(1, &[complete(1)]);
    bench.answer(2, &[complete(3)]);
    assert!(bench.session.ledger().is_empty());
    assert_eq!(bench.statuses(), [said("t", 0, 200), said("t", 1, 205), said("t", 3, 205)]);
}

#[test]
fn what_waits_for_a_connect_gets_its_refusal_with_its_own_trace() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.say("t", &[request(2)]);
    bench.say("t", &[request(3)]);
    bench.answer_from(ROUTER, 1, &[no_such_service()]);
    assert_eq!(bench.statuses(), [said("t", 0, 404), said("t", 2, 404), said("t", 3, 404)]);
    assert!(bench.session.ledger().is_empty());
    assert_eq!((bench.counters.executed, bench.counters.rejected), (0, 2));
    assert_eq!(bench.destinations(), [(service(), 1)], "what was held never reaches the bus");
}

#[test]
fn a_connect_refused_by_a_worker_refuses_what_waits_for_it() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(4)]);
    bench.say("t", &[request(5)]);
    bench.answer(1, &[no_such_method(4)]);
    assert_eq!(bench.statuses(), [said("t", 4, 404), said("t", 5, 404)]);
    assert!(bench.session.ledger().is_empty());
}

#[test]
fn connect_request_and_disconnect_in_one_array_go_out_as_one() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0), request(1), disconnect(2)]);
    assert_eq!(bench.destinations(), [(service(), 3)]);
    bench.drain();
    bench.wait(secs(60));
    assert_eq!(bench.close, None);
    bench.answer(1, &[connected(0)]);
    bench.wait(secs(10));
    assert_eq!((bench.close, bench.session.ledger().sessions()), (None, 0));
    bench.answer(1, &[complete(1)]);
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
    assert!(bench.sent.is_empty());
}

#[test]
fn what_follows_a_disconnect_in_one_array_begins_afresh() {
    let mut bench = in_session();
    bench.say("t", &[request(1), disconnect(2), request(3)]);
    assert_eq!(bench.destinations(), [(worker(), 2), (service(), 1)]);
    bench.answer(1, &[complete(1)]);
    assert_eq!(bench.session.ledger().pending(), 1);
}

#[test]
fn a_connect_refused_with_its_requests_answers_each_of_them() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0), request(1), request(2)]);
    bench.answer_from(ROUTER, 1, &[no_such_service()]);
    assert_eq!(bench.statuses(), [said("t", 0, 404), said("t", 1, 404), said("t", 2, 404)]);
    assert_eq!(bench.outcomes(), [(1, Outcome::Refused), (2, Outcome::Refused)]);
    assert!(bench.session.ledger().is_empty());
}

#[test]
fn a_bad_method_leaves_the_session_open() {
    let mut bench = in_session();
    bench.say("t", &[request(1)]);
    bench.answer(1, &[no_such_method(1)]);
    assert_eq!(bench.session.ledger().sessions(), 1);
    bench.say_bare("t", &[request(2)]);
    assert_eq!(bench.destinations(), [(worker(), 1), (worker(), 1)]);
    bench.drain();
    bench.answer(1, &[complete(2)]);
    bench.wait(secs(60));
    assert_eq!(bench.close, None);
}

#[test]
fn an_error_without_a_request_leaves_the_session_and_its_requests() {
    let mut bench = in_session();
    bench.say("t", &[request(1)]);
    bench.answer(1, &[no_such_method(9)]);
    assert_eq!((bench.session.ledger().sessions(), bench.session.ledger().pending()), (1, 1));
}

#[test]
fn a_request_that_crosses_the_end_of_its_session_was_never_executed() {
    for end in [timed_out(), max_requests(9)] {
        let mut bench = in_session();
        bench.say("t", &[request(2)]);
        bench.answer(1, &[end]);
        assert_eq!(bench.outcomes(), [(2, Outcome::ServiceGone)]);
        assert_eq!(bench.statuses()[1..], [said("t", 2, 503)]);
        assert_eq!(bench.counters.service_gone, 1);
        assert!(bench.session.ledger().is_empty());
    }
}

#[test]
fn the_request_over_the_limit_is_answered_by_the_limit() {
    let mut bench = in_session();
    bench.say("t", &[request(1)]);
    bench.say("t", &[request(2)]);
    bench.answer(1, &[max_requests(1)]);
    assert_eq!(bench.outcomes(), [(1, Outcome::ErrorStatus), (2, Outcome::ServiceGone)]);
    assert_eq!(bench.statuses(), [said("t", 1, 307), said("t", 2, 503)]);
}

#[test]
fn after_the_end_of_a_session_its_thread_begins_afresh() {
    let mut bench = in_session();
    bench.answer(1, &[timed_out()]);
    bench.say("t", &[request(2)]);
    assert_eq!(bench.destinations(), [(service(), 1)]);
    bench.say_bare("t", &[request(3)]);
    assert_eq!(bench.statuses()[1..], [said("t", 3, 400)]);
}

#[test]
fn a_session_that_ends_before_it_is_open_refuses_what_waits() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0), request(1)]);
    bench.say("t", &[request(2)]);
    bench.answer(1, &[timed_out()]);
    assert_eq!(bench.statuses()[1..], [said("t", 2, 503), said("t", 1, 503)]);
    assert_eq!((bench.counters.rejected, bench.counters.service_gone), (1, 1));
    assert!(bench.session.ledger().is_empty());
}

#[test]
fn a_status_408_outside_a_session_is_an_error_like_any_other() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1), request(2)]);
    bench.answer(1, &[crate::words::status(1, "osrfMethodException", 408, "Timeout")]);
    assert_eq!(bench.outcomes(), [(1, Outcome::ErrorStatus)]);
    assert_eq!(bench.session.ledger().pending(), 1);
}

#[test]
fn a_request_without_service_goes_to_the_worker_of_its_session() {
    let mut bench = in_session();
    bench.say_bare("t", &[request(1)]);
    assert_eq!(bench.destinations(), [(worker(), 1)]);
}

#[test]
fn every_conversation_has_a_thread_of_its_own_on_the_bus() {
    let mut bench = in_session();
    bench.say("u", &[request(1)]);
    bench.say("u", &[request(2)]);
    bench.say("t", &[request(3)]);
    let threads: Vec<_> = bench.sent.iter().map(|envelope| envelope.thread.clone()).collect();
    assert_ne!(threads[0], threads[1]);
    assert_eq!(threads[2], crate::words::bus_thread(1), "a session keeps its own");
}

#[test]
fn a_disconnect_with_nothing_to_disconnect_is_dropped() {
    let mut bench = Bench::new();
    bench.say("t", &[disconnect(1)]);
    bench.say_bare("t", &[disconnect(2)]);
    assert!(bench.sent.is_empty() && bench.replies.is_empty());
    assert!(bench.session.ledger().is_empty());
}

#[test]
fn conversations_do_not_wait_for_each_other() {
    let mut bench = Bench::new();
    bench.say("a", &[connect(0)]);
    bench.say("a", &[request(1)]);
    bench.say("b", &[request(1)]);
    bench.say("c", &[connect(0)]);
    bench.answer_from("worker:2", 3, &[connected(0)]);
    bench.say("c", &[request(1)]);
    bench.answer(2, &[result(1), complete(1)]);
    let to_second = (Recipient::Worker("worker:2".to_owned()), 1);
    assert_eq!(bench.destinations()[3..], [to_second]);
    assert_eq!(bench.statuses(), [said("c", 0, 200), said("b", 1, 205)]);
    assert_eq!(bench.session.ledger().held(), 1);
}

#[test]
fn a_second_connect_in_a_session_changes_nothing() {
    let mut bench = in_session();
    bench.say("t", &[connect(1)]);
    assert_eq!(bench.destinations(), [(worker(), 1)]);
    bench.answer_from("worker:2", 1, &[connected(1)]);
    bench.say("t", &[request(2)]);
    assert_eq!(bench.destinations(), [(worker(), 1)]);
    assert_eq!(bench.session.ledger().sessions(), 1);
    bench.wait(ms(1));
}
