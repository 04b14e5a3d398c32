//! A program as the upstream of one client. What is owed is what the chosen tracker says; when
//! nothing is, the connection may close, and only then does the program's input end. When the
//! program ends by itself, its exit status becomes the close code (DRAIN.md, "With a program
//! behind it").

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::upstream::{Message, Upstream};
use super::{Config, Deadlines, Output, Session, State};
use crate::event::{Cause, Event, Outcome};
use crate::osrf::status::Status;
use crate::track::{Asked, Book, Notice, OpenSession, Pending, Track};

/// What a program is to one client.
#[derive(Debug)]
pub struct Program {
    rules: ProgramRules,
    book: Book,
    /// Something that was given to the program has not been taken by it.
    waits: bool,
    /// When it will have been quiet for long enough, unless it is quiet already.
    quiet_at: Option<Instant>,
    /// When the program is to be sent SIGUSR1.
    signal_at: Option<Instant>,
    /// Whether it has been.
    signalled: bool,
}

/// What holds for every client of a kind of program.
#[derive(Debug, Clone)]
pub struct ProgramRules {
    /// What it is called where a service would be named.
    pub name: Arc<str>,
    /// What "pending" means.
    pub track: Track,
    /// For [`Track::Quiet`]: how long no byte may have passed.
    pub track_idle: Duration,
    /// Whether the program is sent SIGUSR1 at a drain, whatever the tracker.
    pub relay_usr1: bool,
    /// Whether a message with line breaks reaches the program as so many lines.
    pub splits_lines: bool,
}

/// What the program tells.
#[derive(Debug)]
pub enum FromProgram {
    /// A whole message for the client.
    Said(Message),
    /// A whole message for the client that answers nothing.
    Aside(Message),
    /// Part of one: a byte has passed.
    Stirred,
    /// It has taken everything that it was given.
    Taken,
    /// It will say nothing more.
    Ended(Exit),
    /// What it says cannot be understood, in a few words.
    Broken(&'static str),
}

/// What is wanted of the program.
#[derive(Debug, PartialEq, Eq)]
pub enum ToProgram {
    /// Write this to it.
    Give(Message),
    /// Send it SIGUSR1.
    Signal,
    /// Give the client what is half said, end the program's input, and see that it ends.
    Stop,
}

/// How a program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It has closed its output and lives on.
    OutputClosed,
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "exit status {status}"),
            Self::Signal(signal) => write!(formatter, "killed by signal {signal}"),
            Self::OutputClosed => formatter.write_str("output closed"),
        }
    }
}

impl Session<Program> {
    /// A session that begins now, with its program running.
    pub fn of_program(config: Arc<Config>, rules: ProgramRules, now: Instant) -> Self {
        let program = Program {
            rules,
            book: Book::default(),
            waits: false,
            quiet_at: None,
            signal_at: None,
            signalled: false,
        };
        Self::over(program, config, now)
    }

    /// What it owes.
    pub fn book(&self) -> &Book {
        &self.upstream.book
    }

    fn stirred(&mut self, now: Instant) {
        if self.upstream.rules.track == Track::Quiet {
            self.upstream.quiet_at = Some(now + self.upstream.rules.track_idle);
        }
    }

    /// Why what the client asks now may not pass, if it may not.
    fn refusal(&self, notices: &[Notice], now: Instant) -> Option<Status> {
        let asks = count(notices, |notice| matches!(notice, Notice::Asked(_)));
        let opens = count(notices, |notice| matches!(notice, Notice::Opened { .. }));
        let book = &self.upstream.book;
        let asks_anything = asks + opens > 0 || !self.upstream.rules.track.names();
        if asks_anything && self.executes_no_more(now) {
            Some(Status::never_executed("the gateway is being stopped"))
        } else if asks > 0 && book.pending().len() + asks > self.config.max_requests_in_flight {
            Some(Status::never_executed("too many requests are in flight on this connection"))
        } else if opens > 0 && book.sessions().len() + opens > self.config.max_sessions {
            Some(Status::never_executed("too many sessions are open on this connection"))
        } else {
            None
        }
    }

