//! What is pushed to Redis where it is not what OpenSRF's gateway pushed, with the reasons.

use std::collections::BTreeMap;

use crate::scenario::List;

/// What is pushed otherwise in one scenario.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// What is pushed for a frame, by its number, in the place of what was captured for it.
    pub(crate) instead: BTreeMap<usize, Instead>,
    /// The sessions that their client leaves open and the gateway ends, when it goes: each by the
    /// number of a frame in it.
    pub(crate) left: Vec<usize>,
}

/// What is pushed for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instead {
    Nothing,
    /// Its messages as they came but for what the gateway must set, to this list.
    AsSent(List),
}

/// All differences. What is not here is pushed as captured.
pub(crate) fn differences() -> Vec<Difference> {
    let mut differences = bad_input();
    differences.extend(sessions());
    differences.extend(over_xmpp());
    differences
}

fn bad_input() -> Vec<Difference> {
    let crashed = "it had crashed: the frame after it is passed on";
    vec![
        on("redis/bad_deep_nesting", crashed).routed([2]),
        on("redis/bad_empty_osrf_msg", "an empty body tells a service nothing").nothing([1]),
        on("redis/bad_long_service", "a name that no service can have, and then a crash")
            .nothing([1])
            .routed([3]),
        on("redis/bad_no_method", "a request without a method has no answer").nothing([1]),
        on("redis/bad_null_msg", crashed).routed([2]),
        on("redis/bad_object_osrf_msg", crashed).routed([2]),
        on("redis/bad_string_osrf_msg", "an empty body tells a service nothing").nothing([1]),
        on("redis/bad_unclassed_msg", crashed).routed([2]),
        on("redis/binary_frame", "it was ignored: its text is passed on").routed([1]),
        on("redis/frame_too_big_wsd05", "it was refused: it is passed on whole").routed([1]),
        json_fidelity("redis/json_fidelity_c"),
        json_fidelity("redis/json_fidelity_perl"),
        on("redis/log_xid", "it was dropped for its log_xid, which is replaced").routed([2]),
        on("redis/message_too_big", "it had crashed: the last frame is passed on").routed([3]),
        on("redis/odd_service_names", "names that mean something else to a router or a log")
            .nothing(1..=6),
        on("redis/pretty_printed_json", "line breaks cut messages up: JSON is passed on whole")
            .routed([1])
            .nothing([2]),
        on("redis/router_class_list", "the router is not for clients").nothing([1]),
        on("redis/thread_too_long", "it was dropped for the length of its thread").routed([1]),
        on("redis/unexpected_type", "what no service expects opens no session there")
            .nothing(1..=3),
    ]
}

fn sessions() -> Vec<Difference> {
    vec![
        on("redis/disconnect_unknown", "a worker would be taken up for nothing").nothing([1]),
        on(
            "redis/many_sessions",
            "the last two sessions were opened and forgotten, and no DISCONNECT but the first went \
             out before the end",
        )
        .nothing([65, 66])
        .by_session(71..=133),
        on("redis/request_to_dead_worker", "nobody reads that worker's list any more").nothing([2]),
        on("redis/session_forgotten_on_404", "the session lives, and its worker has the request")
            .by_session([3, 4])
            .left(4),
        on("redis/session_max_requests", "the session is over: another worker has the request")
            .routed([6]),
        on("redis/session_timeout", "the session is over: another worker has the request")
            .routed([3]),
    ]
}

/// What goes out over XMPP otherwise than from OpenSRF 3.
fn over_xmpp() -> Vec<Difference> {
    let crashed = "it had crashed: the frame after it is passed on";
    let by_hand = "a service made by hand: ours are asked otherwise";
    let too_large = "it ended the stream, for everybody: it stays here";
    vec![
        on("xmpp/bad_input", "dropped for the length of an id, which is replaced").routed([5, 6]),
        on("xmpp/client_gone_stateful", "the worker is told that its client has left").left(1),
        on("xmpp/disconnect_no_thread", "a worker would be taken up for nothing").nothing([1]),
        on("xmpp/fake_service_register", by_hand).routed([1]),
        on("xmpp/field_rewriting", "what OpenSRF does not know is passed on, too").routed([1]),
        on("xmpp/line_over_10mb", crashed).routed([2]),
        on("xmpp/odd_replies", "a session that no CONNECT has opened is none").nothing([2]),
        on("xmpp/osrf_msg_empty", "an empty body tells a service nothing").nothing([1]),
        on("xmpp/osrf_msg_null", "an empty body tells a service nothing").nothing([1]),
        on("xmpp/osrf_msg_junk", crashed).routed([2]),
        on("xmpp/osrf_msg_object", crashed).routed([2]),
        on("xmpp/perl_exception", by_hand).routed([1]),
        on("xmpp/request_no_payload", "a request without a method has no answer").nothing([1]),
        on("xmpp/request_over_stanza_limit", too_large).nothing([1]).routed([2]),
        on("xmpp/service_named_router", "the router is not for clients").nothing([1]),
        (1..=64).fold(
            on("xmpp/session_limit_64", "the last two were opened and forgotten")
                .nothing([65, 66])
                .by_session([67]),
            Difference::left,
        ),
        [6, 9, 15, 18].into_iter().fold(
            on("xmpp/stateful_error_statuses", "307 ends a session; and ours are asked otherwise")
                .by_session([2, 5, 6, 8, 9, 11, 14, 15, 17, 18])
                .nothing([3]),
            Difference::left,
        ),
        on("xmpp/unknown_type", "what no service expects opens no session there").nothing([1]),
        on("xmpp/stateful_no_wait", "it went to another worker, outside the session")
            .by_session([2]),
        on("xmpp/prosody/fake_service_register", by_hand).routed([1]),
        on("xmpp/prosody/request_over_stanza_limit", too_large).nothing([1]).routed([2]),
    ]
}

/// C mended what is no JSON, or passed it on; and it rewrote what is.
fn json_fidelity(name: &'static str) -> Difference {
    on(name, "what is no JSON stays here, and what is passes as it is")
        .nothing([7, 8, 9, 10, 13, 16, 23, 38])
        .routed([33, 35, 36, 37])
}

fn on(name: &'static str, reason: &'static str) -> Difference {
    Difference { name, reason, instead: BTreeMap::new(), left: Vec::new() }
}

impl Difference {
    fn nothing(self, frames: impl IntoIterator<Item = usize>) -> Self {
        self.with(frames, Instead::Nothing)
    }

    fn routed(self, frames: impl IntoIterator<Item = usize>) -> Self {
        self.with(frames, Instead::AsSent(List::Router))
    }

    fn by_session(self, frames: impl IntoIterator<Item = usize>) -> Self {
        self.with(frames, Instead::AsSent(List::Worker))
    }

    fn with(mut self, frames: impl IntoIterator<Item = usize>, instead: Instead) -> Self {
        self.instead.extend(frames.into_iter().map(|frame| (frame, instead)));
        self
    }

    fn left(mut self, frame: usize) -> Self {
        self.left.push(frame);
        self
    }
}
