//! A client's stay on one connection: what it wants done, and how it goes about it.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LABEL, Seen};
use crate::caller::{Caller, DEMO, Heard};
use crate::ledger::{Key, Verdict};
use crate::opensrf::{self, Answer};

/// Something that a client wants done. What is interrupted is begun again with what is left.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) kind: Kind,
    /// What is to come back, each exactly once. No two clients want the same.
    pub(super) wanted: Vec<Wanted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Requests on their own, all at once.
    Calls,
    /// A session with one request after the other.
    Session,
    /// A session whose CONNECT, requests and DISCONNECT go out at once.
    Pipelined,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// This value, on which a worker works for so long.
    Echo { value: String, work: Duration },
    /// So many results.
    Stream(u64),
}

/// Why nothing more can be done on a connection: the reason of its Close.
pub(super) type Closed = String;

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

/// A client's stay on one connection.
pub(super) struct Visit {
    pub(super) caller: Caller,
    pub(super) trace: u32,
}

impl Visit {
    /// Tries all of an errand once, and takes what is done out of it. Gives the reason if the
    /// connection was closed meanwhile.
    pub(super) async fn run(
        &mut self,
        errand: &mut Errand,
        seen: &mut Seen,
    ) -> io::Result<Option<Closed>> {
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
            Wanted::Echo { value, work } => {
                let params = json!([work.as_secs_f64(), value, LABEL]);
                self.caller.call(key, "wait", &params, [json!(value)]).await
            }
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
                    Verdict::Refused | Verdict::Unserved => continue,
                }
                if let Some(place) = errand.wanted.iter().position(|other| *other == wanted) {
                    errand.wanted.swap_remove(place);
                }
            }
        }
        Ok(None)
    }

    /// Does nothing for so long, or until the Close.
    pub(super) async fn think(&mut self, time: Option<Duration>) -> io::Result<Option<Closed>> {
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