    fn refuse(&mut self, notices: Vec<Notice>, requests: u64, status: &Status, now: Instant) {
        let track = self.upstream.rules.track;
        for _ in 0..requests {
            self.tell(Event::Rejected { code: status.code, xid: None });
        }
        for notice in notices {
            let reply = match notice {
                Notice::Asked(Asked { thread, trace, xid, .. }) => {
                    track.status_reply(&thread, &xid, trace, status)
                }
                Notice::Opened { thread, trace, .. } => {
                    track.status_reply(&thread, "", trace, status)
                }
                Notice::Answered { .. }
                | Notice::Refused { .. }
                | Notice::Left { .. }
                | Notice::Over { .. }
                | Notice::AskedClient { .. }
                | Notice::AnsweredProgram { .. } => None,
            };
            if let Some(reply) = reply {
                self.reply(reply, now);
            }
        }
    }

    fn learn_from_client(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Asked(Asked { thread, trace, service, method, xid }) => {
                let book = &mut self.upstream.book;
                let of_session = || book.sessions().iter().find(|open| open.thread == thread);
                let service = service
                    .or_else(|| of_session().map(|open| open.service.clone()))
                    .unwrap_or_else(|| self.upstream.rules.name.to_string());
                self.outputs.push_back(Output::Event(Event::Executed {
                    service: service.clone(),
                    method: method.clone(),
                    params: None,
                    xid: xid.clone(),
                }));
                book.ask(Pending { thread, trace, service, method, xid, since: now });
            }
            Notice::Opened { thread, service, trace } => {
                let session = OpenSession { thread, service, trace, since: now };
                if self.upstream.book.open(session) {
                    self.tell(Event::SessionBegun);
                }
            }
            Notice::Left { thread } => {
                let left = self.upstream.book.leave(&thread);
                self.session_ended(left.is_some());
            }
            Notice::AnsweredProgram { id } => self.upstream.book.answer_program(&id),
            // Not a client's to say.
            Notice::Answered { .. }
            | Notice::Refused { .. }
            | Notice::Over { .. }
            | Notice::AskedClient { .. } => {}
        }
    }

    fn learn_from_program(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Answered { thread, trace, outcome } => {
                if let Some(request) = self.upstream.book.settle(&thread, trace) {
                    self.owed += 1;
                    self.settled_named(request, outcome, now);
                } else if outcome == Outcome::ErrorStatus {
                    let failed = self.upstream.book.fail(&thread, trace);
                    self.session_ended(failed.is_some());
                }
            }
            Notice::Refused { thread } => {
                for request in self.upstream.book.settle_thread(&thread) {
                    self.owed += 1;
                    self.settled_named(request, Outcome::Refused, now);
                }
                let left = self.upstream.book.leave(&thread);
                self.session_ended(left.is_some());
            }
            Notice::Over { thread } => {
                for request in self.upstream.book.settle_thread(&thread) {
                    self.settled_named(request, Outcome::ServiceGone, now);
                }
                let left = self.upstream.book.leave(&thread);
                self.session_ended(left.is_some());
            }
            Notice::AskedClient { id } => {
                self.upstream.book.ask_client(id, self.config.max_requests_in_flight);
            }
            // Not a program's to say.
            Notice::Asked(_)
            | Notice::Opened { .. }
            | Notice::Left { .. }
            | Notice::AnsweredProgram { .. } => {}
        }
    }

    fn session_ended(&mut self, ended: bool) {
        if ended {
            self.tell(Event::SessionEnded);
        }
    }

    fn settled_named(&mut self, request: Pending, outcome: Outcome, now: Instant) {
        let Pending { thread, trace, service, method, since, .. } = request;
        let took = now.saturating_duration_since(since);
        let xid = None;
        self.tell(Event::Settled { service, method, thread, trace, xid, outcome, took });
    }

    /// So many of the requests of which only the number is known are answered.
    fn answered(&mut self, requests: u64) {
        let answered = self.upstream.book.count_down(requests);
        if answered == 0 {
            return;
        }
        if self.unwritten {
            self.owed += answered;
        } else {
            self.tell(Event::Answered(answered));
        }
    }

    fn on_aside(&mut self, message: Message, now: Instant) {
        self.stirred(now);
        let reply = match message {
            Message::Text(text) => Output::Reply(text),
            Message::Binary(bytes) => Output::ReplyBinary(bytes),
        };
        self.answer(reply, now);
    }

    fn on_said(&mut self, message: Message, now: Instant) {
        let notices = match &message {
            Message::Text(text) => self.upstream.rules.track.of_program(text),
            Message::Binary(_) => Vec::new(),
        };
        self.on_aside(message, now);
        for notice in notices {
            self.learn_from_program(notice, now);
        }
        if self.upstream.rules.track == Track::Lines {
            self.answered(1);
        }
    }

    fn on_taken(&mut self, now: Instant) {
        self.upstream.waits = false;
        self.stirred(now);
        if self.upstream.rules.track == Track::Program {
            // What it makes of them is its own affair.
            self.answered(u64::MAX);
        }
    }

    fn on_exit(&mut self, exit: Exit, now: Instant) {
        let drains = matches!(self.state, State::Draining(_));
        if self.upstream.rules.track == Track::Quiet && exit_is_orderly(exit) {
            // What it has said is all there was to say.
            self.answered(u64::MAX);
        }
        let (cause, code, reason) = match exit {
            Exit::Status(0) if drains => {
                (Cause::Drained, self.config.close_code, Cow::Borrowed("drained"))
            }
            Exit::Status(0) => (Cause::ProgramEnded, 1000, "the program has ended".into()),
            Exit::OutputClosed if self.upstream.book.is_empty() => {
                (Cause::ProgramEnded, 1000, exit.to_string().into())
            }
            Exit::Status(_) | Exit::Signal(_) | Exit::OutputClosed => {
                (Cause::ProgramFailed, 1011, exit.to_string().into())
            }
        };
        self.on_end(cause, code, reason, now);
    }

    /// The program is of no more use.
    fn on_end(&mut self, cause: Cause, code: u16, reason: Cow<'static, str>, now: Instant) {
        self.settle_rest(Outcome::ServiceGone, None, now);
        let end_by = Some(now + self.config.close_timeout);
        self.close(cause, code, reason, end_by, now);
    }

    /// Settles everything that is left. The client is told if there is a status for it.
    fn settle_rest(&mut self, outcome: Outcome, status: Option<&Status>, now: Instant) {
        let track = self.upstream.rules.track;
        let book = &mut self.upstream.book;
        let (named, sessions, unnamed) = (book.settle_all(), book.leave_all(), book.unnamed());
        book.ask_client_no_more();
        book.count_down(u64::MAX);
        for request in named {
            let Pending { thread, trace, xid, .. } = &request;
            let reply = status.and_then(|status| track.status_reply(thread, xid, *trace, status));
            if let Some(reply) = reply {
                self.reply(reply, now);
            }
            self.settled_named(request, outcome, now);
        }
        for OpenSession { thread, service, since, .. } in sessions {
            if outcome == Outcome::CutOff {
                let took = now.saturating_duration_since(since);
                self.tell(Event::SessionCutOff { service, thread, took });
            }
            self.tell(Event::SessionEnded);
        }
        if let Some((requests, since)) = unnamed {
            let took = now.saturating_duration_since(since);
            self.tell(Event::Dropped { requests, outcome, took });
        }
    }

    /// How many requests a message of the client's holds, and what it tells beside.
    fn read(&self, message: &Message) -> (Vec<Notice>, u64) {
        let Program { rules, .. } = &self.upstream;
        if rules.track.names() {
            let Message::Text(text) = message else { return (Vec::new(), 0) };
            let notices = rules.track.of_client(text, &self.config.rules);
            let asked = count(&notices, |notice| matches!(notice, Notice::Asked(_)));
            return (notices, asked as u64);
        }
        let lines = match message {
            Message::Text(text) if rules.track == Track::Lines && rules.splits_lines => {
                memchr::memchr_iter(b'\n', text.as_bytes()).count() + 1
            }
            Message::Text(_) | Message::Binary(_) => 1,
        };
        (Vec::new(), lines as u64)
    }
}

