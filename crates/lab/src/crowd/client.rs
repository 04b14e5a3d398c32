//! One client for its life: errand after errand, connection after connection. One that keeps the
//! close contract connects again on 1012, and sends again what got no answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::visit::{Closed, Errand, Kind, Visit, Wanted};
use super::{Habits, Seen, Stage};
use crate::caller::Caller;
use crate::chance::Chance;
use crate::ledger::Totals;

const RETRY: Duration = Duration::from_millis(3);
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_STREAM: u64 = 8;

/// One client, for its life.
pub(super) struct Client {
    server: SocketAddr,
    habits: Habits,
    number: u64,
    chance: Chance,
    stage: watch::Receiver<Stage>,
    serial: u64,
    seen: Seen,
}

impl Client {
    pub(super) fn new(
        server: SocketAddr,
        habits: Habits,
        number: u64,
        chance: Chance,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        Self { server, habits, number, chance, stage, serial: 0, seen: Seen::default() }
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
            let ended = self.visit(&mut visit, &mut errand, &mut busy).await;
            let totals = self.leave(visit.caller, ended).await?;
            self.seen.totals += totals;
            if !self.habits.resends {
                errand = None;
            }
            if busy.is_none() {
                return Ok(self.seen);
            }
        }
    }

    /// Leaves a connection that has ended, in order or not.
    async fn leave(&mut self, caller: Caller, ended: io::Result<Closed>) -> io::Result<Totals> {
        let reason = match ended {
            Ok(reason) => reason,
            Err(error) if self.habits.endures && is_an_end(&error) => {
                self.seen.broken += 1;
                return Ok(caller.abandon());
            }
            Err(error) => return Err(error),
        };
        match reason.as_str() {
            "drained" => self.seen.drained += 1,
            "deadline" => self.seen.deadline += 1,
            _ => return Err(io::Error::other(format!("closed for {reason:?}"))),
        }
        caller.leave(1012).await
    }

    /// `None` if the gateway takes nobody now.
    async fn connect(&mut self) -> io::Result<Option<Caller>> {
        match Caller::connect(self.server).await {
            Ok(caller) => return Ok(Some(caller)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.seen.reset += 1,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.seen.refused += 1;
            }
            Err(error) if is_unavailable(&error) => self.seen.unavailable += 1,
            Err(error) if self.habits.endures && is_an_end(&error) => self.seen.broken += 1,
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
            let time = self.chance.time(self.habits.longest_thought);
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
            _ => Wanted::Echo {
                value: format!("{}.{}", self.number, self.serial),
                work: self.chance.time(self.habits.longest_work),
            },
        }
    }
}

/// Whether it is how TCP ends.
fn is_an_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// Whether it is an answer of the gateway, or of a balancer in front of it, that nobody serves.
fn is_unavailable(error: &io::Error) -> bool {
    let text = error.to_string();
    ["502", "503", "504"].iter().any(|code| text.starts_with(&format!("HTTP/1.1 {code} ")))
}
