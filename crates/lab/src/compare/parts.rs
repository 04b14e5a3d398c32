//! What is compared, as processes of their own: a redis-server, router and workers, the relay and
//! the gateway. All are there all the time; those that have nothing to do take nothing.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::callers::Way;
use super::report::{Cpu, Subject};

use crate::bus::redis::server::{DOMAIN, Server};
use crate::kernel;
use crate::process::Gateway;

/// The service that answers at once, and the one that takes its time.
pub(super) const INSTANT: &str = "lab.instant";
pub(super) const TIMED: &str = "lab.timed";
/// How long that is.
pub(super) const TAKES: Duration = Duration::from_micros(400);

const ROUTER: &str = "router";
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Parts {
    server: Server,
    workers: Part,
    relay: Part,
    gateway: Gateway,
    relay_address: SocketAddr,
    /// The gateway's journal.
    _state: tempfile::TempDir,
}

impl Parts {
    /// `None`: redis-server is not installed.
    pub(super) async fn start(lab: &Path, program: &Path) -> io::Result<Option<Self>> {
        let Some(server) = Server::start().await? else { return Ok(None) };
        let url = |user: &str| format!("redis://{user}:{user}pw@{DOMAIN}:{}", server.port());
        let timed = format!("{TIMED}={}", TAKES.as_micros());
        let services = ["--service", INSTANT, "--service", &timed];
        let mut workers = Part::start(lab, "instant", &url("opensrf"), &services)?;
        workers.line().await?;
        let listen = ["--listen", "127.0.0.1:0"];
        let mut relay = Part::start(lab, "relay", &url("gateway"), &listen)?;
        let relay_address = relay.line().await?.parse().map_err(io::Error::other)?;
        let state = tempfile::tempdir()?;
        let journal = state.path().display().to_string();
        let bus = url("gateway");
        let options = ["--bus", &bus, "--state-dir", &journal, "--log-level", "warn"];
        let gateway = Gateway::start(program, &options).await?;
        Ok(Some(Self { server, workers, relay, gateway, relay_address, _state: state }))
    }

    pub(super) fn way(&self, subject: Subject) -> Way {
        match subject {
            Subject::Bare => Way::Bus {
                account: self.server.account("gateway", DOMAIN),
                router: ROUTER.to_owned(),
            },
            Subject::Relay => Way::WebSocket(self.relay_address),
            Subject::Gateway => Way::WebSocket(self.gateway.address()),
        }
    }

    /// What each has taken of the processors so far.
    pub(super) fn cpu(&self, subject: Subject) -> io::Result<Cpu> {
        let own = kernel::cpu(std::process::id())?;
        let between = match subject {
            Subject::Bare => Duration::ZERO,
            Subject::Relay => kernel::cpu(self.relay.pid())?,
            Subject::Gateway => kernel::cpu(self.gateway.pid())?,
        };
        Ok(Cpu {
            subject: between.as_secs_f64(),
            redis: kernel::cpu(self.server.pid())?.as_secs_f64(),
            workers: kernel::cpu(self.workers.pid())?.as_secs_f64(),
            clients: own.as_secs_f64(),
            machine: kernel::busy()?.as_secs_f64(),
        })
    }
}

/// A part that is a `lab` of its own; killed when dropped.
struct Part {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Part {
    fn start(lab: &Path, name: &str, bus: &str, options: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(lab);
        command.args([name, "--bus", bus, "--router", ROUTER]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let says = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok(Self { child, says })
    }

    /// The next line that it prints.
    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match tokio::time::timeout(PATIENCE, self.says.read_line(&mut line)).await?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}
