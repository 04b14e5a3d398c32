//! One client on stdin and stdout, a line a message: the same session and the same bus as behind a
//! WebSocket. For whoever keeps websocketd, or any other program that starts one process a client.

mod lines;

use std::collections::VecDeque;
use std::fs::File;
use std::future::pending;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slackwater_bus::{Bus, Event as BusEvent, Sender};
use slackwater_core::event::{Cause, Event};
use slackwater_core::osrf::answer::farewell;
use slackwater_core::osrf::envelope::{Incoming, Refusal};
use slackwater_core::session::identity::ClientId;
use slackwater_core::session::{
    Deadlines, FromBus, Input, Message, Output, Phase, Session, Traffic,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use self::lines::{Lines, line};
use crate::clock::now;
use crate::config::{Settings, parts};
use crate::serve::{ServeError, Stay, join_bus};
use crate::told;

/// While more than this waits for stdout, nothing is read from stdin.
const READING_STOPS: usize = 256 * 1024;

/// One read of stdin.
const PIECE: usize = 64 * 1024;

/// How long leaving the bus may take: what is queued for it is sent, our lists are read dry.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves one client until it has gone, or has been drained by SIGUSR1 or SIGTERM.
///
/// # Errors
/// [`ServeError`], before anything was read.
pub async fn serve(settings: &Settings) -> Result<ExitCode, ServeError> {
    let system = |what| move |reason| ServeError::System { what, reason };
    let signals = Signals::install().map_err(system("signal handlers"))?;
    let mut bits = [0; 24];
    getrandom::fill(&mut bits)
        .map_err(|error| system("randomness")(io::Error::other(error.to_string())))?;
    let (name, seed) = bits.split_at(16);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
    let id = ClientId::from_random(number(name));
    let input = input().map_err(system("stdin"))?;
    let output = output().map_err(system("stdout"))?;

    let Bus { sender, mut events } = join_bus(settings, Stay::Brief).await?;
    let mut config = parts::session(settings);
    // What passes here is not the client's own connection: whoever has that looks whether it lives.
    config.ping_interval = None;
    let rules = config.rules.clone();
    let since = now();
    let client = Client {
        session: Session::new(Arc::new(config), id, number(seed) as u64, since),
        id,
        rules,
        sender: sender.clone(),
        name: client_name(),
        limit: settings.limits.queued_bytes,
        deadline: settings.drain.deadline,
        lines: Lines::new(settings.limits.message_size + 1),
        waiting: VecDeque::new(),
        written: 0,
        unwritten: Vec::new(),
        received: 0,
        pong: None,
        closing: false,
        drains: false,
    };
    client.run(input, output, &mut events, signals).await;
    // A bus whose events nobody takes ends at once, and what waits for it with it.
    let left = async {
        tokio::join!(sender.close(), async { while events.recv().await.is_some() {} });
    };
    if timeout(FAREWELL, left).await.is_err() {
        tracing::warn!("the bus was not left in order");
    }
    Ok(ExitCode::SUCCESS)
}

struct Signals {
    user1: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            user1: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one. True if there is no time left.
    async fn next(&mut self) -> bool {
        tokio::select! {
            Some(()) = self.user1.recv() => false,
            Some(()) = self.terminate.recv() => false,
            Some(()) = self.interrupt.recv() => true,
            else => pending().await,
        }
    }
}

struct Client {
    session: Session,
    id: ClientId,
    rules: slackwater_core::osrf::wrapper::Rules,
    sender: Sender,
    /// Who it is, for the log.
    name: String,
    /// The most bytes that may wait for stdout.
    limit: usize,
    deadline: Option<Duration>,
    lines: Lines,
    /// Lines that were read and not handed on.
    waiting: VecDeque<Vec<u8>>,
    unwritten: Vec<u8>,
    written: u64,
    received: u64,
    /// A Ping that is answered as soon as what came before it has been read: there is no way to
    /// the client and back here.
    pong: Option<u64>,
    /// The session has closed: nothing more is read, and it ends when all is written.
    closing: bool,
    drains: bool,
}

impl Client {
    async fn run(
        mut self,
        mut input: Box<dyn AsyncRead + Unpin>,
        mut output: Box<dyn AsyncWrite + Unpin>,
        events: &mut mpsc::Receiver<BusEvent>,
        mut signals: Signals,
    ) {
        let mut piece = vec![0; PIECE];
        while self.session.phase() != Phase::Closed {
            if let Some(line) = self.waiting.pop_front() {
                self.on_line(line);
                continue;
            }
            if self.closing && self.unwritten.is_empty() {
                self.input(Input::PeerClose);
                self.input(Input::Ended(Cause::Eof));
                continue;
            }
            let due = self.session.poll_timeout();
            let reads = !self.closing && self.unwritten.len() <= READING_STOPS;
            let answers_ping = self.pong.is_some();
            tokio::select! {
                // What has been sent before a Ping is read before its Pong.
                biased;
                read = input.read(&mut piece), if reads => match read {
                    Ok(0) | Err(_) => {
                        self.waiting.extend(self.lines.end());
                        while let Some(line) = self.waiting.pop_front() {
                            self.on_line(line);
                        }
                        self.input(Input::Ended(Cause::Eof));
                    }
                    Ok(length) => {
                        self.received += length as u64;
                        self.lines.take(&piece[..length], &mut self.waiting);
                        self.tell_traffic();
                    }
                },
                written = output.write(&self.unwritten), if !self.unwritten.is_empty() => {
                    self.on_written(written.unwrap_or(0));
                }
                event = events.recv() => match event {
                    Some(event) => self.on_bus(event),
                    None => self.input(Input::Ended(Cause::Eof)),
                },
                hurries = signals.next() => self.drain(hurries),
                () = tokio::task::yield_now(), if answers_ping => {
                    if let Some(nonce) = self.pong.take() {
                        self.input(Input::Pong(nonce));
                    }
                }
                () = rings(due) => {
                    self.tell_traffic();
                    self.turn(|session, now| session.handle_timeout(now));
                }
            }
            if self.unwritten.len() > self.limit {
                self.input(Input::Overflow);
            }
        }
    }

    fn on_line(&mut self, line: Vec<u8>) {
        let message = String::from_utf8(line)
            .map_or_else(|error| Message::Binary(error.into_bytes()), Message::Text);
        self.input(Input::Message(message));
    }

    /// So much was written; nothing if it cannot be any more.
    fn on_written(&mut self, length: usize) {
        match length {
            1.. => {
                self.written += length as u64;
                self.unwritten.drain(..length);
                self.tell_traffic();
                if self.unwritten.is_empty() {
                    self.unwritten = Vec::new();
                    self.input(Input::Flushed);
                }
            }
            0 => self.input(Input::Ended(Cause::Reset)),
        }
    }

    fn on_bus(&mut self, event: BusEvent) {
        match event {
            BusEvent::Received(envelopes) => {
                for envelope in envelopes {
                    self.on_envelope(envelope);
                }
            }
            BusEvent::Refused { envelope, why } => {
                self.input(Input::Upstream(FromBus::Refused(envelope, why)));
            }
            BusEvent::Bounced(bounce) => self.input(Input::Upstream(FromBus::Bounced(bounce))),
            BusEvent::Uncertain { envelope, .. } => {
                self.input(Input::Upstream(FromBus::Uncertain(envelope)));
            }
            BusEvent::Lost { reason } => {
                tracing::error!(reason, "bus lost");
                self.input(Input::Upstream(FromBus::Lost));
            }
            BusEvent::Restored => {
                tracing::info!("bus restored");
                self.input(Input::Upstream(FromBus::Restored));
            }
        }
    }

    fn on_envelope(&mut self, envelope: Incoming) {
        if ClientId::parse_thread(&envelope.thread).is_some_and(|(id, _)| id == self.id) {
            self.input(Input::Upstream(FromBus::Envelope(envelope)));
        } else if let Some(envelope) = farewell(&envelope, &self.rules.ingress)
            && self.sender.send(envelope).is_err()
        {
            tracing::debug!("a worker could not be told that its client has left");
        }
    }

    /// Told to drain; told again by a signal that does not wait, everything is cut off.
    fn drain(&mut self, hurries: bool) {
        let now = now();
        if hurries {
            self.input(Input::hurry(now));
        } else if !std::mem::replace(&mut self.drains, true) {
            let hard = self.deadline.map(|deadline| now + deadline);
            let soft = self.deadline.map(|deadline| now + deadline * 3 / 4);
            tracing::info!("draining");
            self.input(Input::Drain(Deadlines { slot: now, soft, hard }));
        }
    }

    fn tell_traffic(&mut self) {
        let traffic = Traffic {
            received: self.received,
            written: self.written,
            unsent: 0,
            mid_message: self.lines.is_amid(),
            paused: false,
        };
        self.input(Input::Traffic(traffic));
    }

    fn input(&mut self, input: Input) {
        self.turn(|session, now| session.handle_input(input, now));
    }

    /// One input, and then every output: the law of the core.
    fn turn(&mut self, input: impl FnOnce(&mut Session, Instant)) {
        input(&mut self.session, now());
        let mut refused = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Upstream(envelope) => refused.extend(self.sender.send(envelope).err()),
                Output::Reply(text) => self.unwritten.extend(line(text)),
                // A bus gives none.
                Output::ReplyBinary(_) => {}
                Output::Ping(nonce) => self.pong = Some(nonce),
                Output::Close { code, reason } => {
                    tracing::info!(code, %reason, "closed");
                    self.closing = true;
                }
                Output::Finish | Output::Reset => self.closing = true,
                Output::Event(event) => self.tell(&event),
            }
        }
        for envelope in refused {
            let full = Refusal::NotTaken("too much waits for the bus".to_owned());
            self.input(Input::Upstream(FromBus::Refused(envelope, full)));
        }
    }

    fn tell(&self, event: &Event) {
        told::log(&self.name, || self.name.clone(), event);
    }
}