fn exit_is_orderly(exit: Exit) -> bool {
    match exit {
        Exit::Status(status) => status == 0,
        Exit::OutputClosed => true,
        Exit::Signal(_) => false,
    }
}

fn count(notices: &[Notice], which: impl Fn(&Notice) -> bool) -> usize {
    notices.iter().filter(|notice| which(notice)).count()
}

impl Upstream for Program {
    type Input = FromProgram;
    type Order = ToProgram;

    fn owes_nothing(&self) -> bool {
        let decides = match self.rules.track {
            Track::Program => false,
            Track::Osrf | Track::JsonRpc | Track::Lines | Track::Quiet => true,
        };
        decides && self.book.is_empty() && !self.waits && self.quiet_at.is_none()
    }

    /// Nothing is read from the client that the program cannot take.
    fn held_bytes(&self) -> usize {
        0
    }

    fn on_message(session: &mut Session<Self>, message: Message, now: Instant) {
        let (notices, requests) = session.read(&message);
        if requests > 0 {
            session.tell(Event::Received(requests));
        }
        if let Some(status) = session.refusal(&notices, now) {
            return session.refuse(notices, requests, &status, now);
        }
        session.stirred(now);
        if !session.upstream.rules.track.names() {
            session.tell(Event::Passed(requests));
            session.upstream.book.count(requests, now);
        }
        for notice in notices {
            session.learn_from_client(notice, now);
        }
        session.upstream.waits = true;
        session.outputs.push_back(Output::Upstream(ToProgram::Give(message)));
    }

