//! One osrfMessage from a client: what the ledger and the routing need is read, the rest passes
//! byte for byte. Changed on the way are only `ingress`, which is ours to say, and what a worker
//! must not miss: `locale`, `threadTrace` and a request's `params`.

use std::borrow::Cow;

use super::Trace;
use super::walk::{Sound, Walk, string};

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Opens a stateful session.
    Connect,
    /// Asks for a method.
    Request,
    /// Ends a stateful session; has no answer.
    Disconnect,
}

/// A sound message, ready for the bus.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its request id within the thread.
    pub trace: Trace,
    /// The method that a request names, else empty.
    pub method: String,
    /// The JSON text of the parameters that a request gives, as it came.
    pub params: Option<&'a str>,
    /// The JSON text for the bus.
    pub text: String,
}

/// A message that is not for the bus, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadMessage {
    /// The request id, where it could be read: its sender can be told there.
    pub trace: Option<Trace>,
    /// Whether a REQUEST was meant.
    pub is_request: bool,
    /// Words for the client.
    pub text: String,
}

/// Reads the element of `osrf_msg` before which `walk` stands. `ingress` is the text of a JSON
/// string.
///
/// # Errors
/// [`BadMessage`] for whatever crashes or hangs a gateway or service of OpenSRF
/// (OPENSRF-REDIS §2.1, OPENSRF-XMPP §10).
pub(super) fn read<'a>(walk: &mut Walk<'a>, ingress: &str) -> Result<Message<'a>, BadMessage> {
    let nowhere = |text: &str| BadMessage { trace: None, is_request: false, text: text.to_owned() };
    let found = Found::walk(walk);
    if found.class.as_deref() != Some("osrfMessage") {
        return Err(nowhere("an element of osrf_msg is not an osrfMessage"));
    }
    let Some(fields) = found.fields else {
        return Err(nowhere("the osrfMessage's __p is not an object"));
    };

    let trace = match found.trace.map(|text| (text, Trace::read(text))) {
        None | Some(("null", _)) => Ok(Trace::new(0)),
        Some((_, Some(trace))) => Ok(trace),
        Some((_, None)) => Err(nowhere("threadTrace is not a whole number from 0 to 2147483647")),
    };
    let kind = match found.kind.and_then(string).as_deref() {
        Some("CONNECT") => Kind::Connect,
        Some("REQUEST") => Kind::Request,
        Some("DISCONNECT") => Kind::Disconnect,
        Some(_) | None => {
            return Err(BadMessage {
                trace: trace.ok(),
                ..nowhere("the type of an osrfMessage must be CONNECT, REQUEST or DISCONNECT")
            });
        }
    };
    let trace = trace.map_err(|bad| BadMessage { is_request: kind == Kind::Request, ..bad })?;

    let mut edits = Edits::new(found.text);
    match found.ingress {
        Some(old) => edits.replace(old, ingress),
        None => edits.add_key(fields, "ingress", ingress),
    }
    if found.locale.is_none() {
        edits.add_key(fields, "locale", "\"en-US\"");
    }
    match found.trace {
        Some(old @ "null") => edits.replace(old, "\"0\""),
        Some(_) => {}
        None => edits.add_key(fields, "threadTrace", "\"0\""),
    }
    let (method, params) = match kind {
        Kind::Request => {
            let Some((call, method)) = found.method() else {
                let text = "the request names no method".to_owned();
                return Err(BadMessage { trace: Some(trace), is_request: true, text });
            };
            if found.params.is_none() {
                // As the C gateway does; workers take null for an empty list.
                edits.add_key(call, "params", "null");
            }
            (method, found.params)
        }
        Kind::Connect | Kind::Disconnect => (String::new(), None),
    };
    Ok(Message { kind, trace, method, params, text: edits.finish() })
}

/// Reads a body of our own making: an array of messages that were sound.
pub(crate) fn read_all(body: &str) -> Vec<Message<'_>> {
    let mut messages = Vec::new();
    Sound::checked(body).walk().array(|walk| messages.extend(read(walk, "null").ok()));
    messages
}

/// Where in an osrfMessage what is, as texts of JSON values.
#[derive(Debug, Default)]
struct Found<'a> {
    /// The whole element.
    text: &'a str,
    class: Option<Cow<'a, str>>,
    /// `__p`, if it is an object.
    fields: Option<&'a str>,
    trace: Option<&'a str>,
    kind: Option<&'a str>,
    ingress: Option<&'a str>,
    locale: Option<&'a str>,
    payload_class: Option<Cow<'a, str>>,
    /// The payload's `__p`, if it is an object.
    call: Option<&'a str>,
    method: Option<&'a str>,
    params: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn walk(walk: &mut Walk<'a>) -> Self {
        let mut found = Self::default();
        let message = walk.classed(|key, walk| found.field(key, walk));
        Self { text: message.text, class: message.class, fields: message.fields, ..found }
    }

    fn field(&mut self, key: &str, walk: &mut Walk<'a>) {
        match key {
            "threadTrace" => self.trace = Some(walk.value()),
            "type" => self.kind = Some(walk.value()),
            "ingress" => self.ingress = Some(walk.value()),
            "locale" => self.locale = Some(walk.value()),
            "payload" => {
                let payload = walk.classed(|key, walk| match key {
                    "method" => self.method = Some(walk.value()),
                    "params" => self.params = Some(walk.value()),
                    _ => {}
                });
                (self.payload_class, self.call) = (payload.class, payload.fields);
            }
            _ => {}
        }
    }

    /// The text of the call, and the method that it names.
    fn method(&self) -> Option<(&'a str, String)> {
        let is_call = self.payload_class.as_deref() == Some("osrfMethod");
        let method = self.method.and_then(string).filter(|method| !method.is_empty())?;
        is_call.then_some((self.call?, method.into_owned()))
    }
}

