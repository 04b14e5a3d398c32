//! Scenarios captured from OpenSRF over XMPP: a client on the stdin and stdout of the gateway
//! process. What was behind it was ejabberd; of `prosody/` Prosody.

use super::redis::{MATH, SIMPLE_TEXT};
use super::{Row, Setting, better, not_applicable, same};
use crate::expect::{
    all_described, connected, described, echoed, error, error_without_thread, method_error,
    never_executed, ok, on, service_error, timed_out,
};

const BY_HAND: &str = "a hand-written XMPP client, without a gateway";
const LOGIN: &str = "the login of the gateway process to the bus; no client takes part";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = bad_input();
    rows.extend(answers());
    rows.extend(sessions());
    rows.extend(signals());
    rows.extend(bus_side());
    rows.extend(prosody());
    rows
}

fn bad_input() -> Vec<Row> {
    vec![
        better(
            "xmpp/bad_input",
            "silent: each frame is told what is wrong; a long thread passes, a long \
             log_xid is replaced",
        )
        .instead(1, error_without_thread("invalid_json"))
        .instead(2, error_without_thread("invalid_json"))
        .instead(3, error_without_thread("no_messages"))
        .instead(4, service_error(1, 400))
        .instead(5, ok(1, "3"))
        .instead(6, ok(1, "3")),
        better("xmpp/escaping_nul", "silent: the client is told")
            .instead(1, error_without_thread("nul_character")),
        better(
            "xmpp/line_over_10mb",
            "crashed: over 10 MiB the client is told, and stays connected",
        )
        .instead(1, error_without_thread("message_too_big"))
        .instead(2, ok(1, "3")),
        better("xmpp/no_osrf_msg", "crashed: the conversation is told")
            .instead(1, error("no_messages")),
        better("xmpp/osrf_msg_empty", "silent: the conversation is told")
            .instead(1, error("no_messages")),
        better(
            "xmpp/osrf_msg_junk",
            "crashed: the conversation is told, the next request answered",
        )
        .instead(1, error("bad_message"))
        .instead(2, ok(1, "3")),
        better("xmpp/osrf_msg_null", "silent: the conversation is told")
            .instead(1, error("no_messages")),
        better(
            "xmpp/osrf_msg_object",
            "crashed: the conversation is told, the next request answered",
        )
        .instead(1, error("no_messages"))
        .instead(2, ok(1, "3")),
        better(
            "xmpp/perl_thread_unescaped",
            "a worker died of `<` in the thread: on the bus a thread is the gateway's own",
        )
        .instead(1, ok(1, "\"cba\"")),
        better(
            "xmpp/perl_xid_injection",
            "an attribute in log_xid sent the answer to somebody else: it is \
             replaced, and the client answered",
        )
        .instead(1, ok(1, "\"cba\"")),
        better("xmpp/request_no_payload", "silent: the request's own thread and trace get a 400")
            .instead(1, method_error(1, 400)),
        better(
            "xmpp/service_named_router",
            "silent: the router is not for clients, and they are told",
        )
        .instead(1, service_error(1, 400)),
        better("xmpp/unknown_type", "an unknown type opened a session: it gets a 400")
            .instead(1, method_error(1, 400)),
    ]
}

