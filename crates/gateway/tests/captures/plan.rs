//! What is to be done for a scenario, made from what was captured and its row in the table.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answer::{Assembly, Item};
use crate::expect::{Expected, What};
use crate::json::Json;
use crate::scenario::{Event, Frame, Scenario};
use crate::stand_in;
use crate::table::Row;

/// What is done next.
#[derive(Debug)]
pub(crate) enum Action {
    /// A frame is sent.
    Send(char, Frame),
    /// This is answered.
    Await(Box<Awaited>),
    /// A request is sent and answered: the connection serves.
    Probe(char),
    /// The client closes.
    Close(char),
    /// The gateway gets this signal.
    Signal(String),
}

/// An item of an answer that is waited for.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) socket: char,
    pub(crate) thread: Option<String>,
    /// The `log_xid` that the client gave in this conversation.
    pub(crate) xid: Option<String>,
    pub(crate) what: What,
    /// The frame that it answers, where the table says so.
    pub(crate) request: String,
}

/// Where a scenario is.
struct Planner<'a> {
    row: &'a Row,
    /// Frames so far, with their sockets. The first has number 1.
    frames: Vec<(char, Frame)>,
    /// The last `log_xid` of each conversation.
    xids: HashMap<Option<String>, Option<String>>,
    assembly: Assembly,
    /// Answers to the last frames may still stand in the capture.
    open: bool,
    signalled: bool,
    actions: Vec<Action>,
}

/// Makes the plan.
///
/// # Panics
/// The row speaks of frames that the scenario does not have.
pub(crate) fn plan(scenario: &Scenario, row: &Row) -> Vec<Action> {
    let mut planner = Planner {
        row,
        frames: Vec::new(),
        xids: HashMap::new(),
        assembly: Assembly::default(),
        open: false,
        signalled: false,
        actions: Vec::new(),
    };
    for step in &scenario.steps {
        match &step.event {
            Event::Sent(frame) => {
                planner.end_of_answers();
                planner.send(step.socket, frame);
            }
            Event::Pushed(..) => {}
            Event::Answered(text) => planner.captured(step.socket, text),
            Event::Closed => {
                planner.end_of_answers();
                planner.actions.push(Action::Close(step.socket));
            }
            Event::Signalled(name) => {
                planner.signalled = true;
                planner.actions.push(Action::Signal(name.clone()));
            }
        }
    }
    planner.end_of_answers();
    let named = row.instead.keys().chain(row.then.keys()).chain(row.own.keys());
    let last = named.chain(row.stand_ins.keys()).max().copied().unwrap_or_default();
    assert!(last <= planner.frames.len(), "{}: there is no frame {last}", row.name);
    planner.actions
}

impl Planner<'_> {
    fn number(&self) -> usize {
        self.frames.len()
    }

    fn send(&mut self, socket: char, frame: &Frame) {
        let asked = self.row.stand_ins.get(&(self.number() + 1));
        let frame = stand_in::replace(frame, asked);
        let (thread, xid) = head(frame.text());
        self.xids.insert(thread, xid);
        self.frames.push((socket, frame.clone()));
        self.open = true;
        self.actions.push(Action::Send(socket, frame));
    }

    fn captured(&mut self, socket: char, text: &str) {
        if self.row.replaced(self.number()).is_some() {
            return;
        }
        let arrived = self.assembly.take(text).unwrap_or_else(|error| {
            panic!("{}: the captured answer cannot be read: {error}", self.row.name)
        });
        for one in arrived {
            let Item::Message(message) = one.item else {
                panic!("{}: the reference never sends an error of this form", self.row.name)
            };
            self.wait(socket, one.thread, What::Captured(message), String::new());
        }
    }

    /// What the table says in the place of the captured answers to the last frames, or after them.
    fn end_of_answers(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let (number, row) = (self.number(), self.row);
        let answers = row.replaced(number).into_iter().chain(row.then.get(&number));
        let answers: Vec<Expected> = answers.flatten().cloned().collect();
        let Some((socket, _)) = self.frames.last().cloned() else { return };
        let changed = !answers.is_empty();
        for Expected { on, what } in answers {
            let (socket, frame) = self.frames[on.unwrap_or(number) - 1].clone();
            let thread = what.has_thread().then(|| head(frame.text()).0).flatten();
            self.wait(socket, thread, what, frame.text().to_owned());
        }
        if changed && !self.signalled {
            self.actions.push(Action::Probe(socket));
        }
    }

    fn wait(&mut self, socket: char, thread: Option<String>, what: What, request: String) {
        let xid = self.xids.get(&thread).cloned().flatten();
        let awaited = Awaited { socket, thread, xid, what, request };
        self.actions.push(Action::Await(Box::new(awaited)));
    }
}

/// The thread of a frame, empty if it names none, and its `log_xid`; nothing if it cannot be read.
pub(crate) fn head(frame: &str) -> (Option<String>, Option<String>) {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, default)]
        thread: Option<&'a RawValue>,
        #[serde(borrow, default)]
        log_xid: Option<&'a RawValue>,
    }
    let Ok(head) = serde_json::from_str::<Head<'_>>(frame) else { return (None, None) };
    let word = |raw: &RawValue| Json::read(raw.get()).ok()?.word().map(str::to_owned);
    (Some(head.thread.and_then(word).unwrap_or_default()), head.log_xid.and_then(word))
}