/// Who the client is, as the program that started us says: CGI's variables.
fn client_name() -> String {
    let named = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    named("HTTP_X_FORWARDED_FOR")
        .or_else(|| named("REMOTE_ADDR"))
        .unwrap_or_else(|| "stdio".to_owned())
}

async fn rings(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// Our stdin. A pipe's end is ours alone and can be waited for; anything else is read by a thread.
fn input() -> io::Result<Box<dyn AsyncRead + Unpin>> {
    let stdin = io::stdin();
    if !stdin.is_terminal()
        && let Some(pipe) = pipe_of(stdin.as_fd().try_clone_to_owned()?)?
    {
        return Ok(Box::new(pipe::Receiver::from_owned_fd(pipe)?));
    }
    Ok(Box::new(tokio::io::stdin()))
}

/// Our stdout, likewise.
fn output() -> io::Result<Box<dyn AsyncWrite + Unpin>> {
    let stdout = io::stdout();
    if !stdout.is_terminal()
        && let Some(pipe) = pipe_of(stdout.as_fd().try_clone_to_owned()?)?
    {
        return Ok(Box::new(pipe::Sender::from_owned_fd(pipe)?));
    }
    Ok(Box::new(tokio::io::stdout()))
}

fn pipe_of(descriptor: OwnedFd) -> io::Result<Option<OwnedFd>> {
    let file = File::from(descriptor);
    Ok(file.metadata()?.file_type().is_fifo().then(|| file.into()))
}
