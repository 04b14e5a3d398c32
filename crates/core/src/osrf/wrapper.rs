//! The client's wrapper around its messages,
//! `{"service":…,"thread":…,"log_xid":…,"osrf_msg":[…]}` (OPENSRF-REDIS §2.1): checked, and read
//! into what a session can act on. What is wrong with it is said to the client, never passed over.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::check::check;
use super::message::{self, BadMessage, Message};
use super::walk::{Sound, string};
use super::{is_plain_id, is_service_name};

/// The longest thread a client may choose, in bytes.
pub const MAX_THREAD: usize = 256;

/// What a text must keep to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The longest message, in bytes.
    pub max_size: usize,
    /// The deepest nesting of JSON.
    pub max_depth: usize,
    /// The JSON string that messages get as `ingress`.
    pub ingress: Box<RawValue>,
}

/// A wrapper that could be read.
#[derive(Debug)]
pub struct Wrapper<'a> {
    /// The service, if the client named one.
    pub service: Service<'a>,
    /// The client's own name for the conversation; empty if it gave none.
    pub thread: Cow<'a, str>,
    /// The client's log trace id.
    pub xid: Xid<'a>,
    /// Its messages in order, each sound or not.
    pub messages: Vec<Result<Message<'a>, BadMessage>>,
}

/// The service that a wrapper names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service<'a> {
    /// None, which is enough within a session.
    Absent,
    /// One that may be asked.
    Named(Cow<'a, str>),
    /// Something that must not reach a bus.
    Bad,
}

/// The log trace id of a wrapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Xid<'a> {
    /// None: the gateway makes one.
    Absent,
    /// One that may be used.
    Given(Cow<'a, str>),
    /// One that must not reach a bus: it is replaced.
    Bad,
}

/// A text that holds no conversation that could be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The thread, where it could be read and is not itself at fault.
    pub thread: Option<String>,
    /// A word for programs.
    pub code: &'static str,
    /// Words for people.
    pub message: String,
    /// Where, in bytes from the start of the text, if at one place.
    pub offset: Option<usize>,
}

impl Fault {
    /// A fault of the text as a whole.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { thread: None, code, message: message.into(), offset: None }
    }
}

/// Reads one text from a client.
///
/// # Errors
/// [`Fault`] if there is nothing in it to answer one by one.
pub fn read<'a>(text: &'a str, rules: &Rules) -> Result<Wrapper<'a>, Fault> {
    if text.len() > rules.max_size {
        let message =
            format!("the message has {} bytes, {} are allowed", text.len(), rules.max_size);
        return Err(Fault::new("message_too_big", message));
    }
    check(text, rules.max_depth).map_err(|fault| Fault {
        thread: None,
        code: fault.code,
        message: fault.message,
        offset: Some(fault.offset),
    })?;
    let (mut service, mut thread, mut xid) = (None, None, None);
    let mut messages = Vec::new();
    let wrapper = Sound::checked(text).walk().object(|key, walk| match key {
        "service" => service = given(walk.value()),
        "thread" => thread = given(walk.value()),
        "log_xid" => xid = given(walk.value()),
        "osrf_msg" => {
            walk.array(|walk| messages.push(message::read(walk, rules.ingress.get())));
        }
        _ => {}
    });
    if wrapper.is_none() {
        return Err(Fault::new("not_a_wrapper", "the message is not a JSON object"));
    }

    let named_thread = thread.is_some();
    let thread = match thread.map(word) {
        None => Cow::Borrowed(""),
        Some(Some(thread)) if thread.len() <= MAX_THREAD => thread,
        Some(Some(thread)) => {
            let message =
                format!("the thread has {} bytes, {MAX_THREAD} are allowed", thread.len());
            return Err(Fault {
                // It is long, but it is the only thing by which a client finds its request.
                thread: Some(thread.into_owned()),
                ..Fault::new("thread_too_long", message)
            });
        }
        Some(None) => return Err(Fault::new("bad_thread", "the thread is not a string")),
    };
    let service = match service.map(word) {
        None => Service::Absent,
        Some(Some(name)) if is_service_name(&name) => Service::Named(name),
        Some(_) => Service::Bad,
    };
    let xid = match xid.map(word) {
        None => Xid::Absent,
        Some(Some(xid)) if is_plain_id(&xid) => Xid::Given(xid),
        Some(_) => Xid::Bad,
    };
    if messages.is_empty() {
        return Err(Fault {
            thread: named_thread.then(|| thread.into_owned()),
            ..Fault::new("no_messages", "osrf_msg must be an array of at least one osrfMessage")
        });
    }
    Ok(Wrapper { service, thread, xid, messages })
}

/// A value that is there: null is none.
fn given(value: &str) -> Option<&str> {
    (value != "null").then_some(value)
}

/// A JSON string's text, or a number's: the C gateway takes 123 for "123".
fn word(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(value)),
        _ => string(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let ingress = RawValue::from_string("\"ws-translator-v2\"".to_owned()).unwrap();
        Rules { max_size: 1_000, max_depth: 128, ingress }
    }

    fn fault(text: &str) -> Fault {
        read(text, &rules()).unwrap_err()
    }

    #[test]
    fn reads_a_wrapper_whatever_the_order_of_its_keys() {
        let rules = rules();
        let wrapper = read(
            "{\n\"osrf_msg\":[{\"__c\":\"osrfMessage\",\"__p\":{\"type\":\"CONNECT\"}},null],\"thread\":7,\
             \"x\":[],\"log_xid\":\"a<b\",\"service\":\"a.b\"}\r\n",
            &rules,
        )
        .unwrap();
        assert_eq!(wrapper.service, Service::Named("a.b".into()));
        assert_eq!((wrapper.thread.as_ref(), wrapper.xid), ("7", Xid::Bad));
        assert!(wrapper.messages[0].is_ok() && wrapper.messages[1].is_err());
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(fault("[1]").code, "not_a_wrapper");
        assert_eq!((fault("{\"a\":").code, fault("{\"a\":").offset), ("invalid_json", Some(4)));
        assert_eq!(fault(&" ".repeat(1_001)).code, "message_too_big");
        assert_eq!(fault(r#"{"thread":{}}"#).code, "bad_thread");
        for osrf_msg in ["null", "[]", "\"x\"", "{}"] {
            let fault = fault(&format!(r#"{{"thread":"t","osrf_msg":{osrf_msg}}}"#));
            assert_eq!((fault.code, fault.thread.as_deref()), ("no_messages", Some("t")));
        }
        let long = "t".repeat(MAX_THREAD + 1);
        let fault = fault(&format!(r#"{{"thread":"{long}","osrf_msg":[]}}"#));
        assert_eq!((fault.code, fault.thread), ("thread_too_long", Some(long)));
    }

    #[test]
    fn no_odd_service_name_passes() {
        let rules = rules();
        for (json, expected) in [
            ("null", Service::Absent),
            ("123", Service::Named("123".into())),
            ("\"\"", Service::Bad),
            ("\"router\"", Service::Bad),
            ("\"opensrf.math:x\"", Service::Bad),
            ("\"a b\"", Service::Bad),
            ("{}", Service::Bad),
        ] {
            let text = format!(r#"{{"service":{json},"osrf_msg":[null]}}"#);
            assert_eq!(read(&text, &rules).unwrap().service, expected, "{json}");
        }
    }
}
