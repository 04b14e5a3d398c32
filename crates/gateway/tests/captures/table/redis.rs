//! Scenarios captured from OpenSRF over Redis, behind websocketd.

use super::{Row, Setting, better, not_applicable, same};
use crate::expect::{
    all_described, connected, described, echoed, error, error_without_thread, method_error,
    never_executed, ok, on, service_error, time, timed_out,
};

/// What `opensrf.math` lists.
pub(super) const MATH: [&str; 10] = [
    "add",
    "sub",
    "mult",
    "div",
    "opensrf.system.method",
    "opensrf.system.method.atomic",
    "opensrf.system.method.all",
    "opensrf.system.method.all.atomic",
    "opensrf.system.echo",
    "opensrf.system.echo.atomic",
];

/// What our own `opensrf.simple-text` lists. The one in Perl has `statistics` too.
pub(super) const SIMPLE_TEXT: [&str; 11] = [
    "opensrf.simple-text.reverse",
    "opensrf.simple-text.split",
    "opensrf.simple-text.split.atomic",
    "opensrf.simple-text.substring",
    "opensrf.system.method",
    "opensrf.system.method.atomic",
    "opensrf.system.method.all",
    "opensrf.system.method.all.atomic",
    "opensrf.system.echo",
    "opensrf.system.echo.atomic",
    "opensrf.system.time",
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = bad_input();
    rows.extend(answers());
    rows.extend(sessions());
    rows.extend(json_fidelity());
    rows
}

fn bad_input() -> Vec<Row> {
    vec![
        better(
            "redis/bad_deep_nesting",
            "crashed: nesting is bounded, and the request after it is answered",
        )
        .instead(1, error_without_thread("too_deep"))
        .instead(2, ok(1, "2")),
        better("redis/bad_empty_osrf_msg", "silent: the client is told that there is no message")
            .instead(1, error("no_messages")),
        better("redis/bad_long_service", "written out of bounds, crashed: such names are refused")
            .instead(1, service_error(1, 400))
            .instead(2, service_error(1, 400))
            .instead(3, ok(1, "2")),
        better("redis/bad_no_method", "silent: the request's own thread and trace get a 400")
            .instead(1, method_error(1, 400)),
        better("redis/bad_no_osrf_msg", "crashed: the client is told that there is no message")
            .instead(1, error("no_messages")),
        better(
            "redis/bad_null_msg",
            "crashed: the conversation is told, the next request answered",
        )
        .instead(1, error("bad_message"))
        .instead(2, ok(1, "2")),
        better(
            "redis/bad_object_osrf_msg",
            "crashed: the conversation is told, the next request answered",
        )
        .instead(1, error("no_messages"))
        .instead(2, ok(1, "2")),
        better("redis/bad_string_osrf_msg", "silent: the conversation is told")
            .instead(1, error("no_messages")),
        better(
            "redis/bad_types",
            "silent where service and thread are no text: the client is told; a \
             number is taken as its text, as captured",
        )
        .instead(2, error_without_thread("bad_thread")),
        better(
            "redis/bad_unclassed_msg",
            "crashed: the conversation is told, the next request answered",
        )
        .instead(1, error("bad_message"))
        .instead(2, ok(1, "2")),
        better("redis/binary_frame", "ignored: a binary frame that holds UTF-8 is taken as text")
            .instead(1, ok(1, "3")),
        better("redis/frame_too_big_wsd05", "closed with 1009: messages may have 10 MiB")
            .instead(1, echoed(1))
            .over_xmpp(1, method_error(1, 413)),
        better("redis/invalid_json", "silent: each of the frames is told what is wrong with it")
            .instead(1, error_without_thread("invalid_json"))
            .instead(2, error_without_thread("invalid_json"))
            .instead(3, error_without_thread("invalid_json"))
            .instead(4, error_without_thread("invalid_json"))
            .instead(5, error_without_thread("not_a_wrapper"))
            .instead(6, error_without_thread("not_a_wrapper"))
            .instead(7, error_without_thread("not_a_wrapper")),
        better(
            "redis/log_xid",
            "silent on an id of 65 bytes: it is replaced, the request answered",
        )
        .instead(2, ok(1, "3")),
        better(
            "redis/message_too_big",
            "crashed: over 10 MiB the client is told, and stays connected",
        )
        .instead(2, error_without_thread("message_too_big"))
        .instead(3, ok(1, "2"))
        .over_xmpp(1, method_error(1, 413)),
        better("redis/missing_service", "silent: the request's own thread and trace get a 400")
            .instead(1, service_error(1, 400)),
        better(
            "redis/missing_thread",
            "a Perl worker died of the empty thread: on the bus each message has one",
        )
        .instead(2, ok(1, "\"cba\"")),
        same("redis/odd_params", "absent params go out as null, and the service answers"),
        better(
            "redis/odd_service_names",
            "a name with a colon reached another service, an empty one was met with \
             silence: all of these are refused by the gateway",
        )
        .instead(1, service_error(1, 400))
        .instead(2, service_error(1, 400))
        .instead(3, service_error(1, 400))
        .instead(4, service_error(1, 400))
        .instead(5, service_error(1, 400))
        .instead(6, service_error(1, 400)),
        better(
            "redis/pretty_printed_json",
            "a line break cut a message up: it is white space; two messages in one \
             frame are not JSON, and the client is told",
        )
        .instead(1, ok(1, "3"))
        .instead(2, error_without_thread("invalid_json")),
        better(
            "redis/router_class_list",
            "any client could list the services: the router is not for clients",
        )
        .instead(1, service_error(1, 400)),
        better("redis/thread_too_long", "silent: a thread may have 256 bytes of any text")
            .instead(1, ok(1, "3")),
        better(
            "redis/unexpected_type",
            "a STATUS was met with silence, anything else opened a session: each \
             gets a 400",
        )
        .instead(1, method_error(1, 400))
        .instead(2, method_error(1, 400))
        .instead(3, method_error(1, 400)),
    ]
}

