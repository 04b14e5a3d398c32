//! `lab`: the instruments, one subcommand each.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum as _};
use indicatif::{ProgressBar, ProgressStyle};
use slackwater::config::{make_room_for_files, raise_open_files};
use slackwater::front::{Access, Front, ListenAddress, Listener, listener::Refusal};
use slackwater_bus::worker::SessionLimits;
use slackwater_lab::bench::{self, Peer, Plan, Run, Scenario, Subject, instant, relay};
use slackwater_lab::bus::{Account, Running, router, worker};
use slackwater_lab::compression;
use slackwater_lab::echo::{self, Echo};
use tokio::runtime::Builder;

#[derive(Parser)]
#[command(about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    instrument: Instrument,
}

#[derive(Subcommand)]
enum Instrument {
    /// Echo every message on the gateway's own WebSocket code, until interrupted.
    Echo {
        /// Where to listen: ADDR:PORT or unix:/path.
        #[arg(long, default_value = "127.0.0.1:9001")]
        listen: ListenAddress,
    },
    /// Measure the gateway beside a bare client, a minimal relay and other gateways, or show or
    /// compare saved runs; prints tables, and with --out writes figures and pictures.
    Bench(Bench),
    /// A router and workers for `bench`, as fast as the bus allows.
    Instant {
        #[command(flatten)]
        part: Part,
        /// A service, how many microseconds each request takes, and what it answers with:
        /// NAME[=MICROSECONDS][,results=COUNTxBYTES|,chunks=COUNTxBYTES] (repeatable).
        #[arg(long = "service", value_name = "SERVICE", required = true)]
        services: Vec<instant::Service>,
    },
    /// The minimal relay for `bench`.
    Relay {
        #[command(flatten)]
        part: Part,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:9002")]
        listen: SocketAddr,
    },
    /// What compression saves of recorded traffic, and what it costs.
    Compression {
        /// Recordings: a JSON object a line, with `dir` and `data`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// An OpenSRF router, until interrupted.
    Router(Part),
    /// The demo services as OpenSRF services, until interrupted.
    Worker {
        #[command(flatten)]
        part: Part,
        /// The domain of a router to register with (repeatable); that of the bus if none is given.
        #[arg(long, value_name = "DOMAIN")]
        router_domain: Vec<String>,
        /// Seconds for which a session may be idle.
        #[arg(long, default_value_t = 5)]
        keepalive: u64,
        /// Requests that a session may make.
        #[arg(long, default_value_t = 1_000)]
        max_requests: u32,
        /// Workers of a service.
        #[arg(long, default_value_t = 10_000)]
        max_workers: usize,
    },
}

#[derive(Args)]
struct Bench {
    /// The gateway's binary, built with --release, as this one should be.
    #[arg(long, default_value = "target/release/slackwater")]
    program: PathBuf,
    /// Who is measured: gateway:BUS, bare:BUS, relay:BUS (BUS: redis, prosody, ejabberd or, for
    /// the gateway, embedded); run and websocketd, for program mode.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "bare:redis,relay:redis,gateway:redis,run,websocketd"
    )]
    subjects: Vec<Subject>,
    /// Another gateway that speaks the same protocol, by a command for sh (repeatable). {port} is
    /// where it is to listen, {bus} the URL of the Redis, {config} an opensrf_core.xml that says the
    /// same.
    #[arg(long = "peer", value_name = "[NAME=]COMMAND {port}")]
    peers: Vec<Peer>,
    /// What is done [default: all].
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// How often each subject has its turn; of the turns the middle one counts. What takes long is
    /// done once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a turn of calls is.
    #[arg(long, default_value_t = 0.6)]
    seconds: f64,
    /// Clients of the closed loop.
    #[arg(long, value_delimiter = ',', default_value = "1,10,50,200,1000")]
    clients: Vec<u64>,
    /// Calls a second of the open loop.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000,20000", value_parser = rate)]
    rates: Vec<f64>,
    /// Clients who connect at once.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    storms: Vec<usize>,
    /// Idle clients whose memory is measured (open files limit what one process can hold).
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,19000")]
    idle: Vec<usize>,
    /// Idle clients who are drained, beside 200 busy ones.
    #[arg(long, default_value_t = 19_000)]
    drained: usize,
    /// Seconds over which they are.
    #[arg(long, default_value_t = 10.0)]
    ebb_window: f64,
    /// websocketd's binary.
    #[arg(long, default_value = "/usr/bin/websocketd")]
    websocketd: PathBuf,
    /// A directory for figures.json and the pictures.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// A saved run to show, in place of a new one: its directory or file.
    #[arg(long, value_name = "RUN")]
    read: Option<PathBuf>,
    /// An earlier run to compare it with.
    #[arg(long, value_name = "RUN")]
    against: Option<PathBuf>,
}