fn answers() -> Vec<Row> {
    vec![
        same("xmpp/bad_params_c", "404 of the service"),
        same(
            "xmpp/client_gone_inflight",
            "the client goes: nobody is left to answer; the ledger says so",
        ),
        same("xmpp/disconnect_no_thread", "there is nothing to disconnect, and no answer"),
        better(
            "xmpp/escaping",
            "a log_xid full of markup came back mangled: it is replaced; all else \
             as captured",
        )
        .instead(20, ok(1, "\"odd xid\"")),
        same("xmpp/field_rewriting", "keys that nobody knows do no harm"),
        same("xmpp/introspect_c", "the same methods in the same order; their notes are our own")
            .own(1, described(1, &MATH)),
        same(
            "xmpp/introspect_perl",
            "as C describes methods, since our own services are in its style",
        )
        .own(1, described(1, &SIMPLE_TEXT)),
        same(
            "xmpp/introspect_perl_atomic",
            "as C describes methods, since our own services are in its style",
        )
        .own(1, all_described(1, &SIMPLE_TEXT)),
        same("xmpp/json_values", "every sort of value, and no digit lost"),
        better("xmpp/large_request_c_lost", "lost on its way to a C worker: answered, in chunks")
            .instead(1, echoed(1)),
        same("xmpp/large_response_c", "in chunks"),
        same("xmpp/large_response_c_utf8", "in chunks"),
        same("xmpp/large_response_perl", "in chunks"),
        same("xmpp/large_response_perl_utf8", "in chunks"),
        same("xmpp/no_thread", "an absent thread is the empty one"),
        same("xmpp/numeric_thread", "a number is taken as its text"),
        same(
            "xmpp/perl_exception",
            "500 of the service, whose words are its own; `statistics` is not \
             there, so `reverse` is given an array",
        )
        .asking(1, ("opensrf.simple-text", "opensrf.simple-text.reverse", "[[\"not a text\"]]"))
        .own(1, method_error(1, 500)),
        same("xmpp/pipelined_100", "a hundred at once, each answered"),
        better(
            "xmpp/private_service",
            "the request itself came back: the gateway's client gets a 404 for its trace",
        )
        .instead(2, [on(1, service_error(1, 404)), service_error(1, 404)].concat()),
        better(
            "xmpp/request_over_stanza_limit",
            "the bus ended the stream, the gateway itself: the client is told",
        )
        .instead(1, echoed(1))
        .over_xmpp(1, method_error(1, 413))
        .instead(2, ok(1, "3")),
        same("xmpp/slow_request_perl", "five seconds, then the answer"),
        same("xmpp/slow_then_fast", "the fast one need not wait"),
        same("xmpp/stateless_add", "the plainest case"),
        same("xmpp/stateless_pipelined", "each answered, with the log_xid that it was given"),
        same("xmpp/stateless_two_requests_one_message", "each answered in a frame of its own"),
        same("xmpp/streaming_perl", "300 results"),
        same("xmpp/too_few_params_c", "404 of the service"),
        same("xmpp/unknown_method_c", "404 of the service"),
        same("xmpp/unknown_method_perl", "404 of the service, which names itself otherwise")
            .own(1, method_error(1, 404)),
        better("xmpp/unknown_service", "the request itself came back: a 404 for its trace")
            .instead(1, service_error(1, 404)),
        better("xmpp/unknown_service_connect", "the CONNECT itself came back: a 404 for its trace")
            .instead(1, service_error(0, 404)),
        same("xmpp/with_remote_addr", "the address is for the log"),
    ]
}

fn sessions() -> Vec<Row> {
    vec![
        same(
            "xmpp/client_gone_stateful",
            "the client goes with a session open; in the end none is left",
        ),
        better("xmpp/request_after_disconnect", "silent without a service: the request gets a 400")
            .instead(3, service_error(2, 400)),
        service_backlog_503(),
        session_limit_64(),
        same(
            "xmpp/stateful_all_in_one",
            "CONNECT, REQUEST and DISCONNECT in one array go to one worker",
        ),
        same("xmpp/stateful_connect_3req_disconnect", "a session with three requests"),
        stateful_error_statuses(),
        better(
            "xmpp/stateful_keepalive_timeout_c",
            "silent without a service after the 408: the request gets a 400",
        )
        .on(Setting::Idle)
        .instead(3, service_error(2, 400)),
        better(
            "xmpp/stateful_keepalive_timeout_perl",
            "silent without a service after the 408: the request gets a 400",
        )
        .on(Setting::Idle)
        .instead(2, service_error(2, 400)),
        same(
            "xmpp/stateful_no_wait",
            "CONNECT and REQUEST back to back: both are answered, then the 408 comes",
        )
        .on(Setting::Idle),
        same("xmpp/stateful_perl", "a session with a service that was in Perl"),
        better(
            "xmpp/stateful_pipelined",
            "answers came in the reverse order: they come in that of the requests",
        )
        .instead(4, [ok(1, "2"), ok(2, "4"), ok(3, "6")].concat()),
        same("xmpp/stateful_two_sessions", "two sessions side by side"),
    ]
}

