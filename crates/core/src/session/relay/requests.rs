//! The way of a request, from the client's text to an envelope for the bus: refused with an
//! answer, held behind a CONNECT, or sent on. Nothing is met with silence.

use std::collections::VecDeque;
use std::time::Instant;

use super::Relay;
use crate::event::Event;
use crate::osrf::Trace;
use crate::osrf::envelope::{Outgoing, Recipient};
use crate::osrf::message::{BadMessage, Kind, Message};
use crate::osrf::status::{Status, error_reply, status_reply};
use crate::osrf::wrapper::{self, Fault, Service, Xid};
use crate::session::identity::xid;
use crate::session::ledger::{Bond, Conversation, Held, Request};
use crate::session::{Output, Session};

/// What a part of a wrapper has in common.
struct Context<'a> {
    thread: &'a str,
    service: &'a Service<'a>,
    xid: &'a str,
}

impl Session<Relay> {
    pub(super) fn take_text(&mut self, text: &str, now: Instant) {
        let config = self.config.clone();
        let wrapper = match wrapper::read(text, &config.rules) {
            Ok(wrapper) => wrapper,
            Err(fault) => return self.refuse_text(&fault, now),
        };
        let xid = match wrapper.xid {
            Xid::Given(xid) => xid.into_owned(),
            Xid::Absent => self.make_xid(),
            Xid::Bad => {
                self.tell(Event::XidReplaced);
                self.make_xid()
            }
        };
        let context = Context { thread: &wrapper.thread, service: &wrapper.service, xid: &xid };
        let mut part = Vec::new();
        for message in wrapper.messages {
            match message {
                Err(bad) => self.refuse_message(&context, bad, now),
                Ok(message) => {
                    let leaves = message.kind == Kind::Disconnect;
                    part.push(message);
                    if leaves {
                        // What follows a DISCONNECT begins afresh.
                        self.take_part(&context, std::mem::take(&mut part), now);
                    }
                }
            }
        }
        if !part.is_empty() {
            self.take_part(&context, part, now);
        }
    }

