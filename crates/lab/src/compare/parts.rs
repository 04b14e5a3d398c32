//! What is compared, as processes of their own: the bus's server, router and workers, the relay and
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

use crate::bus::Account;
use crate::bus::redis::server::{DOMAIN, Server};
use crate::bus::xmpp::server as xmpp;
use crate::kernel;
use crate::process::Gateway;
use crate::site::Bus;

/// The service that answers at once, and the one that takes its time.
pub(super) const INSTANT: &str = "lab.instant";
pub(super) const TIMED: &str = "lab.timed";
/// How long that is.
pub(super) const TAKES: Duration = Duration::from_micros(400);

/// The name of Redis's server.
pub(super) const REDIS: &str = "redis-server";
const ROUTER: &str = "router";
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Parts {
    ground: Ground,
    workers: Part,
    relay: Part,
    gateway: Gateway,
    relay_address: SocketAddr,
    /// The gateway's journal.
    _state: tempfile::TempDir,
}

/// The bus's server.
enum Ground {
    Redis(Server),
    Xmpp(xmpp::Server),
}

impl Ground {
    async fn start(bus: Bus) -> io::Result<Option<Self>> {
        match bus {
            Bus::Embedded => {
                Err(io::Error::other("the embedded bus has no server to compare with"))
            }
            Bus::Redis => Ok(Server::start().await?.map(Self::Redis)),
            Bus::Xmpp(brand) => Ok(xmpp::Server::start(brand).await?.map(Self::Xmpp)),
        }
    }

    /// Who asks.
    fn client(&self) -> Account {
        match self {
            Self::Redis(server) => server.account("gateway", DOMAIN),
            Self::Xmpp(server) => server.account("opensrf", xmpp::DOMAIN),
        }
    }

    /// Who serves.
    fn worker(&self) -> Account {
        match self {
            Self::Redis(server) => server.account("opensrf", DOMAIN),
            Self::Xmpp(server) => server.account(ROUTER, xmpp::DOMAIN),
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Redis(server) => server.pid(),
            Self::Xmpp(server) => server.pid(),
        }
    }
}

impl Parts {
    /// `None`: the bus's server is not installed.
    pub(super) async fn start(lab: &Path, program: &Path, bus: Bus) -> io::Result<Option<Self>> {
        let Some(ground) = Ground::start(bus).await? else { return Ok(None) };
        let timed = format!("{TIMED}={}", TAKES.as_micros());
        let services = ["--service", INSTANT, "--service", &timed];
        let mut workers = Part::start(lab, "instant", &ground.worker().url(), &services)?;
        workers.line().await?;
        let listen = ["--listen", "127.0.0.1:0"];
        let mut relay = Part::start(lab, "relay", &ground.client().url(), &listen)?;
        let relay_address = relay.line().await?.parse().map_err(io::Error::other)?;
        let state = tempfile::tempdir()?;
        let journal = state.path().display().to_string();
        let bus = ground.client().url();
        // The others speak in the clear, too.
        let options = ["--bus", &bus, "--bus-tls", "off", "--state-dir", &journal];
        let options = [&options[..], &["--log-level", "warn"]].concat();
        let gateway = Gateway::start(program, &options).await?;
        Ok(Some(Self { ground, workers, relay, gateway, relay_address, _state: state }))
    }

    /// The name of the bus's server.
    pub(super) fn bus(&self) -> &'static str {
        match &self.ground {
            Ground::Redis(_) => REDIS,
            Ground::Xmpp(server) => server.brand().name(),
        }
    }

    pub(super) fn way(&self, subject: Subject) -> Way {
        match subject {
            Subject::Bare => Way::Bus { account: self.ground.client(), router: ROUTER.to_owned() },
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
            server: kernel::cpu(self.ground.pid())?.as_secs_f64(),
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
