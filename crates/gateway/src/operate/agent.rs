//! HAProxy's agent check (`agent-check`): what a gateway says of itself, one line a connection.
//!
//! Law: `drain` is said from the announcement on, and HAProxy holds to it until somebody says
//! `ready`. So `ready` is said by a gateway that has said `drain` before, or whose predecessor has,
//! and for a moment only: an operator's own `set server … state drain` stays as it is.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::status::Phase;
use crate::clock::now;
use crate::gateway::Gateway;

/// Each balancer hears `ready` for so long from its first question on: time for two questions at
/// HAProxy's own pace of 2 s, and at any other pace for one.
const RETURNING: Duration = Duration::from_secs(5);
/// From the first `ready` on, balancers that have not asked yet hear it for so long.
const RETURNED: Duration = Duration::from_secs(60);
/// Balancers that are told apart.
const MOST_BALANCERS: usize = 64;
/// How much of the reason for being down is told, in letters.
const REASON: usize = 120;

/// What was said, and what has to be said because of it.
#[derive(Debug, Default)]
struct Agent {
    /// `drain` was said, and has not been taken back.
    is_out: bool,
    /// Since when each balancer hears `ready`.
    returning: HashMap<IpAddr, Instant>,
}

impl Agent {
    /// The answer to the balancer at this address.
    fn answer(
        &mut self,
        phase: Phase,
        trouble: Option<&str>,
        balancer: IpAddr,
        now: Instant,
    ) -> String {
        match phase {
            Phase::Announce | Phase::Refuse | Phase::Ebb | Phase::Drained => {
                self.is_out = true;
                self.returning.clear();
                "drain\n".to_owned()
            }
            Phase::Serving => match trouble {
                Some(reason) => {
                    let plain = reason.chars().filter(|letter| !letter.is_control()).take(REASON);
                    format!("down #{}\n", plain.collect::<String>())
                }
                None if self.hears_ready(balancer, now) => "up ready\n".to_owned(),
                None => "up\n".to_owned(),
            },
        }
    }

    fn hears_ready(&mut self, balancer: IpAddr, now: Instant) -> bool {
        if !self.is_out {
            return false;
        }
        let since = |began: &Instant| now.saturating_duration_since(*began);
        if self.returning.values().any(|began| since(began) >= RETURNED) {
            self.is_out = false;
            self.returning.clear();
            return false;
        }
        if self.returning.len() >= MOST_BALANCERS && !self.returning.contains_key(&balancer) {
            return true;
        }
        since(self.returning.entry(balancer).or_insert(now)) < RETURNING
    }
}

/// That `drain` was said, for the next process to know: a file that is there or not.
#[derive(Debug)]
struct Mark(PathBuf);

impl Mark {
    /// The mark of whoever answers at this address.
    fn of(directory: &Path, address: SocketAddr) -> Self {
        let name = format!("agent-said-drain-{}-{}", address.ip(), address.port());
        Self(directory.join(name.replace(':', "_")))
    }

    fn is_set(&self) -> bool {
        // A link that somebody else has put there is not followed, here or below.
        fs::symlink_metadata(&self.0).is_ok()
    }

    fn set(&self, set: bool) -> io::Result<()> {
        if !set {
            return fs::remove_file(&self.0);
        }
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory)?;
        }
        match OpenOptions::new().write(true).create_new(true).open(&self.0) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// How long somebody may take to hear the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions that may be open at once; others wait in the queue of the socket.
const MOST_OPEN: usize = 64;
/// Between attempts to accept when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers everyone who connects, for ever. What must outlive the process is kept in `directory`.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, directory: PathBuf) {
    let Ok(address) = listener.local_addr() else { return };
    let mark = Mark::of(&directory, address);
    let mut agent = Agent { is_out: mark.is_set(), ..Agent::default() };
    let open = Arc::new(Semaphore::new(MOST_OPEN));
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&open).acquire_owned().await else { return };
        let (stream, balancer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "agent: cannot accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let was_out = agent.is_out;
        let status = gateway.status_now();
        let trouble = status.trouble();
        let answer = agent.answer(status.phase, trouble.as_deref(), balancer.ip(), now());
        if agent.is_out != was_out
            && let Err(error) = mark.set(agent.is_out)
        {
            let path = mark.0.display();
            tracing::warn!(%path, %error, "agent: the next start will not know of this drain");
        }
        tokio::spawn(async move {
            // Who does not listen asks again.
            timeout(PATIENCE, tell(stream, &answer)).await.ok();
            drop(place);
        });
    }
}

async fn tell(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // To close on unread bytes (`agent-send`) would reset the connection, and the answer with it.
    let mut rest = [0; 256];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn serving(agent: &mut Agent, balancer: IpAddr, now: Instant) -> String {
        agent.answer(Phase::Serving, None, balancer, now)
    }

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn in_normal_service_it_never_says_ready() {
        let (mut agent, began) = (Agent::default(), now());
        for second in 0..1_000 {
            assert_eq!(serving(&mut agent, ONE, after(began, second)), "up\n");
        }
    }

    #[test]
    fn each_balancer_hears_ready_after_a_drain_and_only_for_a_moment() {
        let (mut agent, began) = (Agent::default(), now());
        assert_eq!(agent.answer(Phase::Announce, None, ONE, began), "drain\n");
        for (second, balancer, answer) in [
            (100, ONE, "up ready\n"),
            (104, ONE, "up ready\n"),
            (105, ONE, "up\n"),
            (120, OTHER, "up ready\n"),
            (125, OTHER, "up\n"),
            (159, ONE, "up\n"),
            (160, IpAddr::from([10, 0, 0, 3]), "up\n"),
        ] {
            assert_eq!(serving(&mut agent, balancer, after(began, second)), answer, "{second}");
        }
        assert!(!agent.is_out);
    }

    #[test]
    fn without_a_bus_it_is_down_and_says_why() {
        let lost = Some("bus lost: Redis is\r\n gone");
        let mut agent = Agent { is_out: true, ..Agent::default() };
        let down = agent.answer(Phase::Serving, lost, ONE, now());
        assert_eq!(down, "down #bus lost: Redis is gone\n");
        assert_eq!(serving(&mut agent, ONE, now()), "up ready\n", "it still owes that");
    }

    #[test]
    fn a_drain_is_said_even_without_a_bus() {
        let said = Agent::default().answer(Phase::Drained, Some("gone"), ONE, now());
        assert_eq!(said, "drain\n");
    }

    #[test]
    fn a_mark_is_there_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let within = directory.path().join("state");
        let mark = Mark::of(&within, "[::1]:80".parse().unwrap());
        assert!(!mark.is_set());
        for _ in 0..2 {
            mark.set(true).unwrap();
            assert!(mark.is_set());
        }
        assert!(!Mark::of(&within, "[::1]:81".parse().unwrap()).is_set(), "another gateway's");
        mark.set(false).unwrap();
        assert!(!mark.is_set());
    }
}