    /// A message behind our Close: counted, never executed.
    pub(super) fn count_crossing(&mut self, text: &str) {
        let Ok(wrapper) = wrapper::read(text, &self.config.rules) else { return };
        let is_request = |message: &Result<Message<'_>, BadMessage>| match message {
            Ok(message) => message.kind == Kind::Request,
            Err(bad) => bad.is_request,
        };
        let requests = wrapper.messages.iter().filter(|message| is_request(message)).count() as u64;
        if requests > 0 {
            self.tell(Event::Crossed { requests, thread: wrapper.thread.into_owned() });
        }
    }

    /// Messages that belong together, with at most one DISCONNECT, which is last.
    fn take_part(&mut self, context: &Context<'_>, part: Vec<Message<'_>>, now: Instant) {
        let session = self.upstream.ledger.session(context.thread);
        let part = self.admit(context, part, session, now);
        let Some(last) = part.last() else { return };
        let leaves = last.kind == Kind::Disconnect;
        let connects: Vec<Trace> = part
            .iter()
            .filter(|message| message.kind == Kind::Connect)
            .map(|message| message.trace)
            .collect();
        let texts: Vec<&str> = part.iter().map(|message| message.text.as_str()).collect();
        let body = ["[", &texts.join(","), "]"].concat();
        let asks = || part.iter().filter(|message| message.kind == Kind::Request);
        let params: Vec<String> = match &self.config.activity {
            Some(shown) => asks().map(|ask| shown.show(&ask.method, ask.params)).collect(),
            None => Vec::new(),
        };
        let requests: Vec<Request> = asks()
            .map(|message| Request {
                trace: message.trace,
                method: message.method.clone(),
                xid: context.xid.to_owned(),
                since: now,
            })
            .collect();

        let Some(number) = session else {
            let Service::Named(service) = context.service else { return };
            let bond = connects.first().map_or(Bond::None, |connect| Bond::Opening {
                connect: *connect,
                since: now,
                held: VecDeque::new(),
                leaves,
            });
            if !connects.is_empty() {
                self.tell(Event::SessionBegun);
            } else if leaves && requests.is_empty() {
                // There is no session to end; a worker would be taken up for nothing.
                return;
            }
            let number = self.upstream.ledger.number();
            self.executed(service, &requests, params);
            self.upstream.ledger.enter(
                number,
                Conversation {
                    thread: context.thread.to_owned(),
                    service: service.clone().into_owned(),
                    xid: context.xid.to_owned(),
                    bond,
                    requests,
                },
            );
            let to = Recipient::Service(service.clone().into_owned());
            return self.send(number, to, context.xid, body);
        };

        if leaves {
            self.upstream.ledger.leave(context.thread);
        }
        let Some(conversation) = self.upstream.ledger.get_mut(number) else { return };
        context.xid.clone_into(&mut conversation.xid);
        match &mut conversation.bond {
            Bond::Opening { held, .. } => {
                let count = requests.len() as u64;
                let xid = context.xid.to_owned();
                held.push_back(Held { body, xid, connects, requests, params, leaves });
                self.tell(Event::Held(count));
            }
            Bond::Open { worker, .. } => {
                let to = Recipient::Worker(worker.clone());
                if leaves {
                    conversation.bond = Bond::Over;
                    self.outputs.push_back(Output::Event(Event::SessionEnded));
                }
                let service = conversation.service.clone();
                conversation.requests.extend(requests.iter().cloned());
                self.executed(&service, &requests, params);
                self.send(number, to, context.xid, body);
                self.upstream.ledger.tidy(number);
            }
            Bond::None | Bond::Over => {}
        }
    }

    /// Answers what may not pass, and gives back what may.
    fn admit<'a>(
        &mut self,
        context: &Context<'_>,
        part: Vec<Message<'a>>,
        session: Option<u64>,
        now: Instant,
    ) -> Vec<Message<'a>> {
        let opens = part.iter().any(|message| message.kind == Kind::Connect);
        let requests = part.iter().filter(|message| message.kind == Kind::Request).count();
        let bytes: usize = part.iter().map(|message| message.text.len()).sum();
        let refusal = self.refusal(context, session, opens, requests, bytes, now);
        self.received(requests);
        let Some(refusal) = refusal else { return part };
        let mut passed = Vec::new();
        for message in part {
            match message.kind {
                Kind::Request => self.reject(context, message.trace, &refusal, now),
                Kind::Connect => {
                    let text = status_reply(context.thread, context.xid, message.trace, &refusal);
                    self.reply(text, now);
                }
                // To leave a session is never refused.
                Kind::Disconnect if session.is_some() => passed.push(message),
                Kind::Disconnect => {}
            }
        }
        passed
    }

    /// Why the requests of a part may not pass, if they may not.
    fn refusal(
        &self,
        context: &Context<'_>,
        session: Option<u64>,
        opens: bool,
        requests: usize,
        bytes: usize,
        now: Instant,
    ) -> Option<Status> {
        if !opens && requests == 0 {
            return None;
        }
        if session.is_none() {
            match context.service {
                Service::Named(_) => {}
                Service::Absent => {
                    let text = "no service is named, and no session is open on this thread";
                    return Some(Status::bad_service(text));
                }
                Service::Bad => {
                    let text = "the service name is not one that may be asked: 1 to 128 of \
                                A-Z a-z 0-9 . _ - and not \"router\"";
                    return Some(Status::bad_service(text));
                }
            }
        }
        let in_flight = self.upstream.ledger.pending() + self.upstream.ledger.held();
        let waits = session.is_some_and(|number| self.upstream.ledger.is_opening(number));
        if !self.upstream.bus_is_up {
            Some(Status::never_executed("the message bus is not there"))
        } else if self.executes_no_more(now) {
            Some(Status::never_executed("the gateway is being stopped"))
        } else if requests > 0 && in_flight + requests > self.config.max_requests_in_flight {
            Some(Status::never_executed("too many requests are in flight on this connection"))
        } else if opens
            && session.is_none()
            && self.upstream.ledger.sessions() >= self.config.max_sessions
        {
            Some(Status::never_executed("too many sessions are open on this connection"))
        } else if waits && self.upstream.ledger.held_bytes() + bytes > self.config.max_held_bytes {
            Some(Status::never_executed("too much waits for sessions to open"))
        } else {
            None
        }
    }

    pub(super) fn refuse_text(&mut self, fault: &Fault, now: Instant) {
        self.tell(Event::Invalid { code: fault.code });
        let Fault { thread, code, message, offset } = fault;
        self.reply(error_reply(thread.as_deref(), code, message, *offset), now);
    }

    fn refuse_message(&mut self, context: &Context<'_>, bad: BadMessage, now: Instant) {
        let status = Status::bad_request(bad.text);
        if bad.is_request {
            self.received(1);
        }
        match bad.trace {
            Some(trace) if bad.is_request => self.reject(context, trace, &status, now),
            Some(trace) => {
                self.tell(Event::Invalid { code: "bad_message" });
                self.reply(status_reply(context.thread, context.xid, trace, &status), now);
            }
            None => {
                if bad.is_request {
                    self.tell(Event::Rejected {
                        code: status.code,
                        xid: Some(context.xid.to_owned()),
                    });
                } else {
                    self.tell(Event::Invalid { code: "bad_message" });
                }
                let thread = Some(context.thread);
                self.reply(error_reply(thread, "bad_message", &status.text, None), now);
            }
        }
    }

    fn reject(&mut self, context: &Context<'_>, trace: Trace, status: &Status, now: Instant) {
        self.tell(Event::Rejected { code: status.code, xid: Some(context.xid.to_owned()) });
        self.reply(status_reply(context.thread, context.xid, trace, status), now);
    }

    fn received(&mut self, requests: usize) {
        if requests > 0 {
            self.tell(Event::Received(requests as u64));
        }
    }

    pub(super) fn executed(&mut self, service: &str, requests: &[Request], params: Vec<String>) {
        let mut params = params.into_iter();
        for request in requests {
            self.tell(Event::Executed {
                service: service.to_owned(),
                method: request.method.clone(),
                params: params.next(),
                xid: request.xid.clone(),
            });
        }
    }

    pub(super) fn send(&mut self, number: u64, to: Recipient, xid: &str, body: String) {
        let thread = self.upstream.id.thread(number);
        self.outputs.push_back(Output::Upstream(Outgoing {
            to,
            thread,
            xid: xid.to_owned(),
            body,
        }));
    }

    fn make_xid(&self) -> String {
        xid(self.upstream.xid_seed, self.upstream.messages)
    }
}
