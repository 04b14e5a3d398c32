//! `lab`: the instruments, one subcommand each.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use slackwater::front::{Access, Front, ListenAddress, Listener, listener::Refusal};
use slackwater_bus::worker::SessionLimits;
use slackwater_lab::bus::{Account, Running, router, worker};
use slackwater_lab::compare::{self, instant, relay};
use slackwater_lab::compression;
use slackwater_lab::echo::{self, Echo};
use slackwater_lab::measure::{Figure, Plan, measure};
use slackwater_lab::programs;
use slackwater_lab::site::{Bus, PROSODY};

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
    /// Measure what a gateway costs and how fast it is; prints a table.
    Measure {
        /// The gateway's binary, built with --release.
        #[arg(long, default_value = "target/release/slackwater")]
        program: PathBuf,
        /// Idle clients (open files limit what one process can hold).
        #[arg(long, default_value_t = 10_000)]
        clients: usize,
        /// Sequential calls.
        #[arg(long, default_value_t = 20_000)]
        calls: usize,
    },
    /// Compare the gateway with a bare Redis client and with a minimal relay; prints tables.
    Compare {
        /// The gateway's binary, built with --release, as this one should be.
        #[arg(long, default_value = "target/release/slackwater")]
        program: PathBuf,
        /// The bus, whose server is started for it: redis or prosody. ejabberd has a shaper, and would
        /// be all that is measured.
        #[arg(long, default_value = "redis", value_parser = bus_of)]
        bus: Bus,
        /// How often each subject has its turn; of the turns the middle one counts.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// How long a turn is.
        #[arg(long, default_value_t = 0.6)]
        seconds: f64,
        /// Numbers of clients that call at once.
        #[arg(long, value_delimiter = ',', default_value = "1,2,5,10,20,50,100,200")]
        clients: Vec<u64>,
        /// A directory for figures.json and the plots.
        #[arg(long, value_name = "DIRECTORY")]
        out: Option<PathBuf>,
    },
    /// Compare the gateway with websocketd, with cat behind both; prints a table.
    Programs {
        /// The gateway's binary, built with --release.
        #[arg(long, default_value = "target/release/slackwater")]
        program: PathBuf,
        /// websocketd's.
        #[arg(long, default_value = "/usr/bin/websocketd")]
        websocketd: PathBuf,
        /// How often each has its turn; of the turns the middle one counts.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// A directory for the plot.
        #[arg(long, value_name = "DIRECTORY")]
        out: Option<PathBuf>,
    },
    /// A router and workers for `compare`, as fast as the bus allows.
    Instant {
        #[command(flatten)]
        part: Part,
        /// A service, and how many microseconds each request takes (repeatable).
        #[arg(long = "service", value_name = "NAME[=MICROSECONDS]", required = true)]
        services: Vec<compare::Service>,
    },
    /// The minimal relay for `compare`.
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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Arguments::parse().instrument {
        Instrument::Echo { listen } => echo(listen).await,
        Instrument::Measure { program, clients, calls } => {
            let plan = Plan { clients, calls: calls.max(1), ebb_window: Duration::from_secs(5) };
            print(&measure(&program, plan).await?)
        }
        Instrument::Compare { program, bus, rounds, seconds, clients, out } => {
            let turn = Duration::try_from_secs_f64(seconds).context("--seconds")?;
            let plan = compare::Plan { bus, rounds: rounds.max(1), turn, clients };
            let lab = std::env::current_exe().context("this program")?;
            let Some(report) = compare::compare(&lab, &program, plan).await? else { return Ok(()) };
            line(&report)?;
            out.map_or(Ok(()), |directory| report.write_to(&directory)).context("--out")
        }
        Instrument::Programs { program, websocketd, rounds, out } => {
            let plan = programs::Plan {
                rounds: rounds.max(1),
                calls: 5_000,
                messages: 200_000,
                clients: 500,
            };
            let report = programs::compare(&program, &websocketd, plan).await?;
            line(&report)?;
            out.map_or(Ok(()), |directory| report.write_to(&directory)).context("--out")
        }
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

fn bus_of(name: &str) -> Result<Bus, String> {
    match name {
        "redis" => Ok(Bus::Redis),
        "prosody" => Ok(PROSODY),
        _ => Err("expected redis or prosody".to_owned()),
    }
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

fn print(figures: &[Figure]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| figure | value |\n|---|---|")?;
    for (name, value) in figures {
        writeln!(out, "| {name} | {value} |")?;
    }
    Ok(())
}
