//! What is measured, as processes of their own: the buses' servers with routers and workers, relays,
//! gateways and peers. Those that have nothing to do take nothing.

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::least::callers::Way;
use super::subject::{Peer, Subject};
use crate::bus::Account;
use crate::bus::redis::server::{DOMAIN, Server};
use crate::bus::xmpp::server as xmpp;
use crate::kernel;
use crate::process::Gateway;
use crate::raw::RawClient;
use crate::site::Bus;

/// The services, by what they do. The embedded bus has the first only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Echoes at once.
    Instant,
    /// Echoes after [`TAKES`].
    Timed,
    /// Echoes after [`SLOW`].
    Slow,
    /// Answers with next to nothing, whatever it is sent.
    Swallow,
    /// Answers with one result of [`LARGE`].
    Large,
    /// The same in chunks, as OpenSRF's services cut it.
    Chunked,
    /// Answers with results of [`PIECE`] each, [`STREAM`] together, as fast as it can.
    Stream,
    /// The same at 50 MiB/s.
    Paced,
}

/// How long the timed service takes.
pub(super) const TAKES: Duration = Duration::from_micros(400);
/// How long the slow one does.
pub(super) const SLOW: Duration = Duration::from_secs(2);
/// Bytes.
pub(super) const LARGE: usize = 1 << 20;
/// Bytes. OpenSRF cuts at 51,200.
const CHUNK: usize = 51_200;
/// Bytes.
const PIECE: usize = 64 * 1024;
/// Microseconds between two pieces of the paced stream.
const APART: u32 = 1_250;
/// Bytes.
pub(super) const STREAM: usize = 100 << 20;

impl Service {
    pub(super) fn on(self, bus: Option<Bus>) -> &'static str {
        match self {
            Self::Instant if bus == Some(Bus::Embedded) => "slackwater.demo",
            Self::Instant => "lab.instant",
            Self::Timed => "lab.timed",
            Self::Slow => "lab.slow",
            Self::Swallow => "lab.swallow",
            Self::Large => "lab.large",
            Self::Chunked => "lab.chunked",
            Self::Stream => "lab.stream",
            Self::Paced => "lab.paced",
        }
    }

    /// As `lab instant` reads it.
    fn argument(self) -> String {
        let name = self.on(None);
        match self {
            Self::Instant => name.to_owned(),
            Self::Timed => format!("{name}={}", TAKES.as_micros()),
            Self::Slow => format!("{name}={}", SLOW.as_micros()),
            Self::Swallow => format!("{name},results=1x1"),
            Self::Large => format!("{name},results=1x{LARGE}"),
            Self::Chunked => format!("{name},chunks={}x{CHUNK}", LARGE.div_ceil(CHUNK)),
            Self::Stream => format!("{name},results={}x{PIECE}", STREAM / PIECE),
            Self::Paced => format!("{name},results={}x{PIECE}/{APART}", STREAM / PIECE),
        }
    }
}

const ROUTER: &str = "router";
const PATIENCE: Duration = Duration::from_secs(20);

/// The programs and buses, and the subjects that stand there for the whole run.
pub(super) struct Stage {
    lab: PathBuf,
    program: PathBuf,
    peers: Vec<Peer>,
    /// Workers end before their server does.
    grounds: Vec<(Bus, Part, Ground)>,
    standing: Vec<(Subject, Running)>,
}

/// A bus's server.
enum Ground {
    Redis(Server),
    Xmpp(xmpp::Server),
}

impl Ground {
    async fn start(bus: Bus) -> io::Result<Option<Self>> {
        match bus {
            Bus::Embedded => Ok(None),
            Bus::Redis => Ok(Server::start().await?.map(Self::Redis)),
            Bus::Xmpp(brand) => {
                let server = xmpp::Server::start_with(brand, brand.without_shaper()).await?;
                Ok(server.map(Self::Xmpp))
            }
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

    fn services(&self) -> &'static [Service] {
        use Service::{Chunked, Instant, Large, Paced, Slow, Stream, Swallow, Timed};
        match self {
            Self::Redis(_) => &[Instant, Timed, Slow, Swallow, Large, Chunked, Stream, Paced],
            Self::Xmpp(_) => &[Instant, Timed],
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Redis(server) => server.pid(),
            Self::Xmpp(server) => server.pid(),
        }
    }
}

impl Stage {
    /// Starts the buses that the subjects need. `lab` is this program, `program` the gateway's.
    /// Subjects whose bus this machine has not got are struck out, with a loud word about it.
    pub(super) async fn start(
        lab: &Path,
        program: &Path,
        peers: &[Peer],
        subjects: &mut Vec<Subject>,
    ) -> io::Result<Self> {
        let mut grounds: Vec<(Bus, Part, Ground)> = Vec::new();
        let mut buses: Vec<Bus> = subjects.iter().filter_map(Subject::bus).collect();
        buses.dedup();
        for bus in buses {
            if bus == Bus::Embedded || grounds.iter().any(|(there, ..)| *there == bus) {
                continue;
            }
            let Some(ground) = Ground::start(bus).await? else {
                subjects.retain(|subject| subject.bus() != Some(bus));
                continue;
            };
            let mut options = Vec::new();
            for service in ground.services() {
                options.extend(["--service".to_owned(), service.argument()]);
            }
            let mut workers = Part::start(lab, "instant", &ground.worker().url(), &options)?;
            workers.line().await?;
            grounds.push((bus, workers, ground));
        }
        let (lab, program, peers) = (lab.to_owned(), program.to_owned(), peers.to_vec());
        Ok(Self { lab, program, peers, grounds, standing: Vec::new() })
    }