    fn on_crossing(session: &mut Session<Self>, message: Message) {
        let (notices, requests) = session.read(&message);
        if requests > 0 {
            let thread = notices.into_iter().find_map(|notice| match notice {
                Notice::Asked(asked) => Some(asked.thread),
                Notice::Answered { .. }
                | Notice::Refused { .. }
                | Notice::Opened { .. }
                | Notice::Left { .. }
                | Notice::Over { .. }
                | Notice::AskedClient { .. }
                | Notice::AnsweredProgram { .. } => None,
            });
            session.tell(Event::Crossed { requests, thread: thread.unwrap_or_default() });
        }
    }

    fn on_input(session: &mut Session<Self>, input: FromProgram, now: Instant) {
        match session.state {
            State::Open | State::Draining(_) => {}
            // Nobody is left to hear it.
            State::Closing(_) | State::Ending(_) | State::Closed(_) => return,
        }
        match input {
            FromProgram::Said(message) => session.on_said(message, now),
            FromProgram::Aside(message) => session.on_aside(message, now),
            FromProgram::Stirred => {
                session.stirred(now);
                session.data_passed(now);
            }
            FromProgram::Taken => session.on_taken(now),
            FromProgram::Ended(exit) => session.on_exit(exit, now),
            FromProgram::Broken(how) => session.on_end(Cause::ProgramFailed, 1011, how.into(), now),
        }
    }

    fn cut_off(session: &mut Session<Self>, now: Instant) {
        let status = Status::outcome_unknown("the gateway is being stopped");
        if session.upstream.rules.track == Track::Program {
            session.tell(Event::ProgramCutOff);
        }
        session.settle_rest(Outcome::CutOff, Some(&status), now);
    }

    fn client_gone(session: &mut Session<Self>, now: Instant) {
        session.settle_rest(Outcome::ClientGone, None, now);
    }

    fn on_closing(session: &mut Session<Self>, _now: Instant) {
        session.outputs.push_back(Output::Upstream(ToProgram::Stop));
    }

    fn on_drain(&mut self, deadlines: &Deadlines) {
        if self.rules.track == Track::Program || self.rules.relay_usr1 {
            self.signal_at = Some(deadlines.slot).filter(|_| !self.signalled);
        }
    }

    fn on_undrain(&mut self) {
        self.signal_at = None;
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.quiet_at, self.signal_at].into_iter().flatten().min()
    }

    fn advance(session: &mut Session<Self>, now: Instant) {
        let program = &mut session.upstream;
        if program.signal_at.take_if(|at| *at <= now).is_some() {
            program.signalled = true;
            session.outputs.push_back(Output::Upstream(ToProgram::Signal));
        }
        if session.upstream.quiet_at.take_if(|at| *at <= now).is_some() {
            session.answered(u64::MAX);
        }
    }
}