/// 50 requests at once to a service that has room for 25.
fn service_backlog_503() -> Row {
    let all = (1..=50).flat_map(|frame| on(frame, ok(7, "2"))).collect();
    better(
        "xmpp/service_backlog_503",
        "the listener always says trace 1, and half was refused: here is \
             room for all",
    )
    .instead(50, all)
}

/// 66 CONNECTs, each answered, and a request in sessions 64, 65 and 66.
fn session_limit_64() -> Row {
    let two = ("slackwater.demo", "slackwater.demo.echo", "[2]");
    better(
        "xmpp/session_limit_64",
        "the 65th session was opened and then forgotten: it is refused, so the \
             client knows",
    )
    .instead(65, never_executed(0))
    .instead(66, never_executed(0))
    .asking(67, two)
    .asking(68, two)
    .asking(69, two)
    .instead(67, ok(2, "2"))
    .instead(68, service_error(2, 400))
    .instead(69, service_error(2, 400))
}

/// Six sessions. In each a worker answers a request with one status, and is asked again.
fn stateful_error_statuses() -> Row {
    let row = better(
        "xmpp/stateful_error_statuses",
        "a session was thought alive after 307: 307 and 408 end one, and no \
             other status does",
    );
    let statuses = [
        (307, r#"[307,"Redirected"]"#),
        (400, r#"[400,"Bad Request"]"#),
        (404, r#"[404,"Not Found"]"#),
        (408, r#"[408,"Timeout"]"#),
        (417, r#"[417,"Expectation Failed"]"#),
        (500, r#"[500,"Internal Server Error"]"#),
    ];
    statuses.into_iter().enumerate().fold(row, |row, (session, (code, params))| {
        let frame = 3 * session + 2;
        let ended = matches!(code, 307 | 408);
        row.own(frame - 1, connected(0))
            .asking(frame, ("slackwater.demo", "slackwater.demo.fail", params))
            .instead(frame, method_error(1, code))
            .asking(frame + 1, ("slackwater.demo", "slackwater.demo.echo", "[2]"))
            .instead(frame + 1, if ended { service_error(2, 400) } else { ok(2, "2") })
    })
}

/// What was a signal to the old gateway is one to this one: a drain, which loses nothing.
fn signals() -> Vec<Row> {
    vec![
        better("xmpp/sigterm", "it fell at once: an idle client gets a Close that says why")
            .on(Setting::Drained),
        better(
            "xmpp/sigusr1_after_error_reply",
            "it took 121 s after a 404: nothing is pending, and it closes",
        )
        .on(Setting::Drained),
        better("xmpp/sigusr1_busy_stateful", "all as captured, and then a Close")
            .on(Setting::Drained),
        better("xmpp/sigusr1_idle", "a second, and no Close: it closes at slack water")
            .on(Setting::Drained),
        better(
            "xmpp/sigusr1_inflight",
            "it spun for ever and lost the answer: the answer comes, then the Close",
        )
        .on(Setting::Drained)
        .instead(1, ok(1, "3")),
        better(
            "xmpp/sigusr1_stateful_idle",
            "it spun for ever and lost the 408: the 408 comes, then the Close",
        )
        .on(Setting::Drained)
        .then(2, timed_out()),
        better("xmpp/sigusr1_stateful_then_disconnect", "all as captured, and then a Close")
            .on(Setting::Drained),
    ]
}

fn bus_side() -> Vec<Row> {
    vec![
        better(
            "xmpp/fake_service_register",
            "the request itself came back when the service was gone: a 404 for its trace",
        )
        .asking(1, ("slackwater.demo", "slackwater.demo.echo", "[\"done\"]"))
        .instead(2, service_error(1, 404)),
        better("xmpp/listener_gone", "the request itself came back: a 404 for its trace")
            .instead(1, service_error(1, 404))
            .instead(2, service_error(1, 404)),
        not_applicable("xmpp/login", LOGIN),
        not_applicable("xmpp/login_bad_password", LOGIN),
        not_applicable(
            "xmpp/odd_replies",
            "a service made by hand answers oddly, as none of ours can; its \
             requests find no service",
        )
        .instead(1, service_error(1, 404))
        .instead(2, service_error(1, 400)),
        not_applicable("xmpp/raw_auth_failures", BY_HAND),
        not_applicable("xmpp/raw_no_presence_needed", BY_HAND),
        not_applicable("xmpp/raw_nonexistent_jids", BY_HAND),
        not_applicable("xmpp/raw_plain_login", BY_HAND),
        not_applicable("xmpp/raw_presence", BY_HAND),
        not_applicable("xmpp/raw_resource_conflict", BY_HAND),
        not_applicable("xmpp/raw_router_info", BY_HAND),
        not_applicable("xmpp/raw_sasl_login", BY_HAND),
        not_applicable(
            "xmpp/service_lifecycle_c",
            "the service is taken out and put back on the bus; here it is always \
             there, and answers",
        )
        .instead(2, ok(1, "0")),
        same("xmpp/service_lifecycle_perl", "the service answers while it is there"),
        not_applicable(
            "xmpp/stateful_drone_killed",
            "none of our workers can be killed: the session lives, and the request \
             after it is answered",
        )
        .instead(2, ok(1, "4"))
        .instead(3, ok(2, "4"))
        .instead(4, ok(3, "6"))
        .instead(5, Vec::new())
        .instead(6, ok(5, "8")),
        same("xmpp/xmpp_kicked", "answered as captured; the bus is not lost here"),
        same("xmpp/xmpp_lost_idle", "answered as captured; the bus is not lost here"),
    ]
}

fn prosody() -> Vec<Row> {
    vec![
        better(
            "xmpp/prosody/fake_service_register",
            "the request itself came back when the service was gone: a 404 for its trace",
        )
        .asking(1, ("slackwater.demo", "slackwater.demo.echo", "[\"done\"]"))
        .instead(2, service_error(1, 404)),
        better(
            "xmpp/prosody/large_response_c",
            "lost on its way to a C worker: answered, in chunks",
        )
        .instead(1, echoed(1)),
        same("xmpp/prosody/large_response_perl", "in chunks"),
        better("xmpp/prosody/listener_gone", "the request itself came back: a 404 for its trace")
            .instead(1, service_error(1, 404))
            .instead(2, service_error(1, 404)),
        not_applicable("xmpp/prosody/login", LOGIN),
        not_applicable("xmpp/prosody/login_bad_password", LOGIN),
        not_applicable("xmpp/prosody/raw_auth_failures", BY_HAND),
        not_applicable("xmpp/prosody/raw_no_presence_needed", BY_HAND),
        not_applicable("xmpp/prosody/raw_nonexistent_jids", BY_HAND),
        not_applicable("xmpp/prosody/raw_plain_login", BY_HAND),
        not_applicable("xmpp/prosody/raw_resource_conflict", BY_HAND),
        not_applicable("xmpp/prosody/raw_sasl_login", BY_HAND),
        better(
            "xmpp/prosody/request_over_stanza_limit",
            "the bus ended the stream, the gateway itself: the client is told",
        )
        .instead(1, echoed(1))
        .over_xmpp(1, method_error(1, 413))
        .instead(2, ok(1, "3")),
        same("xmpp/prosody/stateful_connect_3req_disconnect", "a session with three requests"),
        not_applicable(
            "xmpp/prosody/stateful_drone_killed",
            "none of our workers can be killed: the session lives, and the request \
             after it is answered",
        )
        .instead(2, ok(1, "4"))
        .instead(3, ok(2, "4"))
        .instead(4, ok(3, "6"))
        .instead(5, Vec::new())
        .instead(6, ok(5, "8")),
        better(
            "xmpp/prosody/stateful_keepalive_timeout_c",
            "silent without a service after the 408: the request gets a 400",
        )
        .on(Setting::Idle)
        .instead(3, service_error(2, 400)),
        same("xmpp/prosody/stateless_add", "the plainest case"),
        better("xmpp/prosody/unknown_service", "the request itself came back: a 404 for its trace")
            .instead(1, service_error(1, 404)),
        not_applicable(
            "xmpp/prosody/xmpp_kicked",
            "named in the index of the captures, but never recorded",
        ),
        same("xmpp/prosody/xmpp_lost_idle", "answered as captured; the bus is not lost here"),
    ]
}