/// A part of an OpenSRF installation.
#[derive(Args)]
struct Part {
    /// The bus, as redis://user:password@domain:port, or xmpp://user:password@domain:port?host=HOST;
    /// the domain is the name of its host.
    #[arg(long, value_name = "URL")]
    bus: Account,
    /// The name of the router.
    #[arg(long, default_value = "router")]
    router: String,
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    // So that nothing that is measured waits for it.
    raise_open_files();
    make_room_for_files();
    Builder::new_multi_thread().enable_all().build()?.block_on(run(arguments.instrument))
}

async fn run(instrument: Instrument) -> anyhow::Result<()> {
    match instrument {
        Instrument::Echo { listen } => echo(listen).await,
        Instrument::Bench(arguments) => bench(arguments).await,
        Instrument::Instant { part: Part { bus, router }, services } => {
            let serve = move || instant::serve(&bus, &router, &services, || line(&"ready"));
            Ok(tokio::task::spawn_blocking(serve).await??)
        }
        Instrument::Relay { part: Part { bus, router }, listen } => {
            Ok(relay::serve(bus, &router, listen, |address| line(&address)).await?)
        }
        Instrument::Compression { files } => Ok(line(&compression::measure(&files)?)?),
        Instrument::Router(Part { bus, router: name }) => {
            until_interrupted(router::start(bus, &name).0).await
        }
        Instrument::Worker { part, router_domain, keepalive, max_requests, max_workers } => {
            let own = || vec![part.bus.domain.clone()];
            let options = worker::Options {
                router_domains: if router_domain.is_empty() { own() } else { router_domain },
                router_name: part.router,
                limits: SessionLimits { keepalive: Duration::from_secs(keepalive), max_requests },
                max_workers: max_workers.max(1),
            };
            until_interrupted(worker::start(part.bus, options).await?).await
        }
    }
}

async fn bench(arguments: Bench) -> anyhow::Result<()> {
    let earlier = arguments.against.as_deref().map(Run::read).transpose().context("--against")?;
    let run = match &arguments.read {
        Some(saved) => Run::read(saved).context("--read")?,
        None => {
            let lab = std::env::current_exe().context("this program")?;
            bench::run(&lab, &plan(&arguments)?).await?
        }
    };
    line(&run)?;
    if let Some(earlier) = earlier {
        line(&bench::against(&run, &earlier))?;
    }
    arguments.out.map_or(Ok(()), |directory| run.write_to(&directory)).context("--out")
}

fn plan(arguments: &Bench) -> anyhow::Result<Plan> {
    let seconds =
        |option, value| Duration::try_from_secs_f64(value).with_context(|| format!("--{option}"));
    let all = || Scenario::value_variants().to_vec();
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}  {msg}");
    Ok(Plan {
        program: arguments.program.clone(),
        websocketd: arguments.websocketd.clone(),
        subjects: arguments.subjects.clone(),
        peers: arguments.peers.clone(),
        scenarios: if arguments.scenarios.is_empty() { all() } else { arguments.scenarios.clone() },
        rounds: arguments.rounds.max(1),
        turn: seconds("seconds", arguments.seconds)?,
        clients: arguments.clients.clone(),
        rates: arguments.rates.clone(),
        storms: arguments.storms.clone(),
        idle: arguments.idle.clone(),
        drained: arguments.drained,
        ebb_window: seconds("ebb-window", arguments.ebb_window)?,
        settle: Duration::from_secs(2),
        bar: bar.with_style(style.context("the bar")?),
    })
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    (1.0..=1e6).contains(&rate).then_some(rate).ok_or_else(|| "expected 1 to 1000000".to_owned())
}

async fn until_interrupted(running: Running) -> anyhow::Result<()> {
    tokio::signal::ctrl_c().await.context("no signals")?;
    running.stop().await;
    Ok(())
}

async fn echo(listen: ListenAddress) -> anyhow::Result<()> {
    let listener = Listener::bind(listen, Refusal::Shut, &Access::default())?;
    let front = Front::start(vec![listener], echo::settings(), Arc::new(Echo));
    for address in front.addresses() {
        tracing::info!(%address, "echo");
    }
    tokio::signal::ctrl_c().await.context("no signals")?;
    front.close().await;
    Ok(())
}

/// What other programs read: to stdout, at once.
fn line(text: &dyn std::fmt::Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
