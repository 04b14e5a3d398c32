//! A client that keeps the close contract: on 1012 it connects again, and sends again what got no
//! answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{LABEL, Seen, Stage};
use crate::caller::{Caller, DEMO, Heard};
use crate::chance::Chance;
use crate::ledger::{Key, Verdict};
use crate::opensrf::{self, Answer};

/// Something that a client wants done. What is interrupted is begun again with what is left.
#[derive(Debug, Clone)]
struct Errand {
    kind: Kind,
    /// What is to come back, each exactly once. No two clients want the same.
    wanted: Vec<Wanted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Requests on their own, all at once.
    Calls,
    /// A session with one request after the other.
    Session,
    /// A session whose CONNECT, requests and DISCONNECT go out at once.
    Pipelined,
}

#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// This value.
    Echo(String),
    /// So many results.
    Stream(u64),
}

/// Why nothing more can be done on a connection: the reason of its Close.
type Closed = String;

/// What a client hears but pings.
enum News {
    /// See [`Heard::Answers`].
    Answers {
        settled: Vec<(Key, Verdict)>,
        others: Vec<Answer>,
    },
    Closed(Closed),
}

/// All clients have the same thread names and traces: their names are their own.
const STATELESS: &str = "calls";
const SESSION: &str = "session";

const LONGEST_THOUGHT: Duration = Duration::from_millis(40);
const RETRY: Duration = Duration::from_millis(3);
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_STREAM: u64 = 8;

/// One client, for its life.
pub(super) struct Client {
    server: SocketAddr,
    number: u64,
    chance: Chance,
    stage: watch::Receiver<Stage>,
    serial: u64,
    seen: Seen,
}

impl Client {
    pub(super) fn new(
        server: SocketAddr,
        number: u64,
        chance: Chance,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        Self { server, number, chance, stage, serial: 0, seen: Seen::default() }
    }

    /// Runs errands until they are to end, tells so by dropping `busy`, and then waits for a drain
    /// to close its connection.
    pub(super) async fn live(mut self, busy: Arc<()>) -> io::Result<Seen> {
        let (mut busy, mut errand) = (Some(busy), None);
        loop {
            let Some(caller) = self.connect().await? else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let mut visit = Visit { caller, trace: 0 };
            let reason = self.visit(&mut visit, &mut errand, &mut busy).await?;
            match reason.as_str() {
                "drained" => self.seen.drained += 1,
                "deadline" => self.seen.deadline += 1,
                _ => return Err(io::Error::other(format!("closed for {reason:?}"))),
            }
            self.seen.totals += visit.caller.leave(1012).await?;
            if busy.is_none() {
                return Ok(self.seen);
            }
        }
    }

