//! What the gateway itself says to a client: statuses in OpenSRF's own form, so that every
//! client library understands them, and plain errors where thread or trace are not known.

use serde_json::value::RawValue;

use super::{Trace, quote};

/// Which class a status is of; OpenSRF's clients branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An exception: the request itself is at fault, or its outcome is.
    Method,
    /// An exception: the service cannot be had.
    Service,
    /// How a session stands.
    Connection,
}

/// A status that the gateway makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The class hint.
    pub class: Class,
    /// The code: 400 and above.
    pub code: u16,
    /// Words for whoever reads the client's error.
    pub text: String,
}

impl Status {
    /// The request was malformed; it was not executed.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self { class: Class::Method, code: 400, text: text.into() }
    }

    /// No such service can be asked; nothing was executed.
    pub fn bad_service(text: impl Into<String>) -> Self {
        Self { class: Class::Service, code: 400, text: text.into() }
    }

    /// 503: never executed. `why` is followed by the promise in words.
    pub fn never_executed(why: &str) -> Self {
        Self {
            class: Class::Method,
            code: 503,
            text: format!("{why}; the request was never executed, send it again"),
        }
    }

    /// 413: never executed, and never will be. Sizes in bytes, as they are on the bus.
    pub fn too_large(size: usize, limit: usize) -> Self {
        Self {
            class: Class::Method,
            code: 413,
            text: format!(
                "the request is too large for the message bus: it has {size} bytes there, the \
                 limit is {limit}; it was never executed"
            ),
        }
    }

    /// 504: sent on, outcome unknown. `why` is followed by the warning in words.
    pub fn outcome_unknown(why: &str) -> Self {
        Self {
            class: Class::Method,
            code: 504,
            text: format!("{why}; the request was sent on and its outcome is unknown"),
        }
    }

    /// 408: the session has ended without its client's will, as when a worker leaves it.
    pub fn session_over(why: &str) -> Self {
        Self { class: Class::Connection, code: 408, text: format!("{why}; the session is over") }
    }
}

/// A frame for the client around a body from the bus, which must be JSON.
///
/// The key order is OpenSRF's own: thread, log_xid, osrf_msg (OPENSRF-REDIS §2.2).
pub fn reply(thread: &str, xid: &str, body: &str) -> String {
    let mut text = String::with_capacity(thread.len() + xid.len() + body.len() + 48);
    text.push_str("{\"thread\":");
    quote::push(&mut text, thread);
    text.push_str(",\"log_xid\":");
    quote::push(&mut text, xid);
    text.push_str(",\"osrf_msg\":");
    text.push_str(body);
    text.push('}');
    text
}

/// A frame for an envelope that came back, which OpenSRF's own gateway marks so (OPENSRF-XMPP §6).
pub fn bounced_reply(thread: &str, xid: &str, body: &str) -> String {
    let mut text = reply(thread, xid, body);
    text.pop();
    text.push_str(",\"transport_error\":true}");
    text
}

/// The osrfMessage that carries `status` for one request.
pub fn status_message(trace: Trace, status: &Status) -> String {
    let class = match status.class {
        Class::Method => "osrfMethodException",
        Class::Service => "osrfServiceException",
        Class::Connection => "osrfConnectStatus",
    };
    let mut text = format!(
        "{{\"__c\":\"osrfMessage\",\"__p\":{{\"threadTrace\":\"{trace}\",\"locale\":\"en-US\",\
         \"type\":\"STATUS\",\"payload\":{{\"__c\":\"{class}\",\"__p\":{{\"status\":"
    );
    quote::push(&mut text, &status.text);
    text.push_str(&format!(",\"statusCode\":\"{}\"}}}}}}}}", status.code));
    text
}

/// A whole frame that answers one request with a status of the gateway's own.
pub fn status_reply(thread: &str, xid: &str, trace: Trace, status: &Status) -> String {
    reply(thread, xid, &format!("[{}]", status_message(trace, status)))
}

/// A frame for a message so broken that there is no request to answer.
///
/// `thread` is there where it could be read; `offset` counts bytes from the message's start.
pub fn error_reply(
    thread: Option<&str>,
    code: &str,
    message: &str,
    offset: Option<usize>,
) -> String {
    let mut text = String::from("{");
    if let Some(thread) = thread {
        text.push_str("\"thread\":");
        quote::push(&mut text, thread);
        text.push(',');
    }
    text.push_str("\"transport_error\":true,\"error\":{\"code\":");
    quote::push(&mut text, code);
    text.push_str(",\"message\":");
    quote::push(&mut text, message);
    if let Some(offset) = offset {
        text.push_str(&format!(",\"offset\":{offset}"));
    }
    text.push_str("}}");
    text
}

/// The body that ends a session on the bus on a client's behalf.
pub fn disconnect_body(ingress: &RawValue) -> String {
    format!(
        "[{{\"__c\":\"osrfMessage\",\"__p\":{{\"threadTrace\":\"0\",\"locale\":\"en-US\",\
         \"ingress\":{},\"type\":\"DISCONNECT\"}}}}]",
        ingress.get()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_as_one_from_a_c_service() {
        let status = Status { class: Class::Service, code: 404, text: "no \"x\"".into() };
        assert_eq!(
            status_reply("t\n1", "x1", Trace::new(7), &status),
            r#"{"thread":"t\n1","log_xid":"x1","osrf_msg":[{"__c":"osrfMessage","__p":{"threadTrace":"7","locale":"en-US","type":"STATUS","payload":{"__c":"osrfServiceException","__p":{"status":"no \"x\"","statusCode":"404"}}}}]}"#
        );
    }

    #[test]
    fn an_error_names_its_place() {
        assert_eq!(
            error_reply(None, "invalid_json", "expected value", Some(17)),
            r#"{"transport_error":true,"error":{"code":"invalid_json","message":"expected value","offset":17}}"#
        );
        assert_eq!(
            error_reply(Some("t"), "no_messages", "m", None),
            r#"{"thread":"t","transport_error":true,"error":{"code":"no_messages","message":"m"}}"#
        );
    }
}