    fn ground(&self, bus: Bus) -> io::Result<&Ground> {
        let found = self.grounds.iter().find(|(there, ..)| *there == bus);
        found.map(|(_, _, ground)| ground).ok_or_else(|| io::Error::other("there is no such bus"))
    }

    /// The subject that stands there for the whole run; it is started when it is first asked for.
    pub(super) async fn standing(&mut self, subject: &Subject) -> io::Result<&Running> {
        if self.running(subject).is_err() {
            let running = self.fresh(subject, &[]).await?;
            self.standing.push((subject.clone(), running));
        }
        self.running(subject)
    }

    /// The same once it was started.
    pub(super) fn running(&self, subject: &Subject) -> io::Result<&Running> {
        let found = self.standing.iter().find(|(there, _)| there == subject);
        let running = found.map(|(_, running)| running);
        running.ok_or_else(|| io::Error::other(format!("{subject} was not started")))
    }

    /// One of its own, with these options if it is a gateway.
    pub(super) async fn fresh(&self, subject: &Subject, options: &[&str]) -> io::Result<Running> {
        match subject {
            Subject::Bare(bus) => {
                let account = self.ground(*bus)?.client();
                let way = Way::Bus { account, router: ROUTER.to_owned() };
                Ok(Running { way, process: Process::None, bus_port: None, _directory: None })
            }
            Subject::Relay(bus) => {
                let account = self.ground(*bus)?.client();
                let listen = ["--listen", "127.0.0.1:0"].map(str::to_owned);
                let mut relay = Part::start(&self.lab, "relay", &account.url(), &listen)?;
                let address = relay.line().await?.parse().map_err(io::Error::other)?;
                let (way, bus_port) = (Way::WebSocket(address), Some(account.port));
                Ok(Running {
                    way,
                    process: Process::Part(Box::new(relay)),
                    bus_port,
                    _directory: None,
                })
            }
            Subject::Gateway(bus) => self.gateway(*bus, options).await,
            Subject::Peer(name) => self.peer(name).await,
            Subject::Run | Subject::Websocketd => {
                Err(io::Error::other("only the program scenario has that"))
            }
        }
    }

    async fn gateway(&self, bus: Bus, options: &[&str]) -> io::Result<Running> {
        let state = tempfile::tempdir()?;
        let journal = state.path().display().to_string();
        let mut all = vec!["--state-dir", &journal, "--log-level", "warn"];
        let account = match bus {
            Bus::Embedded => None,
            Bus::Redis | Bus::Xmpp(_) => Some(self.ground(bus)?.client()),
        };
        let url = account.as_ref().map(Account::url);
        if let Some(url) = &url {
            // The others speak in the clear, too.
            all.extend(["--bus", url, "--bus-tls", "off"]);
        }
        all.extend(options);
        let gateway = Gateway::start(&self.program, &all).await?;
        let way = Way::WebSocket(gateway.address());
        let bus_port = account.map(|account| account.port);
        let process = Process::Gateway(Box::new(gateway));
        Ok(Running { way, process, bus_port, _directory: Some(state) })
    }

