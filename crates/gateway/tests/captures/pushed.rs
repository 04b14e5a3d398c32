//! What the gateway must push to Redis: field by field what OpenSRF's own gateway pushed for the
//! same frames, in the same order within a conversation, or what the table says in its place.

use std::collections::{BTreeMap, HashMap};

use slackwater_core::osrf::is_plain_id;

use crate::envelope::{Envelope, as_sent, difference, farewell, holds, service_of};
use crate::json::Json;
use crate::plan::head;
use crate::scenario::{Event, List, Scenario};
use crate::stand_in;
use crate::table::{Difference, Instead, Row};

/// An envelope that must be pushed.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The number of the frame that it is for.
    pub(crate) frame: usize,
    /// The number of the client's connection.
    pub(crate) connection: usize,
    /// The client's conversation.
    pub(crate) thread: Option<String>,
    /// The number of the conversation on the bus: a session, or a message that stands alone.
    pub(crate) conversation: usize,
    /// A log trace id that the client gave and that may pass.
    pub(crate) xid: Option<String>,
    pub(crate) content: Content,
}

/// What it says, and to whom.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) list: List,
    /// The service, if it goes by the router.
    pub(crate) service: String,
    pub(crate) messages: Vec<Json>,
    /// It was captured, and does not stand in the table.
    pub(crate) is_captured: bool,
}

/// A frame, the number of its connection, and what was captured of the envelopes for it, unless
/// nobody says what was.
struct Sent<'a> {
    connection: usize,
    text: String,
    captured: Option<Vec<(List, &'a str)>>,
}

/// What must be pushed in a scenario, in the order of its frames.
///
/// # Panics
/// It is not said what was pushed for a frame, or the table says something in the place of what is
/// the same.
pub(crate) fn expected(
    scenario: &Scenario,
    row: &Row,
    differs: Option<&Difference>,
) -> Vec<Expected> {
    let frames = frames(scenario, row);
    let mut writer = Writer::default();
    for (index, sent) in frames.iter().enumerate() {
        let number = index + 1;
        let place = format!("{}, frame {number}", scenario.name);
        let captured =
            sent.captured.as_ref().unwrap_or_else(|| panic!("{place}: what was pushed for it?"));
        match differs.and_then(|differs| differs.instead.get(&number)) {
            None => {
                for (list, text) in captured {
                    let envelope = Envelope::read(&stand_in::replace_envelope(text))
                        .unwrap_or_else(|error| panic!("{place}: {error}"));
                    let service = service_of(&envelope.to).to_owned();
                    let (list, messages) = (*list, envelope.messages);
                    let content = Content { list, service, messages, is_captured: true };
                    writer.write(number, sent, content);
                }
            }
            Some(Instead::Nothing) => {
                assert!(!captured.is_empty(), "{place}: that is no difference")
            }
            Some(Instead::AsSent(list)) => {
                let messages = as_sent(&sent.text).expect("a frame of messages");
                let is_same = captured.iter().any(|(captured, text)| {
                    let same = |envelope: Envelope| difference(&envelope.messages, &messages);
                    captured == list && Envelope::read(text).is_ok_and(|one| same(one).is_none())
                });
                assert!(!is_same, "{place}: that is no difference");
                let service = Json::read(&sent.text).expect("JSON").get("service");
                let service = service.word().unwrap_or_default().to_owned();
                let content = Content { list: *list, service, messages, is_captured: false };
                writer.write(number, sent, content);
            }
        }
    }
    for &number in differs.iter().flat_map(|differs| &differs.left) {
        let (list, messages) = (List::Worker, farewell());
        let content = Content { list, service: String::new(), messages, is_captured: false };
        writer.write(number, &frames[number - 1], content);
    }
    writer.expected
}

fn frames<'a>(scenario: &'a Scenario, row: &Row) -> Vec<Sent<'a>> {
    let mut frames: Vec<Sent<'_>> = Vec::new();
    let (mut sockets, mut connections) = (HashMap::new(), 0);
    for step in &scenario.steps {
        match &step.event {
            Event::Sent(frame) => {
                let frame = stand_in::replace(frame, row.stand_ins.get(&(frames.len() + 1)));
                let connection = *sockets.entry(step.socket).or_insert_with(|| {
                    connections += 1;
                    connections
                });
                let text = frame.text().to_owned();
                frames.push(Sent { connection, text, captured: None });
            }
            Event::Pushed(pushed) => {
                let last = frames.last_mut().expect("a frame before what is pushed for it");
                let captured = last.captured.get_or_insert_default();
                captured.extend(pushed.iter().map(|(list, text)| (*list, text.as_str())));
            }
            Event::Closed => drop(sockets.remove(&step.socket)),
            Event::Answered(_) | Event::Signalled(_) => {}
        }
    }
    frames
}

/// Gives conversations their numbers.
#[derive(Default)]
struct Writer {
    expected: Vec<Expected>,
    conversations: usize,
    /// The open sessions, by connection and thread.
    sessions: BTreeMap<(usize, Option<String>), usize>,
}

impl Writer {
    fn write(&mut self, frame: usize, sent: &Sent<'_>, content: Content) {
        let connection = sent.connection;
        let (thread, xid) = head(&sent.text);
        let key = (connection, thread.clone());
        let conversation = match content.list {
            List::Worker => *self
                .sessions
                .get(&key)
                .unwrap_or_else(|| panic!("frame {frame}: no session: {key:?}")),
            List::Router => {
                self.conversations += 1;
                self.conversations
            }
        };
        if holds(&content.messages, "CONNECT") {
            self.sessions.insert(key.clone(), conversation);
        }
        if holds(&content.messages, "DISCONNECT") {
            self.sessions.remove(&key);
        }
        let xid = xid.filter(|xid| is_plain_id(xid));
        self.expected.push(Expected { frame, connection, thread, conversation, xid, content });
    }
}
