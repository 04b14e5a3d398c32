//! OpenSRF as it passes between a browser and a relay such as `osrf-websocket-stdio`: the same
//! wrapper and answers as over a bus, but the relay reads them; we only listen.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Asked, Notice};
use crate::event::Outcome;
use crate::osrf::answer::{self, Body, Code};
use crate::osrf::json::Json;
use crate::osrf::message::Kind;
use crate::osrf::wrapper::{self, Rules, Service, Xid};

pub(super) fn of_client(text: &str, rules: &Rules) -> Vec<Notice> {
    let Ok(wrapper) = wrapper::read(text, rules) else { return Vec::new() };
    let service = match &wrapper.service {
        Service::Named(name) => Some(name.clone().into_owned()),
        Service::Absent | Service::Bad => None,
    };
    let xid = match wrapper.xid {
        Xid::Given(xid) => xid.into_owned(),
        Xid::Absent | Xid::Bad => String::new(),
    };
    let thread = wrapper.thread.into_owned();
    wrapper
        .messages
        .into_iter()
        .flatten()
        .map(|message| {
            let (thread, trace) = (thread.clone(), message.trace);
            match message.kind {
                Kind::Request => Notice::Asked(Asked {
                    thread,
                    trace,
                    service: service.clone(),
                    method: message.method,
                    xid: xid.clone(),
                }),
                Kind::Connect => {
                    Notice::Opened { thread, trace, service: service.clone().unwrap_or_default() }
                }
                Kind::Disconnect => Notice::Left { thread },
            }
        })
        .collect()
}

/// What a relay gives to a browser.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    thread: Cow<'a, str>,
    #[serde(borrow)]
    osrf_msg: &'a RawValue,
}

pub(super) fn of_program(text: &str) -> Vec<Notice> {
    let Ok(Reply { thread, osrf_msg }) = serde_json::from_str(text) else { return Vec::new() };
    let thread = thread.into_owned();
    let body = Json::from(osrf_msg);
    let Body::Messages(answers) = answer::read(&body) else { return Vec::new() };
    let mut notices = Vec::new();
    for answer in answers {
        let thread = || thread.clone();
        let settled = |outcome| {
            answer.trace.map(|trace| Notice::Answered { thread: thread(), trace, outcome })
        };
        match answer.status {
            None | Some(Code::Other | Code::Connected) => {}
            Some(Code::Complete) => notices.extend(settled(Outcome::Complete)),
            Some(Code::Failed) => notices.extend(settled(Outcome::ErrorStatus)),
            Some(Code::EnvelopeRefused) => notices.push(Notice::Refused { thread: thread() }),
            Some(Code::SessionOver) => {
                notices.extend(settled(Outcome::ErrorStatus));
                notices.push(Notice::Over { thread: thread() });
            }
        }
    }
    notices
}