fn answers() -> Vec<Row> {
    vec![
        same("redis/bundled_c", "bundles of at most 25,600 bytes"),
        same("redis/bundled_perl", "the same results; our own service bundles as C does"),
        same("redis/chunked_c", "a large result is cut into chunks"),
        same("redis/chunked_perl", "the same of a service that was in Perl"),
        same("redis/chunked_utf8_c", "chunks of text that JSON and XML must escape"),
        same("redis/chunked_utf8_perl", "the same of a service that was in Perl"),
        same(
            "redis/close_in_flight",
            "the client goes: nobody is left to answer; the ledger says so",
        ),
        same("redis/connect_disconnect", "nothing is asked, Close is answered"),
        same("redis/echo_c", "a result for each param, in one frame"),
        same("redis/echo_perl", "a result for each param"),
        better("redis/large_request_c_lost", "lost on its way to a C worker: answered, in chunks")
            .instead(1, echoed(1)),
        same("redis/locale_tz_ingress", "the worker repeats the client's locale"),
        same("redis/method_all_c", "the same methods in the same order; their notes are our own")
            .own(1, described(1, &MATH))
            .own(2, all_described(1, &MATH)),
        same(
            "redis/method_all_perl",
            "as C describes methods, since our own services are in its style",
        )
        .own(1, described(1, &SIMPLE_TEXT)),
        same("redis/method_not_found_c", "404 of the service"),
        same("redis/method_not_found_perl", "404 of the service, which names itself otherwise")
            .own(1, method_error(1, 404)),
        same("redis/pipelined_two_threads", "both answered"),
        not_applicable(
            "redis/register_unregister",
            "services come and go on the bus; no client takes part",
        ),
        same("redis/same_thread_two_sockets", "each socket gets its own answer"),
        better(
            "redis/service_not_found",
            "the router always says trace 1: request 7's 404 carries 7",
        )
        .instead(1, service_error(7, 404)),
        same("redis/service_private", "not among the services of this bus either"),
        same(
            "redis/slow_then_fast",
            "the fast one need not wait, which its conversation cannot tell",
        ),
        same("redis/stateless_add", "the plainest case"),
        same("redis/stateless_perl", "the plainest case of a service that was in Perl"),
        same("redis/stream_perl", "a row of results, and all of them as one"),
        same("redis/system_time", "of a service that was in Perl; a C service has none")
            .own(1, time(1)),
        same("redis/two_requests_one_array", "each answered in a frame of its own"),
    ]
}

