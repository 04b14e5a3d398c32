//! The verdict on every scenario, with its reason, and what is expected where it is not the
//! captured.

mod pushed;
mod redis;
mod xmpp;

use std::collections::BTreeMap;

use slackwater_lab::site::Bus;

use crate::expect::Answers;
use crate::stand_in::Asked;

pub(crate) use pushed::{Difference, Instead, differences};

/// What a replay comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answered as captured.
    Same,
    /// Answered where the reference crashed, was silent or told something wrong.
    Better,
    /// What was captured cannot happen with the demo services. Frames that a client sent
    /// are replayed all the same.
    NotApplicable,
}

/// Which gateway it is replayed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// With the defaults.
    Plain,
    /// With workers that leave a session after 3 s of silence.
    Idle,
    /// With workers that leave a session after 3 requests.
    FewRequests,
    /// One of its own, which is drained.
    Drained,
}

/// The verdict on one scenario.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) reason: &'static str,
    pub(crate) setting: Setting,
    /// What is answered behind a frame, by its number, in the place of what was captured there up
    /// to the next frame.
    pub(crate) instead: BTreeMap<usize, Answers>,
    /// The same where the bus is XMPP, whose servers take no larger stanza than theirs.
    over_xmpp: BTreeMap<usize, Answers>,
    /// What is answered behind a frame after what was captured there.
    pub(crate) then: BTreeMap<usize, Answers>,
    /// What a demo service says in its own way, in the place of what was captured.
    pub(crate) own: BTreeMap<usize, Answers>,
    /// What a frame asks in the place of what was captured.
    pub(crate) stand_ins: BTreeMap<usize, Asked>,
}

/// All verdicts.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = redis::rows();
    rows.extend(xmpp::rows());
    rows
}

fn same(name: &'static str, reason: &'static str) -> Row {
    Row::new(name, Verdict::Same, reason)
}

fn better(name: &'static str, reason: &'static str) -> Row {
    Row::new(name, Verdict::Better, reason)
}

fn not_applicable(name: &'static str, reason: &'static str) -> Row {
    Row::new(name, Verdict::NotApplicable, reason)
}

impl Row {
    fn new(name: &'static str, verdict: Verdict, reason: &'static str) -> Self {
        Self {
            name,
            verdict,
            reason,
            setting: Setting::Plain,
            instead: BTreeMap::new(),
            over_xmpp: BTreeMap::new(),
            then: BTreeMap::new(),
            own: BTreeMap::new(),
            stand_ins: BTreeMap::new(),
        }
    }

    fn on(self, setting: Setting) -> Self {
        Self { setting, ..self }
    }

    fn instead(mut self, frame: usize, answers: Answers) -> Self {
        self.instead.insert(frame, answers);
        self
    }

    fn over_xmpp(mut self, frame: usize, answers: Answers) -> Self {
        self.over_xmpp.insert(frame, answers);
        self
    }

    fn then(mut self, frame: usize, answers: Answers) -> Self {
        self.then.insert(frame, answers);
        self
    }

    fn own(mut self, frame: usize, answers: Answers) -> Self {
        self.own.insert(frame, answers);
        self
    }

    fn asking(mut self, frame: usize, asked: Asked) -> Self {
        self.stand_ins.insert(frame, asked);
        self
    }

    /// The verdict where this is the bus.
    pub(crate) fn on_bus(mut self, bus: Bus) -> Self {
        match bus {
            Bus::Embedded | Bus::Redis => {}
            Bus::Xmpp(_) => self.instead.append(&mut self.over_xmpp),
        }
        self
    }

    /// What is expected behind a frame in the place of what was captured there, if anything.
    pub(crate) fn replaced(&self, frame: usize) -> Option<&Answers> {
        self.instead.get(&frame).or_else(|| self.own.get(&frame))
    }
}