    async fn peer(&self, name: &str) -> io::Result<Running> {
        let peer = self.peers.iter().find(|peer| peer.name == name);
        let peer = peer.ok_or_else(|| io::Error::other(format!("there is no peer {name}")))?;
        let account = self.ground(Bus::Redis)?.client();
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("opensrf_core.xml");
        std::fs::write(&config, core_xml(&account))?;
        let command = peer.command.replace("{port}", &address.port().to_string());
        let command = command.replace("{bus}", &account.url());
        let command = command.replace("{config}", &config.display().to_string());
        let group = Group::start(&command, directory.path())?;
        let began = Instant::now();
        while RawClient::connect(address, "/").await.is_err() {
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("nothing listens at {address}: {command}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (way, bus_port) = (Way::WebSocket(address), Some(account.port));
        let process = Process::Peer(group);
        Ok(Running { way, process, bus_port, _directory: Some(directory) })
    }

    /// What each has taken of the processors so far.
    pub(super) fn shares(&self, subject: &Subject, running: &Running) -> io::Result<Shares> {
        let part = subject.bus().and_then(|bus| self.grounds.iter().find(|(one, ..)| *one == bus));
        let of = |pid: Option<u32>| {
            pid.map_or(Ok(0.0), |pid| kernel::family_cpu(pid).map(|cpu| cpu.as_secs_f64()))
        };
        Ok(Shares {
            subject: of(running.pid())?,
            server: of(part.map(|(_, _, ground)| ground.pid()))?,
            workers: of(part.map(|(_, workers, _)| workers.pid()))?,
            clients: kernel::cpu(std::process::id())?.as_secs_f64(),
            machine: kernel::busy()?.as_secs_f64(),
        })
    }
}

/// Seconds of processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Shares {
    pub(super) subject: f64,
    pub(super) server: f64,
    pub(super) workers: f64,
    pub(super) clients: f64,
    pub(super) machine: f64,
}

/// A subject that runs; it ends when dropped.
pub(super) struct Running {
    pub(super) way: Way,
    process: Process,
    bus_port: Option<u16>,
    /// Its journal, or a peer's configuration.
    _directory: Option<tempfile::TempDir>,
}

enum Process {
    /// Bare clients are threads of this process.
    None,
    Part(Box<Part>),
    Gateway(Box<Gateway>),
    Peer(Group),
}

impl Running {
    /// Where clients connect.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self.way {
            Way::WebSocket(address) => Ok(address),
            Way::Bus { .. } => Err(io::Error::other("it is no WebSocket")),
        }
    }

    fn pid(&self) -> Option<u32> {
        match &self.process {
            Process::None => None,
            Process::Part(part) => Some(part.pid()),
            Process::Gateway(gateway) => Some(gateway.pid()),
            Process::Peer(group) => Some(group.0.id()),
        }
    }

    fn process(&self) -> io::Result<u32> {
        self.pid().ok_or_else(|| io::Error::other("it has no process"))
    }

    /// The gateway, to be steered.
    pub(super) fn gateway(&mut self) -> io::Result<&mut Gateway> {
        match &mut self.process {
            Process::Gateway(gateway) => Ok(gateway),
            Process::None | Process::Part(_) | Process::Peer(_) => {
                Err(io::Error::other("it is no gateway"))
            }
        }
    }

    /// Its memory, in bytes, once it has not changed for so long; at the latest after ten times that.
    pub(super) async fn settled(&self, settle: Duration) -> io::Result<f64> {
        const SAME: u32 = 8;
        const MOST: u32 = 10 * SAME;
        let pid = self.process()?;
        let (mut last, mut same) = (kernel::family_memory(pid)?, 0);
        for _ in 0..MOST {
            tokio::time::sleep(settle / SAME).await;
            let now = kernel::family_memory(pid)?;
            same = if now.abs_diff(last) < 64 * 1024 { same + 1 } else { 0 };
            last = now;
            if same == SAME {
                break;
            }
        }
        Ok(last as f64)
    }

    /// Its threads.
    pub(super) fn threads(&self) -> io::Result<f64> {
        let family = kernel::family(self.process()?);
        Ok(family.into_iter().filter_map(|pid| kernel::threads(pid).ok()).sum::<usize>() as f64)
    }

    /// Its connections to the bus; NaN if it has none outside.
    pub(super) fn bus_connections(&self) -> io::Result<f64> {
        let Some(port) = self.bus_port else { return Ok(f64::NAN) };
        Ok(kernel::connections(self.process()?, port)? as f64)
    }
}

/// A configuration as OpenSRF's own programs read it.
fn core_xml(account: &Account) -> String {
    let Account { user, password, domain, port, .. } = account;
    format!(
        "<?xml version='1.0'?>\n<config>\n<opensrf>\n<routers><router>\n<name>{ROUTER}</name>\n\
         <domain>{domain}</domain>\n</router></routers>\n<domain>{domain}</domain>\n\
         <username>{user}</username>\n<passwd>{password}</passwd>\n<port>{port}</port>\n\
         <logfile>/dev/null</logfile>\n<loglevel>1</loglevel>\n</opensrf>\n\
         <gateway>\n<client>true</client>\n<router_name>{ROUTER}</router_name>\n\
         <domain>{domain}</domain>\n<username>{user}</username>\n<passwd>{password}</passwd>\n\
         <port>{port}</port>\n<logfile>/dev/null</logfile>\n<loglevel>1</loglevel>\n</gateway>\n\
         </config>\n"
    )
}

/// A part that is a `lab` of its own; killed when dropped.
struct Part {
    child: tokio::process::Child,
    says: BufReader<tokio::process::ChildStdout>,
}

impl Part {
    fn start(lab: &Path, name: &str, bus: &str, options: &[String]) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(lab);
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

/// A peer with all that it starts; killed when dropped.
struct Group(Child);

impl Group {
    fn start(command: &str, directory: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(directory).process_group(0);
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(shell.spawn()?))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.0.wait().ok();
    }
}
