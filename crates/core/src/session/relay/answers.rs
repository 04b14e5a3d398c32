//! The way of an answer, from an envelope to the client's text, and what the ledger learns from
//! it. Routers and listeners put a wrong trace on their errors; the bus thread tells whose they
//! are, and each request that they end gets its own.

use std::collections::VecDeque;
use std::time::Instant;

use super::Relay;
use super::settling::Broken;
use crate::event::{Event, Outcome};
use crate::osrf::Trace;
use crate::osrf::answer::{self, Answer, Body, Code};
use crate::osrf::envelope::{Address, Incoming, Outgoing, Recipient, Refusal};
use crate::osrf::message::{self, Kind};
use crate::osrf::status::{Status, reply, status_reply};
use crate::session::identity::ClientId;
use crate::session::ledger::{Bond, Conversation, Held, Request};
use crate::session::{Output, Session, State};

impl Session<Relay> {
    pub(super) fn on_envelope(&mut self, envelope: &Incoming, now: Instant) {
        let found = self
            .number_of(&envelope.thread)
            .and_then(|number| Some((number, self.upstream.ledger.get_mut(number)?)));
        let Some((number, conversation)) = found else {
            let farewell = answer::farewell(envelope, &self.config.rules.ingress);
            self.outputs.extend(farewell.map(Output::Upstream));
            return self.tell(Event::Stray);
        };
        let answers = match answer::read(&envelope.body) {
            Body::Messages(answers) => answers,
            Body::Other => {
                let text = reply(&conversation.thread, &conversation.xid, &envelope.body);
                return self.reply(text, now);
            }
        };
        let xid = answers
            .iter()
            .filter_map(|answer| answer.trace)
            .find_map(|trace| conversation.requests.iter().find(|r| r.trace == trace))
            .map_or_else(|| conversation.xid.clone(), |request| request.xid.clone());

        let mut learnt = Learnt::default();
        let mut body = String::with_capacity(envelope.body.len() + 2);
        body.push('[');
        for answer in &answers {
            learnt.learn(conversation, answer, &envelope.from, &mut body);
        }
        body.push(']');
        let text = reply(&conversation.thread, &xid, &body);
        self.reply(text, now);
        self.apply(number, learnt, now);
    }

    /// Draws the consequences of an answer, once the client has been given it.
    fn apply(&mut self, number: u64, learnt: Learnt, now: Instant) {
        let Some(conversation) = self.upstream.ledger.get_mut(number) else { return };
        let (thread, service) = (conversation.thread.clone(), conversation.service.clone());
        let abandoned =
            if learnt.over { std::mem::take(&mut conversation.requests) } else { Vec::new() };
        if learnt.worker.is_some() {
            let requests = learnt.released.iter().flat_map(|part| &part.requests);
            conversation.requests.extend(requests.cloned());
        }
        for (request, outcome) in learnt.settled {
            self.owed += 1;
            self.settled(&service, &thread, request, outcome, now);
        }
        let status = Status::never_executed("the session had ended");
        for part in learnt.released {
            self.tell(Event::Released(part.requests.len() as u64));
            match (&learnt.worker, learnt.refusal) {
                (Some(worker), _) => {
                    self.executed(&service, &part.requests, part.params);
                    self.send(number, Recipient::Worker(worker.clone()), &part.xid, part.body);
                }
                (None, Some(code)) => {
                    for _ in part.requests {
                        self.tell(Event::Rejected { code, xid: Some(part.xid.clone()) });
                    }
                }
                (None, None) => self.reject_held(&thread, part, &status, now),
            }
        }
        for request in abandoned {
            // A worker answers in order: what it had not answered when it left, it had not begun.
            self.reply(status_reply(&thread, &request.xid, request.trace, &status), now);
            self.settled(&service, &thread, request, Outcome::ServiceGone, now);
        }
        if learnt.ended {
            self.tell(Event::SessionEnded);
        }
        self.upstream.ledger.tidy(number);
    }

