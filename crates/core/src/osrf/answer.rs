//! An answer from the bus, read only as far as the ledger must: which statuses it holds and for
//! which requests. Everything else passes as it came.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::envelope::{Incoming, Outgoing, Recipient};
use super::json::Json;
use super::message::Edits;
use super::status::disconnect_body;
use super::walk::{Sound, Walk, string};
use super::{Trace, is_plain_id};

/// A body from the bus.
#[derive(Debug)]
pub enum Body<'a> {
    /// What a sound worker sends.
    Messages(Vec<Answer<'a>>),
    /// Some other JSON value: passed on as it is (xmpp `odd_replies`).
    Other,
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
pub fn read(body: &Json) -> Body<'_> {
    let mut answers = Vec::new();
    match Sound::json(body).walk().array(|walk| answers.push(Answer::read(walk))) {
        Some(_) => Body::Messages(answers),
        None => Body::Other,
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
    fn read(walk: &mut Walk<'a>) -> Self {
        let found = Found::walk(walk);
        let is_status = found.kind.and_then(string).is_some_and(|kind| kind == "STATUS");
        let status = is_status.then(|| found.code());
        Self {
            text: found.text,
            trace_text: found.trace,
            trace: found.trace.and_then(Trace::read),
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

/// Where in an osrfMessage what is, as texts of JSON values.
#[derive(Debug, Default)]
struct Found<'a> {
    /// The whole message.
    text: &'a str,
    trace: Option<&'a str>,
    kind: Option<&'a str>,
    /// Of the payload.
    class: Option<Cow<'a, str>>,
    code: Option<&'a str>,
    status: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn walk(walk: &mut Walk<'a>) -> Self {
        let mut found = Self::default();
        found.text = walk.classed(|key, walk| found.field(key, walk)).text;
        found
    }

    fn field(&mut self, key: &str, walk: &mut Walk<'a>) {
        match key {
            "threadTrace" => self.trace = Some(walk.value()),
            "type" => self.kind = Some(walk.value()),
            "payload" => {
                let payload = walk.classed(|key, walk| match key {
                    "statusCode" => self.code = Some(walk.value()),
                    "status" => self.status = Some(walk.value()),
                    _ => {}
                });
                self.class = payload.class;
            }
            _ => {}
        }
    }

    fn code(&self) -> (u16, Code) {
        let class = self.class.as_deref().unwrap_or_default();
        // A string from C, a number from Perl.
        let number: u16 =
            self.code.and_then(|text| text.trim_matches('"').parse().ok()).unwrap_or_default();
        let backlog = || {
            let status = self.status.and_then(string);
            status.is_some_and(|text| text.starts_with("Service unavailable"))
        };
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::read(text).expect("a test's own JSON")
    }

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
        let body = json(&body);
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
    fn a_key_that_is_no_text_leads_nobody_astray() {
        let message =
            r#"{"__c":"osrfMessage","__p":{"\uDDDD":"x","threadTrace":"1","\uDDDDl":"y"}}"#;
        let body = json(&format!("[{message}]"));
        let Body::Messages(answers) = read(&body) else { panic!("an array") };
        assert_eq!((answers.len(), answers[0].text()), (1, message));
        let other = message.replace(r#""1""#, r#""7""#);
        assert_eq!(answers[0].text_for(Trace::new(7)), other);
    }

    #[test]
    fn odd_bodies_are_told_apart() {
        assert!(matches!(read(&json(r#"{"a":1}"#)), Body::Other));
        let body = json("[null,{\"__c\":1},{\"__p\":{\"threadTrace\":[]}}]");
        let Body::Messages(answers) = read(&body) else { panic!("an array") };
        assert!(answers.iter().all(|a| a.trace.is_none() && a.status.is_none()));
    }
}
