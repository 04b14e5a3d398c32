//! The gateway's part in these tests, and how they write and read messages.

use std::time::Duration;

use serde_json::Value;
use slackwater_bus::embedded::{self, Options};
use slackwater_bus::{Bus, Event};
use slackwater_core::osrf::envelope::{Incoming, Outgoing, Recipient};
use tokio::time::timeout;

/// The gateway's part.
pub(crate) struct Client {
    pub(crate) bus: Bus,
    ready: Vec<Incoming>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        Self { bus: embedded::start(options), ready: Vec::new() }
    }

    pub(crate) fn send(&self, to: Recipient, thread: &str, body: &str) {
        self.bus.sender.send(outgoing(to, thread, body)).expect("room in the queue");
    }

    pub(crate) fn send_body(&self, service: &str, thread: &str, body: &str) {
        self.send(Recipient::Service(service.to_owned()), thread, body);
    }

    pub(crate) fn connect(&self, service: &str, thread: &str, trace: u32) {
        self.send_body(service, thread, &body(&[message(trace, "CONNECT", "")]));
    }

    pub(crate) fn request(
        &self,
        service: &str,
        thread: &str,
        trace: u32,
        method: &str,
        params: &str,
    ) {
        self.send_body(
            service,
            thread,
            &body(&[message(trace, "REQUEST", &payload(method, params))]),
        );
    }

    pub(crate) fn request_of(
        &self,
        worker: &str,
        thread: &str,
        trace: u32,
        method: &str,
        params: &str,
    ) {
        let message = message(trace, "REQUEST", &payload(method, params));
        self.send(Recipient::Worker(worker.to_owned()), thread, &body(&[message]));
    }

    /// The one result of a method of the demo service.
    pub(crate) async fn call(&mut self, method: &str, params: &str) -> Value {
        self.request("slackwater.demo", "call", 1, method, params);
        let envelope = self.next().await;
        assert_eq!((envelope.thread.as_str(), codes(&envelope)), ("call", vec![200, 205]));
        content(&messages(&envelope)[0]).clone()
    }

    pub(crate) async fn next(&mut self) -> Incoming {
        if self.ready.is_empty() {
            let event = timeout(Duration::from_secs(120), self.bus.events.recv()).await;
            match event.expect("an answer in time") {
                Some(Event::Received(envelopes)) => self.ready = envelopes,
                other => panic!("not an answer: {other:?}"),
            }
        }
        self.ready.remove(0)
    }

    /// All envelopes of a thread up to STATUS 205.
    pub(crate) async fn until_complete(&mut self, thread: &str) -> Vec<Incoming> {
        let mut all = Vec::new();
        loop {
            let envelope = self.next().await;
            assert_eq!(envelope.thread, thread);
            let complete = codes(&envelope).contains(&205);
            all.push(envelope);
            if complete {
                return all;
            }
        }
    }

    pub(crate) async fn is_silent(&mut self) {
        let event = timeout(Duration::from_secs(1), self.bus.events.recv()).await;
        assert!(self.ready.is_empty() && event.is_err(), "{event:?}");
    }
}

pub(crate) fn outgoing(to: Recipient, thread: &str, body: &str) -> Outgoing {
    let (thread, xid) = (thread.to_owned(), format!("xid-{thread}"));
    Outgoing { to, thread, xid, body: body.to_owned() }
}

pub(crate) fn body(messages: &[String]) -> String {
    format!("[{}]", messages.join(","))
}

pub(crate) fn message(trace: u32, kind: &str, payload: &str) -> String {
    format!(
        r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"{trace}","locale":"en-US","api_level":1,"type":"{kind}"{payload}}}}}"#
    )
}

pub(crate) fn payload(method: &str, params: &str) -> String {
    format!(r#","payload":{{"__c":"osrfMethod","__p":{{"method":"{method}","params":{params}}}}}"#)
}

/// The `__p` of each message in an envelope.
pub(crate) fn messages(envelope: &Incoming) -> Vec<Value> {
    let body: Vec<Value> = serde_json::from_str(&envelope.body).expect("an array");
    body.into_iter().map(|mut message| message["__p"].take()).collect()
}

pub(crate) fn content(message: &Value) -> &Value {
    &message["payload"]["__p"]["content"]
}

pub(crate) fn codes(envelope: &Incoming) -> Vec<u16> {
    let code = |message: &Value| message["payload"]["__p"]["statusCode"].as_str()?.parse().ok();
    let mut codes: Vec<u16> = messages(envelope).iter().filter_map(code).collect();
    codes.dedup();
    codes
}

/// Trace, class, code and text of each message.
pub(crate) fn statuses(envelope: &Incoming) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let status = |message: &Value| {
        let payload = &message["payload"];
        assert_eq!(message["type"], "STATUS");
        (
            text(&message["threadTrace"]),
            text(&payload["__c"]),
            text(&payload["__p"]["statusCode"]),
            text(&payload["__p"]["status"]),
        )
    };
    messages(envelope).iter().map(status).collect()
}

pub(crate) fn status(
    trace: i32,
    class: &str,
    code: u16,
    text: &str,
) -> (String, String, String, String) {
    (trace.to_string(), class.to_owned(), code.to_string(), text.to_owned())
}

/// The content that slices make up.
pub(crate) fn joined(bodies: &[Incoming]) -> String {
    let slices = bodies.iter().flat_map(messages);
    slices.filter_map(|message| content(&message).as_str().map(str::to_owned)).collect()
}