/// Changes to a text, each at a place given by a part of that very text.
pub(super) struct Edits<'a> {
    text: &'a str,
    /// Start, end, what comes there instead.
    changes: Vec<(usize, usize, String)>,
}

impl<'a> Edits<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, changes: Vec::new() }
    }

    /// Puts `new` in the place of `part`, which must be a part of the text by address.
    pub(super) fn replace(&mut self, part: &str, new: &str) {
        if let Some(start) = self.place(part) {
            self.changes.push((start, start + part.len(), new.to_owned()));
        }
    }

    /// Puts a key first into `object`, the text of a JSON object and a part of this text.
    fn add_key(&mut self, object: &str, key: &str, value: &str) {
        if let Some(start) = self.place(object) {
            let empty = object.get(1..).is_some_and(|rest| rest.trim_start().starts_with('}'));
            let comma = if empty && !self.changes.iter().any(|(at, _, _)| *at == start + 1) {
                ""
            } else {
                ","
            };
            let added = ["\"", key, "\":", value, comma].concat();
            self.changes.push((start + 1, start + 1, added));
        }
    }

    pub(super) fn finish(mut self) -> String {
        // Insertions at one place come out last first, so that only the first needs no comma.
        self.changes.reverse();
        self.changes.sort_by_key(|(start, _, _)| *start);
        let mut out = String::with_capacity(self.text.len() + 64);
        let mut done = 0;
        for (start, end, new) in &self.changes {
            out.push_str(&self.text[done..*start]);
            out.push_str(new);
            done = *end;
        }
        out.push_str(&self.text[done..]);
        out
    }

    fn place(&self, part: &str) -> Option<usize> {
        let start = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        (start + part.len() <= self.text.len()).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Message<'_>, BadMessage> {
        read(&mut Sound::checked(text).walk(), "\"in\"")
    }

    #[test]
    fn only_ingress_changes_in_a_complete_message() {
        let text = r#"{"__c":"osrfMessage", "__p":{ "threadTrace":7, "odd":[1.0,1e5], "ingress":"x","type":"REQUEST","locale":"fr-CA","tz":null,"api_level":1,"payload":{"__c":"osrfMethod","__p":{"method":"\u0061dd","params":[12345678901234567890,"\/"],"more":1}}},"beside":2}"#;
        let message = read_text(text).unwrap();
        assert_eq!(message.text, text.replace("\"x\"", "\"in\""));
        assert_eq!(
            (message.kind, message.trace, &*message.method),
            (Kind::Request, Trace::new(7), "add")
        );
    }

    #[test]
    fn what_a_worker_must_not_miss_is_added() {
        let message = read_text(r#"{"__c":"osrfMessage","__p":{"type":"CONNECT"}}"#).unwrap();
        assert_eq!(
            message.text,
            r#"{"__c":"osrfMessage","__p":{"threadTrace":"0","locale":"en-US","ingress":"in","type":"CONNECT"}}"#
        );
        let message = read_text(
            r#"{"__c":"osrfMessage","__p":{"threadTrace":"3","locale":"x","ingress":null,"type":"REQUEST","payload":{"__c":"osrfMethod","__p":{"method":"m"}}}}"#,
        )
        .unwrap();
        assert_eq!(
            message.text,
            r#"{"__c":"osrfMessage","__p":{"threadTrace":"3","locale":"x","ingress":"in","type":"REQUEST","payload":{"__c":"osrfMethod","__p":{"params":null,"method":"m"}}}}"#
        );
    }

    #[test]
    fn what_crashes_others_is_told_where_the_trace_is_known() {
        for (text, trace) in [
            ("null", None),
            ("[]", None),
            (r#""x""#, None),
            (r#"{"__c":"other","__p":{}}"#, None),
            (r#"{"__c":"osrfMessage","__p":[]}"#, None),
            (r#"{"__c":"osrfMessage","__p":{"threadTrace":1.5,"type":"REQUEST"}}"#, None),
            (r#"{"__c":"osrfMessage","__p":{"threadTrace":4,"type":"STATUS"}}"#, Some(4)),
            (r#"{"__c":"osrfMessage","__p":{"threadTrace":"5"}}"#, Some(5)),
            (r#"{"__c":"osrfMessage","__p":{"threadTrace":6,"type":"REQUEST"}}"#, Some(6)),
            (
                r#"{"__c":"osrfMessage","__p":{"threadTrace":6,"type":"REQUEST","payload":{"__c":"osrfMethod","__p":{"method":7}}}}"#,
                Some(6),
            ),
        ] {
            assert_eq!(read_text(text).unwrap_err().trace, trace.map(Trace::new), "{text}");
        }
    }

    #[test]
    fn an_empty_object_gets_no_stray_comma() {
        let object = "{ }";
        let mut edits = Edits::new(object);
        edits.add_key(object, "a", "1");
        edits.add_key(object, "b", "2");
        let text = edits.finish();
        assert_eq!(text, r#"{"b":2,"a":1 }"#);
    }
}