    pub(super) fn on_refused(&mut self, envelope: &Outgoing, why: &Refusal, now: Instant) {
        let found = self
            .number_of(&envelope.thread)
            .and_then(|number| Some((number, self.upstream.ledger.get_mut(number)?)));
        let Some((number, conversation)) = found else { return };
        let sent = message::read_all(&envelope.body);
        let (mut recalled, mut waiting, mut connect) = (Vec::new(), Vec::new(), None);
        for sent in sent {
            match sent.kind {
                Kind::Request => recalled.extend(conversation.settle(sent.trace)),
                Kind::Connect => {
                    if let Bond::Opening { held, .. } = &mut conversation.bond {
                        waiting.extend(std::mem::take(held));
                        conversation.bond = Bond::Over;
                        connect = Some(sent.trace);
                    }
                }
                Kind::Disconnect => {}
            }
        }
        let thread = conversation.thread.clone();
        let status = match why {
            Refusal::NotTaken(_) => Status::never_executed("the message bus did not take it"),
            Refusal::TooLarge { size, limit } => Status::too_large(*size, *limit),
        };
        if let Some(trace) = connect {
            self.reply(status_reply(&thread, &envelope.xid, trace, &status), now);
            self.tell(Event::SessionEnded);
        }
        for _ in &recalled {
            self.tell(Event::Recalled);
        }
        for request in recalled {
            self.reply(status_reply(&thread, &request.xid, request.trace, &status), now);
            self.tell(Event::Rejected { code: status.code, xid: Some(request.xid) });
        }
        for part in waiting {
            self.tell(Event::Released(part.requests.len() as u64));
            self.reject_held(&thread, part, &status, now);
        }
        self.upstream.ledger.tidy(number);
    }

    pub(super) fn on_bus_lost(&mut self, now: Instant) {
        self.upstream.bus_is_up = false;
        if let State::Closing(_) | State::Ending(_) = self.state {
            return;
        }
        let broken = Broken {
            outcome: Outcome::BusLost,
            why: Some("the message bus was lost"),
            reaches_worker: false,
        };
        for (number, conversation) in self.upstream.ledger.take_all() {
            self.settle_all(number, conversation, broken, now);
        }
    }

    /// Whether an envelope has arrived nobody can say: the conversation that it was part of cannot
    /// go on, and its worker, if it hears us, is told to roll back what it had begun.
    pub(super) fn on_uncertain(&mut self, envelope: &Outgoing, now: Instant) {
        let found = self
            .number_of(&envelope.thread)
            .and_then(|number| Some((number, self.upstream.ledger.take(number)?)));
        let Some((number, conversation)) = found else { return };
        let broken = Broken {
            outcome: Outcome::BusLost,
            why: Some("the connection to the service's message bus was lost"),
            reaches_worker: true,
        };
        self.settle_all(number, conversation, broken, now);
    }

    pub(super) fn settled(
        &mut self,
        service: &str,
        thread: &str,
        request: Request,
        outcome: Outcome,
        now: Instant,
    ) {
        self.tell(Event::Settled {
            service: service.to_owned(),
            method: request.method,
            thread: thread.to_owned(),
            trace: request.trace,
            xid: Some(request.xid),
            outcome,
            took: now.saturating_duration_since(request.since),
        });
    }

    /// Refuses what waited behind a CONNECT.
    pub(super) fn reject_held(&mut self, thread: &str, part: Held, status: &Status, now: Instant) {
        for trace in part.traces() {
            self.reply(status_reply(thread, &part.xid, trace, status), now);
        }
        for _ in part.requests {
            self.tell(Event::Rejected { code: status.code, xid: Some(part.xid.clone()) });
        }
    }

    pub(super) fn number_of(&self, thread: &str) -> Option<u64> {
        ClientId::parse_thread(thread)
            .filter(|(id, _)| *id == self.upstream.id)
            .map(|(_, number)| number)
    }
}