fn sessions() -> Vec<Row> {
    vec![
        same(
            "redis/connect_disconnect_no_request",
            "a session without a request leaves nothing behind",
        ),
        same("redis/connect_request_bundled", "CONNECT and REQUEST in one array go to one worker"),
        better(
            "redis/connect_service_not_found",
            "the router always says trace 1: the CONNECT's own is 0",
        )
        .instead(1, service_error(0, 404)),
        same("redis/disconnect_unknown", "there is nothing to disconnect, and no answer"),
        many_sessions(),
        better(
            "redis/request_after_disconnect",
            "silent without a service: the request gets a 400",
        )
        .instead(5, service_error(4, 400)),
        better(
            "redis/request_to_dead_worker",
            "the 408 was told only when it was too late: it is told at once, and \
             the request after it gets a 400",
        )
        .on(Setting::Idle)
        .then(1, timed_out())
        .instead(2, service_error(2, 400)),
        better(
            "redis/session_forgotten_on_404",
            "a 404 for a bad method made the gateway forget the session: the \
             session goes on",
        )
        .instead(3, ok(2, "2")),
        better(
            "redis/session_max_requests",
            "after the 307 requests were lost: the session is over, the next one is \
             answered by another worker",
        )
        .on(Setting::FewRequests)
        .instead(6, ok(9, "[\"0\"]")),
        better(
            "redis/session_timeout",
            "the 408 was told in the place of the next answer: it is told at once, \
             and the next request answered",
        )
        .on(Setting::Idle)
        .then(2, timed_out())
        .instead(3, ok(2, "[\"0\"]")),
        better("redis/session_timeout_c", "the 408 was never told: it is told at once")
            .on(Setting::Idle)
            .then(2, timed_out()),
        same("redis/stateful", "a session with three requests"),
        same("redis/stateful_no_service", "in a session the service need not be named"),
        same("redis/stateful_perl", "a session with a service that was in Perl"),
    ]
}

/// 66 CONNECTs and then their answers; a request each in sessions 64, 65 and 66; all DISCONNECTed.
fn many_sessions() -> Row {
    let opened = (1..=64).flat_map(|frame| on(frame, connected(0)));
    let refused = (65..=66).flat_map(|frame| on(frame, never_executed(0)));
    better(
        "redis/many_sessions",
        "the 65th session was opened and then forgotten: it is refused, so the \
             client knows; DISCONNECTs reach the workers, none times out",
    )
    .instead(66, opened.chain(refused).collect())
    .instead(68, service_error(1, 400))
    .instead(135, Vec::new())
}

/// One value a frame, given to a service that echoes it.
fn json_fidelity() -> Vec<Row> {
    let c = better(
        "redis/json_fidelity_c",
        "sloppy JSON was mended or met with silence, class hints rewritten: \
             what is no JSON is refused with words, what is passes byte for byte",
    );
    let perl = better(
        "redis/json_fidelity_perl",
        "numbers lost their digits, sloppy JSON killed workers: what is no JSON \
             is refused with words, what is passes byte for byte",
    )
    .instead(1, ok(1, "1.0"))
    .instead(2, ok(1, "1e5"))
    .instead(3, ok(1, "1E+5"))
    .instead(4, ok(1, "1.5e-3"))
    .instead(5, ok(1, "-0.0"))
    .instead(12, ok(1, "3.141592653589793238"))
    .instead(32, ok(1, r#"{"__c":"strclass","__p":"s"}"#));
    [c, perl].into_iter().map(with_json_as_it_is).collect()
}

fn with_json_as_it_is(row: Row) -> Row {
    // +5 .5 5. 012 1e400, a lone surrogate, \x, \', a trailing comma, a bare \t, single quotes,
    // tru, NaN, a comment.
    let no_json = [7, 8, 9, 10, 13, 16, 23, 38, 41, 42, 43, 44, 45, 46];
    let row = no_json
        .into_iter()
        .fold(row, |row, frame| row.instead(frame, error_without_thread("invalid_json")));
    row.instead(22, error_without_thread("nul_character"))
        .instead(29, error_without_thread("duplicate_key"))
        .instead(33, ok(1, r#"{"__c":"nopayload"}"#))
        .instead(35, ok(1, r#"{"__c":5,"__p":[1]}"#))
        .instead(36, ok(1, r#"{"__c":"x","__p":{"__c":"y","__p":[1]}}"#))
        .instead(37, ok(1, r#"{"__c":"x","__p":[1],"extra":1}"#))
}
