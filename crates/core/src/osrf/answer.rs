//! An answer from the bus, read only as far as the ledger must: which statuses it holds and for
//! which requests. Everything else passes as it came.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::{Incoming, Outgoing, Recipient};
use super::message::Edits;
use super::status::disconnect_body;
use super::{Trace, is_plain_id, object, only_object};

/// A body from the bus.
#[derive(Debug)]
pub enum Body<'a> {
    /// What a sound worker sends.
    Messages(Vec<Answer<'a>>),
    /// Some other JSON value: passed on as it is (xmpp `odd_replies`).
    Other,
    /// Not JSON at all: the client gets null, as from the C gateway.
    Broken,
}

/// One osrfMessage of an answer.
#[derive(Debug)]
pub struct Answer<'a> {
    text: &'a str,
    trace_text: Option<&'a str>,
    /// The request it answers, if that can be read.
    pub trace: Option<Trace>,
    /// Its status, if it is one. Results leave the ledger as it is.
    pub status: Option<Code>,
    /// The number of its status, else 0.
    pub number: u16,
}

/// A status as the ledger sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 200: a CONNECT is accepted.
    Connected,
    /// 205: a request is answered in full.
    Complete,
    /// 307 or 408: the worker has left the session.
    SessionOver,
    /// 400 and above: the final answer of one request.
    Failed,
    /// A router or listener refuses a whole envelope; its trace is always 1, whatever was asked
    /// (`service_not_found`, xmpp `service_backlog_503`).
    EnvelopeRefused,
    /// Anything else; means nothing to the ledger.
    Other,
}

/// Reads a body.
pub fn read(body: &str) -> Body<'_> {
    match serde_json::from_str::<Vec<&RawValue>>(body) {
        Ok(items) => Body::Messages(items.into_iter().map(Answer::read).collect()),
        Err(_) if serde_json::from_str::<&RawValue>(body).is_ok() => Body::Other,
        Err(_) => Body::Broken,
    }
}

/// If `envelope`, which nobody awaits, opens a session: the DISCONNECT that frees its worker at
/// once instead of after its keepalive.
pub fn farewell(envelope: &Incoming, ingress: &RawValue) -> Option<Outgoing> {
    let Body::Messages(answers) = read(&envelope.body) else { return None };
    answers.iter().any(|answer| answer.status == Some(Code::Connected)).then(|| Outgoing {
        to: Recipient::Worker(envelope.from.clone()),
        thread: envelope.thread.clone(),
        xid: envelope.xid.clone().filter(|xid| is_plain_id(xid)).unwrap_or_else(|| "late".into()),
        body: disconnect_body(ingress),
    })
}

impl<'a> Answer<'a> {
    fn read(raw: &'a RawValue) -> Self {
        let text = raw.get();
        let fields = object::<Classed<'a, Fields<'a>>>(text).and_then(|outer| outer.payload);
        let Some(fields) = fields else {
            return Self { text, trace_text: None, trace: None, status: None, number: 0 };
        };
        let is_status = fields.kind.as_deref() == Some("STATUS");
        let status = is_status.then(|| code(fields.payload));
        Self {
            text,
            trace_text: fields.trace.map(RawValue::get),
            trace: fields.trace.and_then(Trace::read),
            status: status.map(|(_, code)| code),
            number: status.map_or(0, |(number, _)| number),
        }
    }

    /// The message as it came.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The message as an answer to another request.
    pub fn text_for(&self, trace: Trace) -> Cow<'a, str> {
        match self.trace_text {
            Some(old) if self.trace != Some(trace) => {
                let mut edits = Edits::new(self.text);
                edits.replace(old, &format!("\"{trace}\""));
                Cow::Owned(edits.finish())
            }
            Some(_) | None => Cow::Borrowed(self.text),
        }
    }
}

/// An object with a class hint, `{"__c":…,"__p":…}`, and what is in it, read in one go.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Classed<'a, T> {
    #[serde(rename = "__c", borrow, default)]
    class: Option<Cow<'a, str>>,
    #[serde(rename = "__p", default, deserialize_with = "only_object")]
    payload: Option<T>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "threadTrace", borrow, default)]
    trace: Option<&'a RawValue>,
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StatusFields<'a> {
    #[serde(rename = "statusCode", borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
}

fn code(payload: Option<&RawValue>) -> (u16, Code) {
    let outer = payload.and_then(|raw| object::<Classed<'_, StatusFields<'_>>>(raw.get()));
    let Some(Classed { class, payload: Some(fields) }) = outer else { return (0, Code::Other) };
    let class = class.as_deref().unwrap_or_default();
    // A string from C, a number from Perl.
    let number: u16 =
        fields.code.and_then(|raw| raw.get().trim_matches('"').parse().ok()).unwrap_or_default();
    let backlog = || fields.status.is_some_and(|text| text.starts_with("Service unavailable"));
    let code = match number {
        200 => Code::Connected,
        205 => Code::Complete,
        307 | 408 => Code::SessionOver,
        503 if backlog() => Code::EnvelopeRefused,
        400.. if class == "osrfServiceException" => Code::EnvelopeRefused,
        400.. => Code::Failed,
        _ => Code::Other,
    };
    (number, code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(trace: &str, class: &str, code: &str, text: &str) -> String {
        format!(
            r#"{{"__p":{{"type":"STATUS","threadTrace":{trace},"payload":{{"__p":{{"statusCode":{code},"status":"{text}"}},"__c":"{class}"}}}},"__c":"osrfMessage"}}"#
        )
    }

    #[test]
    fn statuses_of_c_and_perl_read_alike() {
        let body = format!(
            "[{},{},{},{},{},{}]",
            status("\"1\"", "osrfConnectStatus", "\"200\"", "Connection Successful"),
            status("2", "osrfConnectStatus", "205", "Request Complete"),
            status("3", "osrfConnectStatus", "408", "Disconnected on timeout"),
            status("4", "osrfMethodException", "\"404\"", "Method [x] not found"),
            status("\"1\"", "osrfServiceException", "\"404\"", "Service Not Found"),
            status("1", "osrfMethodException", "503", "Service unavailable: no available children"),
        );
        let Body::Messages(answers) = read(&body) else { panic!("an array") };
        let codes: Vec<_> = answers.iter().map(|a| a.status.unwrap()).collect();
        assert_eq!(
            codes,
            [
                Code::Connected,
                Code::Complete,
                Code::SessionOver,
                Code::Failed,
                Code::EnvelopeRefused,
                Code::EnvelopeRefused
            ]
        );
        assert_eq!(answers[1].trace, Some(Trace::new(2)));
        assert_eq!(
            answers[4].text_for(Trace::new(7)),
            status("\"7\"", "osrfServiceException", "\"404\"", "Service Not Found")
        );
        assert_eq!(answers[3].text_for(Trace::new(4)), answers[3].text());
    }

    #[test]
    fn odd_bodies_are_told_apart() {
        assert!(matches!(read(r#"{"a":1}"#), Body::Other));
        assert!(matches!(read("registering"), Body::Broken));
        let Body::Messages(answers) = read("[null,{\"__c\":1},{\"__p\":{\"threadTrace\":[]}}]")
        else {
            panic!("an array")
        };
        assert!(answers.iter().all(|a| a.trace.is_none() && a.status.is_none()));
    }
}