/// What an envelope tells the ledger.
#[derive(Default)]
struct Learnt {
    /// Requests that have their final answer.
    settled: Vec<(Request, Outcome)>,
    /// The worker that accepted a CONNECT.
    worker: Option<Address>,
    /// What need wait for the CONNECT no longer.
    released: Vec<Held>,
    /// What is in `released` was refused with the CONNECT, and the client told: the code.
    refusal: Option<u16>,
    /// The worker has left: what is pending with it will not be answered.
    over: bool,
    /// There is one session less.
    ended: bool,
}

impl Learnt {
    /// Learns from one message, and adds to `body` what the client gets in its place: the message
    /// itself, or one for each request that it really answers.
    fn learn(
        &mut self,
        conversation: &mut Conversation,
        answer: &Answer<'_>,
        from: &str,
        body: &mut String,
    ) {
        let failed = match answer.status {
            None | Some(Code::Other) => None,
            Some(Code::Connected) => {
                self.connected(conversation, from);
                None
            }
            Some(Code::Complete) => {
                self.settle(conversation, answer, Outcome::Complete);
                None
            }
            Some(Code::SessionOver) if conversation.bond != Bond::None => {
                self.settle(conversation, answer, Outcome::ErrorStatus);
                self.session_over(conversation);
                None
            }
            Some(Code::Failed | Code::SessionOver) => Some(Outcome::ErrorStatus),
            Some(Code::EnvelopeRefused) => Some(Outcome::Refused),
        };
        match failed {
            Some(outcome) => self.failed(conversation, answer, outcome, body),
            None => push(body, answer.text()),
        }
    }

    fn connected(&mut self, conversation: &mut Conversation, from: &str) {
        let Bond::Opening { held, since, leaves, .. } = &mut conversation.bond else { return };
        self.released.extend(std::mem::take(held));
        let leaves = *leaves || self.released.iter().any(|part| part.leaves);
        self.worker = Some(from.to_owned());
        self.ended |= leaves;
        conversation.bond =
            if leaves { Bond::Over } else { Bond::Open { worker: from.to_owned(), since: *since } };
    }

    fn session_over(&mut self, conversation: &mut Conversation) {
        match std::mem::replace(&mut conversation.bond, Bond::Over) {
            Bond::Opening { held, .. } => {
                self.released.extend(held);
                self.ended = true;
            }
            Bond::Open { .. } => self.ended = true,
            Bond::None | Bond::Over => {}
        }
        self.worker = None;
        self.over = true;
    }

    fn failed(
        &mut self,
        conversation: &mut Conversation,
        answer: &Answer<'_>,
        outcome: Outcome,
        body: &mut String,
    ) {
        let of_one = outcome == Outcome::ErrorStatus && self.settle(conversation, answer, outcome);
        if of_one || matches!(conversation.bond, Bond::Open { .. }) {
            if !of_one {
                self.settle(conversation, answer, outcome);
            }
            return push(body, answer.text());
        }
        // Everything that was sent with the envelope has failed, whatever trace the error carries,
        // and so would have what waited for it.
        let mut traces: Vec<Trace> = Vec::new();
        if let Bond::Opening { connect, held, .. } = &mut conversation.bond {
            traces.push(*connect);
            let held: VecDeque<Held> = std::mem::take(held);
            traces.extend(held.iter().flat_map(Held::traces));
            self.refusal = Some(answer.number);
            self.released.extend(held);
            self.ended = true;
            conversation.bond = Bond::Over;
        }
        for request in std::mem::take(&mut conversation.requests) {
            traces.push(request.trace);
            self.settled.push((request, outcome));
        }
        if traces.is_empty() {
            push(body, answer.text());
        }
        for trace in traces {
            push(body, &answer.text_for(trace));
        }
    }

    /// Settles the one request that an answer names. False if it is not there.
    fn settle(
        &mut self,
        conversation: &mut Conversation,
        answer: &Answer<'_>,
        outcome: Outcome,
    ) -> bool {
        let Some(request) = answer.trace.and_then(|trace| conversation.settle(trace)) else {
            return false;
        };
        self.settled.push((request, outcome));
        true
    }
}

/// Adds a message to an array that is open.
fn push(body: &mut String, text: &str) {
    if body.len() > 1 {
        body.push(',');
    }
    body.push_str(text);
}