    /// `None` if the gateway takes nobody now.
    async fn connect(&mut self) -> io::Result<Option<Caller>> {
        match Caller::connect(self.server).await {
            Ok(caller) => return Ok(Some(caller)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.seen.reset += 1,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.seen.refused += 1;
            }
            Err(error) if error.to_string().starts_with("HTTP/1.1 503 ") => {
                self.seen.unavailable += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Does what can be done on one connection, until its Close.
    async fn visit(
        &mut self,
        visit: &mut Visit,
        errand: &mut Option<Errand>,
        busy: &mut Option<Arc<()>>,
    ) -> io::Result<Closed> {
        loop {
            if errand.is_none() && *self.stage.borrow() == Stage::Ending {
                *busy = None;
                return visit.think(None).await?.ok_or_else(|| io::ErrorKind::TimedOut.into());
            }
            let current = match errand {
                Some(errand) => {
                    self.seen.again += 1;
                    errand
                }
                None => {
                    self.seen.errands += 1;
                    errand.insert(self.errand())
                }
            };
            while !current.wanted.is_empty() {
                if let Some(closed) = visit.run(current, &mut self.seen).await? {
                    return Ok(closed);
                }
                // What was refused would be refused again at once.
                if !current.wanted.is_empty()
                    && let Some(closed) = visit.think(Some(PAUSE)).await?
                {
                    return Ok(closed);
                }
            }
            *errand = None;
            let time = self.chance.time(LONGEST_THOUGHT);
            if let Some(closed) = visit.think(Some(time)).await? {
                return Ok(closed);
            }
        }
    }

    fn errand(&mut self) -> Errand {
        let (kind, most) = match self.chance.below(4) {
            0 => (Kind::Session, 4),
            1 => (Kind::Pipelined, 4),
            _ => (Kind::Calls, 6),
        };
        let count = 1 + self.chance.below(most);
        let wanted = (0..count).map(|_| self.wanted()).collect();
        Errand { kind, wanted }
    }

    fn wanted(&mut self) -> Wanted {
        self.serial += 1;
        match self.chance.below(4) {
            0 => Wanted::Stream(1 + self.chance.below(LONGEST_STREAM)),
            _ => Wanted::Echo(format!("{}.{}", self.number, self.serial)),
        }
    }
}

/// A client's stay on one connection.
struct Visit {
    caller: Caller,
    trace: u32,
}

impl Visit {
    /// Tries all of an errand once, and takes what is done out of it. Gives the reason if the
    /// connection was closed meanwhile.
    async fn run(&mut self, errand: &mut Errand, seen: &mut Seen) -> io::Result<Option<Closed>> {
        let thread = if errand.kind == Kind::Calls { STATELESS } else { SESSION };
        if errand.kind != Kind::Calls {
            self.caller.raw.send_text(&opensrf::connect(DEMO, SESSION)).await?;
        }
        if errand.kind == Kind::Session {
            match self.hear().await? {
                News::Answers { others, .. } if others.iter().any(|answer| answer.code == 200) => {}
                // The CONNECT was refused.
                News::Answers { .. } => return Ok(None),
                News::Closed(closed) => return Ok(Some(closed)),
            }
        }
        let mut open: Vec<(Key, Wanted)> = Vec::new();
        for wanted in errand.wanted.clone() {
            self.trace += 1;
            let key = (thread, self.trace);
            self.send(key, &wanted).await?;
            open.push(((thread.to_owned(), self.trace), wanted));
            if errand.kind == Kind::Session
                && let Some(closed) = self.settle(&mut open, errand, seen).await?
            {
                return Ok(Some(closed));
            }
        }
        if errand.kind != Kind::Calls {
            self.caller.raw.send_text(&opensrf::disconnect(SESSION)).await?;
        }
        self.settle(&mut open, errand, seen).await
    }

    async fn send(&mut self, key: (&str, u32), wanted: &Wanted) -> io::Result<()> {
        match wanted {
            Wanted::Echo(value) => self.caller.echo(key, json!(value), LABEL).await,
            Wanted::Stream(count) => {
                let results = (1..=*count).map(Value::from);
                self.caller.call(key, "stream", &json!([count, 0.001, LABEL]), results).await
            }
        }
    }

    /// Hears until no request is open.
    async fn settle(
        &mut self,
        open: &mut Vec<(Key, Wanted)>,
        errand: &mut Errand,
        seen: &mut Seen,
    ) -> io::Result<Option<Closed>> {
        while self.caller.open() > 0 {
            let settled = match self.hear().await? {
                News::Answers { settled, .. } => settled,
                News::Closed(closed) => return Ok(Some(closed)),
            };
            for (key, verdict) in settled {
                let place = open.iter().position(|(asked, _)| *asked == key);
                let Some(place) = place else {
                    return Err(io::Error::other(format!("{key:?} was not asked now")));
                };
                let (_, wanted) = open.swap_remove(place);
                match verdict {
                    Verdict::Answered => seen.done += 1,
                    Verdict::Unknown => seen.given_up += 1,
                    // It was not executed: it stays wanted.
                    Verdict::Refused => continue,
                }
                if let Some(place) = errand.wanted.iter().position(|other| *other == wanted) {
                    errand.wanted.swap_remove(place);
                }
            }
        }
        Ok(None)
    }

    /// Does nothing for so long, or until the Close.
    async fn think(&mut self, time: Option<Duration>) -> io::Result<Option<Closed>> {
        self.caller.raw.patience = Duration::from_secs(60);
        let hearing = async {
            loop {
                if let News::Closed(closed) = self.hear().await? {
                    return Ok(Some(closed));
                }
            }
        };
        match time {
            Some(time) => tokio::time::timeout(time, hearing).await.unwrap_or(Ok(None)),
            None => hearing.await,
        }
    }

    /// What comes next. Pings are answered.
    async fn hear(&mut self) -> io::Result<News> {
        loop {
            match self.caller.hear().await? {
                Heard::Answers { settled, others } => return Ok(News::Answers { settled, others }),
                Heard::Ping(payload) => self.caller.pong(&payload).await?,
                Heard::Close { code: 1012, reason } => return Ok(News::Closed(reason)),
                close @ Heard::Close { .. } => {
                    return Err(io::Error::other(format!("{close:?}")));
                }
            }
        }
    }
}
