//! What is pending, and what settles it: keyed by thread and trace, for each request by itself.

use slackwater_core::event::{Event, Outcome};
use slackwater_core::osrf::envelope::Recipient;

use crate::bench::{Bench, said};
use crate::words::{
    ROUTER, SERVICE, backlog, bus_thread, complete, connect, connected, disconnect, ms,
    no_such_method, no_such_service, request, result, secs, status,
};

#[test]
fn one_answer_of_two_on_one_thread_does_not_close() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.say("t", &[request(2)]);
    bench.drain();
    bench.answer(1, &[result(1), complete(1)]);
    bench.wait(secs(60));
    assert_eq!((bench.close, bench.pings.len()), (None, 0));
    assert_eq!(bench.statuses(), [said("t", 1, 205)]);

    bench.answer(2, &[result(2), complete(2)]);
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
    assert_eq!(bench.statuses(), [said("t", 2, 205)]);
    assert_eq!((bench.counters.answered, bench.counters.lost_replies), (2, 0));
}

#[test]
fn one_answer_of_two_in_one_array_does_not_close() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1), request(2)]);
    assert_eq!(bench.destinations(), [(Recipient::Service(SERVICE.into()), 2)]);
    bench.drain();
    bench.answer(1, &[complete(2)]);
    bench.wait(secs(60));
    assert_eq!(bench.close, None);
    bench.answer(1, &[complete(1)]);
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn pipelined_requests_of_a_session_settle_one_by_one() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.say("t", &[request(1)]);
    bench.say("t", &[request(2)]);
    bench.drain();
    bench.answer(1, &[complete(1)]);
    bench.say("t", &[disconnect(3)]);
    bench.wait(secs(60));
    assert_eq!((bench.close, bench.session.ledger().pending()), (None, 1));
    bench.answer(1, &[complete(2)]);
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn a_result_or_a_part_of_one_settles_nothing() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    let chunk = status(1, "osrfResultPartial", 206, "Partial Response");
    let end = status(1, "osrfResultPartialComplete", 204, "Partial Response Finalized");
    bench.answer(1, &[result(1), chunk, end, status(1, "osrfStatus", 100, "Continue")]);
    assert_eq!(bench.session.ledger().pending(), 1);
    bench.answer(1, &[complete(1)]);
    assert_eq!(bench.outcomes(), [(1, Outcome::Complete)]);
}

#[test]
fn a_complete_for_another_trace_settles_nothing() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1), request(2)]);
    bench.answer(1, &[complete(3)]);
    assert_eq!(bench.session.ledger().pending(), 2);
    bench.answer(1, &[complete(2)]);
    bench.answer(1, &[complete(2)]);
    assert_eq!(bench.session.ledger().pending(), 1, "an answer twice settles one request");
}

#[test]
fn the_same_thread_and_trace_twice_are_two_requests() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.say("t", &[request(1), request(1)]);
    assert_ne!(bench.sent[0].thread, bench.sent[1].thread);
    bench.answer(2, &[complete(1)]);
    assert_eq!(bench.session.ledger().pending(), 2);
    bench.answer(1, &[complete(1)]);
    bench.answer(2, &[complete(1)]);
    assert!(bench.session.ledger().is_empty());
}

#[test]
fn an_error_status_is_a_final_answer() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1), request(2)]);
    bench.answer(1, &[no_such_method(1)]);
    assert_eq!(bench.outcomes(), [(1, Outcome::ErrorStatus)]);
    assert_eq!(bench.statuses(), [said("t", 1, 404)]);
    assert_eq!(bench.session.ledger().pending(), 1);
}

#[test]
fn a_routers_error_gets_the_trace_of_the_request_it_answers() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.text(r#"{"service":"no.such","thread":"t","osrf_msg":["#.to_owned() + &request(2) + "]}");
    bench.answer_from(ROUTER, 2, &[no_such_service()]);
    assert_eq!(bench.statuses(), [said("t", 2, 404)]);
    bench.answer(1, &[result(1), complete(1)]);
    assert_eq!(bench.statuses(), [said("t", 1, 205)]);
    assert_eq!(bench.outcomes(), [(2, Outcome::Refused), (1, Outcome::Complete)]);
}

#[test]
fn a_refused_envelope_answers_every_request_in_it() {
    for refusal in [no_such_service(), backlog()] {
        let mut bench = Bench::new();
        bench.say("t", &[request(5), request(1), request(7)]);
        bench.answer_from(ROUTER, 1, &[refusal]);
        let traces: Vec<u32> = bench.statuses().iter().map(|(_, trace, _)| *trace).collect();
        assert_eq!(traces, [5, 1, 7]);
        assert!(bench.session.ledger().is_empty());
        assert_eq!(bench.counters.answered, 3);
    }
}

#[test]
fn a_late_answer_is_dropped_and_counted() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.answer(1, &[complete(1)]);
    bench.take_replies();
    bench.answer(1, &[result(1)]);
    bench.answer(9, &[complete(1)]);
    bench.envelope("x", "0.12345".to_owned(), "[]");
    let other = bus_thread(1).replace('7', "8");
    bench.envelope("x", other, &format!("[{}]", complete(1)));
    assert_eq!((bench.counters.strays, bench.take_replies().len()), (4, 0));
}

#[test]
fn an_answer_is_owed_until_it_has_reached_the_kernel() {
    let mut bench = Bench::new();
    bench.stops_reading();
    bench.say("t", &[request(1)]);
    bench.drain();
    bench.answer(1, &[complete(1)]);
    bench.wait(secs(20));
    assert_eq!((bench.close, bench.counters.pending, bench.counters.answered), (None, 1, 0));
    bench.flush();
    assert_eq!((bench.counters.pending, bench.counters.answered), (0, 1));
    bench.confirm_slack_water();
    assert_eq!(bench.close, Some((1012, "drained")));
}

#[test]
fn how_long_a_request_took_is_told() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.wait(ms(1_234));
    bench.answer(1, &[complete(1)]);
    let told = bench.events.iter().find_map(|event| {
        let Event::Settled { took, thread, method, service, .. } = event else { return None };
        Some((*took, thread.as_str(), method.as_str(), service.as_str()))
    });
    assert_eq!(told, Some((ms(1_234), "t", "add", SERVICE)));
}
