//! What a client may send: bad messages are answered and hurt no other, and every bound answers
//! with 503.

use slackwater_core::osrf::envelope::Recipient;
use slackwater_core::session::{Input, Message};

use crate::bench::{Bench, said};
use crate::words::{
    SERVICE, bad_request, complete, connect, connected, disconnect, request, request_of, wrapper,
};

#[test]
fn a_text_that_cannot_be_read_is_answered_with_where_it_breaks() {
    let mut bench = Bench::new();
    bench.text(r#"{"service":oops}"#);
    let error = &bench.take_replies()[0];
    assert_eq!(error["transport_error"], true);
    assert_eq!(
        (&error["error"]["code"], &error["error"]["offset"]),
        (&"invalid_json".into(), &11.into())
    );
    assert_eq!((bench.counters.invalid, bench.counters.received), (1, 0));
}

#[test]
fn a_frame_that_is_no_text_is_answered() {
    let mut bench = Bench::new();
    bench.feed(Input::Message(Message::Binary(vec![0xff])));
    let error = &bench.take_replies()[0];
    assert_eq!(error["error"]["code"], "not_utf8");
}

#[test]
fn a_bad_message_in_an_array_hurts_no_other() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1), "null".into(), bad_request(2), request(3)]);
    assert_eq!(bench.destinations(), [(Recipient::Service(SERVICE.into()), 2)]);
    assert_eq!(bench.take_replies().len(), 2);
    assert_eq!((bench.counters.received, bench.counters.executed), (3, 2));
    assert_eq!((bench.counters.rejected, bench.counters.invalid), (1, 1));
}

#[test]
fn a_bad_request_is_answered_for_its_own_trace() {
    let mut bench = Bench::new();
    bench.say("t", &[bad_request(2)]);
    assert_eq!(bench.statuses(), [said("t", 2, 400)]);
    let no_trace = request(1).replace(r#""threadTrace":"1""#, r#""threadTrace":1.5"#);
    bench.say("t", &[no_trace]);
    let error = &bench.take_replies()[0];
    assert_eq!((&error["thread"], &error["transport_error"]), (&"t".into(), &true.into()));
    assert_eq!((bench.counters.received, bench.counters.rejected), (2, 2));
}

#[test]
fn no_odd_service_is_asked() {
    let mut bench = Bench::new();
    for service in ["router", "a b", "opensrf.math:x", ""] {
        bench.text(wrapper(Some(service), "t", &[connect(0), request(1)]));
        assert_eq!(bench.statuses(), [said("t", 0, 400), said("t", 1, 400)], "{service}");
    }
    bench.text(wrapper(None, "t", &[request(1)]));
    assert_eq!(bench.statuses(), [said("t", 1, 400)]);
    assert!(bench.sent.is_empty());
}

#[test]
fn requests_beyond_the_bound_are_refused() {
    let mut bench = Bench::with(|config| config.max_requests_in_flight = 3);
    bench.say("s", &[connect(0)]);
    bench.say("s", &[request(1)]);
    bench.say("t", &[request(1), request(2)]);
    bench.say("t", &[request(3)]);
    bench.say("s", &[request(4)]);
    assert_eq!(bench.statuses(), [said("t", 3, 503), said("s", 4, 503)]);
    bench.answer(2, &[complete(1)]);
    bench.say("t", &[request(5)]);
    assert_eq!(bench.statuses(), [said("t", 1, 205)]);
    assert_eq!((bench.counters.executed, bench.counters.held, bench.counters.rejected), (3, 1, 2));
}

#[test]
fn an_array_is_refused_as_a_whole_at_the_bound() {
    let mut bench = Bench::with(|config| config.max_requests_in_flight = 2);
    bench.say("t", &[request(1), request(2), request(3)]);
    assert_eq!(bench.statuses(), [said("t", 1, 503), said("t", 2, 503), said("t", 3, 503)]);
    assert!(bench.sent.is_empty());
}

#[test]
fn sessions_beyond_the_bound_are_refused() {
    let mut bench = Bench::with(|config| config.max_sessions = 2);
    bench.say("a", &[connect(0)]);
    bench.say("b", &[connect(0)]);
    bench.say("c", &[connect(0), request(1)]);
    assert_eq!(bench.statuses(), [said("c", 0, 503), said("c", 1, 503)]);
    bench.answer(1, &[connected(0)]);
    bench.say("a", &[disconnect(1)]);
    bench.say("c", &[connect(0)]);
    assert_eq!(bench.statuses(), [said("a", 0, 200)]);
    assert_eq!(bench.counters.sessions, 2);
}

#[test]
fn held_bytes_are_bounded() {
    let mut bench = Bench::with(|config| config.max_held_bytes = 10_000);
    bench.say("s", &[connect(0)]);
    bench.say("s", &[request_of(1, 6_000)]);
    bench.say("s", &[request_of(2, 6_000)]);
    assert_eq!(bench.statuses(), [said("s", 2, 503)]);
    assert!(bench.session.ledger().held_bytes() <= 10_000);
}

#[test]
fn the_bound_on_held_bytes_is_for_what_is_held() {
    let mut bench = Bench::with(|config| config.max_held_bytes = 10_000);
    bench.say("s", &[connect(0)]);
    bench.say("s", &[request_of(1, 9_000)]);
    bench.say("t", &[request_of(1, 50_000)]);
    assert_eq!(bench.counters.executed, 1);
}

#[test]
fn a_session_can_be_left_whatever_the_bounds_are() {
    let mut bench = Bench::with(|config| config.max_requests_in_flight = 1);
    bench.say("s", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    bench.say("t", &[request(1)]);
    bench.say("s", &[request(1), disconnect(2)]);
    assert_eq!(bench.statuses(), [said("s", 0, 200), said("s", 1, 503)]);
    assert_eq!(bench.counters.sessions, 0);
    assert_eq!(bench.destinations().len(), 3, "CONNECT, REQUEST, DISCONNECT");
}
