//! A program that runs for one client, driven by polling: what it says, what it takes, and how it
//! is brought to its end. It holds no buffer while nothing is under way.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::process::Signal;
use slackwater_core::session::program::Exit;
use slackwater_core::session::{FromProgram, Message};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::{Instant, Sleep, sleep_until};

use super::errors;
use super::framing::{Broken, Decoder, Framing};
use super::process::{Pipes, Process};
use super::trail::Trail;

/// Where a program's stderr goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    /// Into our log.
    Logged,
    /// To the client: it gets `{"stream":"stderr","data":…}`, and what the program says is wrapped
    /// in the same way.
    Passed,
}

/// How programs are spoken to and ended.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How messages stand in their input and output.
    pub framing: Framing,
    /// Where their stderr goes.
    pub errors: Errors,
    /// How much longer than usual they may take for each step of their end.
    pub grace: Duration,
}

/// A program and everything that is under way to and from it.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    manners: Manners,
    trail: Option<Box<Trail>>,
    input: Option<Sender>,
    output: Option<Receiver>,
    errors: Option<Receiver>,
    decoder: Decoder,
    error_lines: errors::Lines,
    /// What it has not taken yet, behind so many bytes that it has.
    waiting: Vec<u8>,
    taken: usize,
    said: VecDeque<FromProgram>,
    exit: Option<Exit>,
    ending: Ending,
    timer: Option<Pin<Box<Sleep>>>,
}

/// How far its end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It serves.
    Not,
    /// It has ended, or closed its output: that was told.
    Told,
    /// It is to end; the next rung of the ladder is this one.
    Ladder(usize),
    /// It has ended, and the rest of its group was told to.
    Group,
    /// Nothing of it is left.
    Gone,
}

/// The ladder: how long after the last rung what is sent. Its input has ended before.
const LADDER: [(Duration, Signal); 3] = [
    (Duration::from_millis(100), Signal::INT),
    (Duration::from_millis(250), Signal::TERM),
    (Duration::from_millis(500), Signal::KILL),
];

/// How long what is left of a group may take after SIGTERM.
const GROUP: Duration = Duration::from_millis(500);

/// How long the kernel may take to end what was killed.
const KILLED: Duration = Duration::from_secs(1);

/// How long one that has closed its output may take to end, before that alone counts.
const LINGERS: Duration = Duration::from_millis(100);

/// The most bytes that may wait for a program before its client is read no further.
const ENOUGH: usize = 64 * 1024;

/// How often in a row is looked at what it does.
const TURNS: usize = 32;

/// One read of a pipe: all that it can hold.
const PIPE: usize = 64 * 1024;

thread_local! {
    /// What was read just now; shared, since no client holds it from one poll to the next.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(PIPE));
}

impl Running {
    pub(crate) fn new(
        process: Process,
        pipes: Pipes,
        decoder: Decoder,
        manners: Manners,
        trail: Option<Box<Trail>>,
    ) -> Self {
        Self {
            process,
            manners,
            trail,
            input: Some(pipes.input),
            output: Some(pipes.output),
            errors: Some(pipes.errors),
            decoder,
            error_lines: errors::Lines::default(),
            waiting: Vec::new(),
            taken: 0,
            said: VecDeque::new(),
            exit: None,
            ending: Ending::Not,
            timer: None,
        }
    }

    /// Whether as much waits for it as may wait.
    pub(crate) const fn is_full(&self) -> bool {
        self.waiting.len() - self.taken >= ENOUGH
    }

    /// Queues a message for it.
    pub(crate) fn give(&mut self, message: Message) {
        self.manners.framing.encode(message, &mut self.waiting);
    }

    /// Sends it SIGUSR1.
    pub(crate) fn signal(&self) {
        if self.exit.is_none() {
            self.process.signal(Signal::USR1);
        }
    }

    /// It is to end: its input does as soon as it has taken what waits, and then the ladder begins.
    /// Gives the part of a message that it had begun to say.
    pub(crate) fn stop(&mut self) -> Option<Message> {
        match self.ending {
            Ending::Not | Ending::Told => {}
            Ending::Ladder(_) | Ending::Group | Ending::Gone => return None,
        }
        self.ending = Ending::Ladder(0);
        self.set_timer(LADDER[0].0 + self.manners.grace);
        self.said.clear();
        self.decoder.end().map(|message| self.wrapped("stdout", message))
    }

