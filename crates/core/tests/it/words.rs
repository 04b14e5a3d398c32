//! What clients and workers say, as text.

use std::time::Duration;

use slackwater_core::osrf::envelope::Refusal;
use slackwater_core::session::identity::ClientId;

/// The service that clients of these tests ask.
pub(crate) const SERVICE: &str = "opensrf.math";
/// A worker's address.
pub(crate) const WORKER: &str = "worker:1";
/// A router's address.
pub(crate) const ROUTER: &str = "router:1";

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The bus thread of the test client's conversation number `number`.
pub(crate) fn bus_thread(number: u64) -> String {
    CLIENT.thread(number)
}

pub(crate) const CLIENT: ClientId = ClientId::from_random(7);

/// What a bus says that cannot take an envelope just now.
pub(crate) fn not_taken() -> Refusal {
    Refusal::NotTaken("the queue is full".to_owned())
}

// What a client says.

pub(crate) fn connect(trace: u32) -> String {
    message(trace, "CONNECT", "null")
}

pub(crate) fn disconnect(trace: u32) -> String {
    message(trace, "DISCONNECT", "null")
}

pub(crate) fn request(trace: u32) -> String {
    request_to(trace, "add")
}

/// A request whose text is a little longer than `size` bytes.
pub(crate) fn request_of(trace: u32, size: usize) -> String {
    request_to(trace, &"x".repeat(size))
}

pub(crate) fn request_to(trace: u32, method: &str) -> String {
    let payload = format!(r#"{{"__c":"osrfMethod","__p":{{"method":"{method}","params":[1]}}}}"#);
    message(trace, "REQUEST", &payload)
}

/// A REQUEST that names no method.
pub(crate) fn bad_request(trace: u32) -> String {
    message(trace, "REQUEST", "null")
}

/// A wrapper; without a service it relies on a session.
pub(crate) fn wrapper(service: Option<&str>, thread: &str, messages: &[String]) -> String {
    let service = service.map(|name| format!(r#""service":"{name}","#)).unwrap_or_default();
    format!(r#"{{{service}"thread":"{thread}","osrf_msg":[{}]}}"#, messages.join(","))
}

// What the bus says.

/// The answer to a CONNECT.
pub(crate) fn connected(trace: u32) -> String {
    status(trace, "osrfConnectStatus", 200, "Connection Successful")
}

pub(crate) fn result(trace: u32) -> String {
    let payload =
        r#"{"__c":"osrfResult","__p":{"status":"OK","statusCode":"200","content":[1.0]}}"#;
    message(trace, "RESULT", payload)
}

/// The end of an answer.
pub(crate) fn complete(trace: u32) -> String {
    status(trace, "osrfConnectStatus", 205, "Request Complete")
}

pub(crate) fn no_such_method(trace: u32) -> String {
    status(trace, "osrfMethodException", 404, "Method [x] not found")
}

/// A worker's keepalive ran out. From C the trace is always 0.
pub(crate) fn timed_out() -> String {
    status(0, "osrfConnectStatus", 408, "Disconnected on timeout")
}

pub(crate) fn max_requests(trace: u32) -> String {
    status(trace, "osrfConnectStatus", 307, "Disconnect on max requests")
}

/// From a router; its trace is always 1.
pub(crate) fn no_such_service() -> String {
    status(1, "osrfServiceException", 404, "Service Not Found")
}

/// From a listener without a free worker; its trace is always 1.
pub(crate) fn backlog() -> String {
    status(1, "osrfMethodException", 503, "Service unavailable: no available children")
}

pub(crate) fn status(trace: u32, class: &str, code: u16, text: &str) -> String {
    let payload =
        format!(r#"{{"__c":"{class}","__p":{{"status":"{text}","statusCode":"{code}"}}}}"#);
    message(trace, "STATUS", &payload)
}

fn message(trace: u32, kind: &str, payload: &str) -> String {
    format!(
        r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"{trace}","locale":"en-US","type":"{kind}","payload":{payload}}}}}"#
    )
}