    /// Waits until nothing of it is left.
    pub(crate) async fn finish(mut self) {
        self.stop();
        poll_fn(|context| {
            while self.poll_next(context, true).is_ready() {}
            if self.ending == Ending::Gone { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        if let Some(trail) = &self.trail {
            trail.end(self.process.id());
        }
    }

    /// The next things that it does, at least one. What it says is read only if `reads`; once it is to
    /// end, it is read and thrown away.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        reads: bool,
    ) -> Poll<VecDeque<FromProgram>> {
        for _ in 0..TURNS {
            if self.ending == Ending::Gone {
                return Poll::Pending;
            }
            if !self.said.is_empty() {
                return Poll::Ready(std::mem::take(&mut self.said));
            }
            let advanced = self.advance_input(context)
                || ((reads || self.stops()) && self.advance_output(context))
                || self.advance_errors(context)
                || self.advance_end(context, reads);
            if !advanced {
                return Poll::Pending;
            }
        }
        // It writes faster than we throw away; others are served, too.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn stops(&self) -> bool {
        match self.ending {
            Ending::Not | Ending::Told => false,
            Ending::Ladder(_) | Ending::Group | Ending::Gone => true,
        }
    }

    /// Writes what waits. True if all of it was written, or never can be.
    fn advance_input(&mut self, context: &mut Context<'_>) -> bool {
        if self.waiting.is_empty() {
            if self.stops() {
                self.input = None;
            }
            return false;
        }
        while let Some(input) = &self.input
            && self.taken < self.waiting.len()
        {
            match input.try_write(&self.waiting[self.taken..]) {
                Ok(written) => self.taken += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match input.poll_write_ready(context) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => self.input = None,
                        Poll::Pending => return false,
                    }
                }
                // It has closed its input: it wants to hear no more.
                Err(_) => self.input = None,
            }
        }
        self.waiting = Vec::new();
        self.taken = 0;
        if !self.stops() {
            self.said.push_back(FromProgram::Taken);
        }
        true
    }

    /// Reads what it says. True if something has come.
    fn advance_output(&mut self, context: &mut Context<'_>) -> bool {
        let Some(output) = &self.output else { return false };
        let stops = self.stops();
        let mut messages = VecDeque::new();
        let read = poll_read(output, self.exit.is_some(), context, |bytes| {
            if stops { Ok(()) } else { self.decoder.take(bytes, &mut messages) }
        });
        let decoded = match read {
            Read::Nothing => return false,
            Read::End => {
                self.output = None;
                return true;
            }
            Read::Some(_) if stops => return true,
            Read::Some(decoded) => decoded,
        };
        let stirs = messages.is_empty();
        let said = messages.into_iter().map(|message| self.said(message));
        let said: Vec<_> = said.chain(stirs.then_some(FromProgram::Stirred)).collect();
        self.said.extend(said);
        if let Err(broken) = decoded {
            self.said.push_back(FromProgram::Broken(broken.words()));
        }
        true
    }

    /// Reads its stderr. True if something has come.
    fn advance_errors(&mut self, context: &mut Context<'_>) -> bool {
        let Some(errors) = &self.errors else { return false };
        let mut lines = VecDeque::new();
        let read = poll_read(errors, self.exit.is_some(), context, |bytes| {
            self.error_lines.take(bytes, &mut lines);
            Ok(())
        });
        match read {
            Read::Nothing => return false,
            Read::End => {
                self.errors = None;
                lines.extend(self.error_lines.end());
            }
            Read::Some(_) => {}
        }
        for line in lines {
            self.tell_error(line);
        }
        true
    }

    fn tell_error(&mut self, line: String) {
        let pid = self.process.id();
        match (self.manners.errors, &self.trail) {
            (Errors::Logged, None) => tracing::warn!(pid, line, "stderr"),
            (Errors::Logged, Some(trail)) => trail.complaint(pid, &line),
            (Errors::Passed, _) if self.stops() => {}
            (Errors::Passed, _) => {
                let message = self.wrapped("stderr", Message::Text(line));
                self.said.push_back(FromProgram::Aside(message));
            }
        }
    }

    /// Looks whether it has ended, and makes it end. True if there is something new.
    fn advance_end(&mut self, context: &mut Context<'_>, reads: bool) -> bool {
        if self.exit.is_none()
            && let Poll::Ready(exit) = self.process.poll_exit(context)
        {
            self.exit = Some(exit);
            // What it has said before is read first.
            return true;
        }
        match self.ending {
            Ending::Not => {
                let told = match (self.exit, &self.output) {
                    (Some(exit), None) => Some(exit),
                    // Others of its group may hold the pipe, but all that it said itself is read.
                    (Some(exit), Some(_)) if reads => Some(exit),
                    (Some(_) | None, Some(_)) => None,
                    (None, None) => {
                        self.timer_rings(context, LINGERS).then_some(Exit::OutputClosed)
                    }
                };
                let Some(exit) = told else { return false };
                tracing::debug!(pid = self.process.id(), %exit, "program ended");
                let last = self.decoder.end().map(|message| self.said(message));
                self.said.extend(last);
                self.said.push_back(FromProgram::Ended(exit));
                self.ending = Ending::Told;
                true
            }
            Ending::Told | Ending::Gone => false,
            Ending::Ladder(rung) => {
                if self.exit.is_some() {
                    if self.process.reap() {
                        self.tell_group(Signal::TERM);
                        self.set_timer(GROUP + self.manners.grace);
                        self.ending = Ending::Group;
                    } else {
                        self.ending = Ending::Gone;
                    }
                    return true;
                }
                if !self.timer_rings(context, KILLED) {
                    return false;
                }
                let Some((_, signal)) = LADDER.get(rung) else {
                    tracing::error!(pid = self.process.id(), "a program cannot be killed");
                    self.ending = Ending::Gone;
                    return true;
                };
                self.tell_group(*signal);
                let next =
                    LADDER.get(rung + 1).map_or(KILLED, |(wait, _)| *wait + self.manners.grace);
                self.set_timer(next);
                self.ending = Ending::Ladder(rung + 1);
                true
            }
            Ending::Group => {
                if !self.timer_rings(context, GROUP) {
                    return false;
                }
                if self.process.group_lives() {
                    self.tell_group(Signal::KILL);
                }
                self.ending = Ending::Gone;
                true
            }
        }
    }

    fn tell_group(&mut self, signal: Signal) {
        tracing::info!(pid = self.process.id(), signal = ?signal, "program told to end");
        // Whoever has not read by now will not.
        self.input = None;
        self.waiting = Vec::new();
        self.taken = 0;
        self.process.signal(signal);
    }

    fn said(&self, message: Message) -> FromProgram {
        FromProgram::Said(self.wrapped("stdout", message))
    }

    fn wrapped(&self, stream: &str, message: Message) -> Message {
        match (self.manners.errors, message) {
            (Errors::Passed, Message::Text(data)) => {
                Message::Text(serde_json::json!({ "stream": stream, "data": data }).to_string())
            }
            (Errors::Passed, message @ Message::Binary(_)) | (Errors::Logged, message) => message,
        }
    }

    fn set_timer(&mut self, wait: Duration) {
        self.timer = Some(Box::pin(sleep_until(Instant::now() + wait)));
    }

    /// Whether the timer has rung; if none is set, it is set to `wait` now.
    fn timer_rings(&mut self, context: &mut Context<'_>, wait: Duration) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + wait)));
        let rings = timer.as_mut().poll(context).is_ready();
        if rings {
            self.timer = None;
        }
        rings
    }
}

/// What a read has brought.
enum Read {
    Nothing,
    Some(Result<(), Broken>),
    End,
}

/// Reads what is there. Of a program that has `ended` everything is, whether the runtime has heard
/// of it yet or not: its end may be told before its last words.
fn poll_read(
    pipe: &Receiver,
    ended: bool,
    context: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> Result<(), Broken>,
) -> Read {
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            buffer.clear();
            let read = if ended {
                rustix::io::read(pipe, spare_capacity(buffer)).map_err(io::Error::from)
            } else {
                pipe.try_read_buf(buffer)
            };
            match read {
                Ok(0) => return Read::End,
                Ok(_) => return Read::Some(take(buffer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if ended {
                        return Read::Nothing;
                    }
                    match pipe.poll_read_ready(context) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return Read::End,
                        Poll::Pending => return Read::Nothing,
                    }
                }
                Err(_) => return Read::End,
            }
        }
    })
}
