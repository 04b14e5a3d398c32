//! `slackwater run` beside another front for programs, websocketd say, with `cat` behind both: one
//! after the other, again and again, so that what the machine does meanwhile happens to both.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::kernel;
use crate::raw::{RawClient, frame, opcode};

mod plot;

/// What is measured, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How often each front has its turn; of the turns the middle one counts.
    pub rounds: usize,
    /// Messages there and back, one after the other.
    pub calls: usize,
    /// Messages sent without waiting.
    pub messages: usize,
    /// Clients at once.
    pub clients: usize,
}

/// What one front needs.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    /// The middle time of a message there and back, in seconds.
    round_trip: f64,
    /// Messages a second on one connection.
    rate: f64,
    /// Memory of the front for each client, in bytes.
    memory: f64,
    /// Until each of `clients` simultaneous connects has its first answer, in seconds.
    connects: f64,
}

/// Both fronts, by figures.
#[derive(Debug)]
pub struct Report {
    plan: Plan,
    ours: Figures,
    theirs: Figures,
}

/// A figure, and what its ratio, ours to theirs, is to be.
struct Row {
    what: &'static str,
    unit: &'static str,
    ours: f64,
    theirs: f64,
    limit: f64,
    at_most: bool,
}

impl Report {
    fn rows(&self) -> [Row; 4] {
        let Self { ours, theirs, .. } = self;
        let row = |what, unit, of: fn(&Figures) -> f64, limit, at_most| Row {
            what,
            unit,
            ours: of(ours),
            theirs: of(theirs),
            limit,
            at_most,
        };
        [
            row("round trip, p50", "µs", |f| 1e6 * f.round_trip, 0.8, true),
            row("messages on one connection", "1/s", |f| f.rate, 2.0, false),
            row("memory of the front for a client", "KiB", |f| f.memory / 1024.0, 0.25, true),
            row("simultaneous connects, to the last answer", "ms", |f| 1e3 * f.connects, 1.0, true),
        ]
    }

    /// Writes `programs.svg` into a directory.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_to(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("programs.svg");
        plot::draw(&self.rows(), &path)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { rounds, calls, messages, clients } = self.plan;
        writeln!(
            formatter,
            "`cat` behind both; {rounds} turns each, of which the middle one counts; {calls} calls, \
             {messages} messages, {clients} clients.\n"
        )?;
        writeln!(formatter, "| figure | slackwater run | websocketd | ratio | limit | kept |")?;
        writeln!(formatter, "|---|---|---|---|---|---|")?;
        for Row { what, unit, ours, theirs, limit, at_most } in self.rows() {
            let ratio = ours / theirs;
            let (bound, kept) =
                if at_most { ("≤", ratio <= limit) } else { ("≥", ratio >= limit) };
            let kept = if kept { "yes" } else { "**no**" };
            writeln!(
                formatter,
                "| {what} | {ours:.1} {unit} | {theirs:.1} {unit} | {ratio:.2} | {bound} {limit} | {kept} |"
            )?;
        }
        Ok(())
    }
}

/// Compares the gateway `ours` with the websocketd `theirs`.
///
/// # Errors
/// One does not start, or does not do what it is to do.
pub async fn compare(ours: &Path, theirs: &Path, plan: Plan) -> io::Result<Report> {
    let bar = ProgressBar::new(plan.rounds as u64 * 2);
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        for (program, figures, run) in [(ours, &mut of_ours, true), (theirs, &mut of_theirs, false)]
        {
            figures.push(turn(program, run, plan).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Report { plan, ours: middle(&of_ours), theirs: middle(&of_theirs) })
}

/// Messages that are sent at once.
const BATCH: usize = 100;

/// Messages that may be under way. websocketd 0.4.1 locks when the pipes both ways are full.
const WINDOW: usize = 1_000;

/// The middle of each figure.
fn middle(turns: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Figures {
        round_trip: of(|f| f.round_trip),
        rate: of(|f| f.rate),
        memory: of(|f| f.memory),
        connects: of(|f| f.connects),
    }
}

/// One front, from its start to its end.
async fn turn(program: &Path, run: bool, plan: Plan) -> io::Result<Figures> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(program);
    if run {
        command.args(["run", "--listen", &free.to_string(), "--log-level", "error", "--", "cat"]);
    } else {
        let port = format!("--port={}", free.port());
        command.args(["--address=127.0.0.1", &port, "--loglevel=error", "cat"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let front = command.spawn()?;
    let pid = front.id().ok_or(io::ErrorKind::NotFound)?;
    drop(answered(free).await?);
    let round_trip = round_trip(free, plan.calls).await?;
    let rate = rate(free, plan.messages).await?;
    let before = settled(pid).await?;
    let (connects, clients) = connects(free, plan.clients).await?;
    let memory = settled(pid).await?.saturating_sub(before) as f64 / plan.clients.max(1) as f64;
    drop(clients);
    end(front).await?;
    Ok(Figures { round_trip, rate, memory, connects })
}

/// The memory of a process once it does not change any more.
async fn settled(pid: u32) -> io::Result<u64> {
    let mut last = kernel::resident(pid)?;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = kernel::resident(pid)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

/// A client that has had its first answer.
async fn answered(server: SocketAddr) -> io::Result<RawClient> {
    let began = Instant::now();
    loop {
        match RawClient::connect(server, "/").await {
            Ok(mut client) => {
                client.send_text("hello").await?;
                client.read_message().await?;
                return Ok(client);
            }
            Err(error) if began.elapsed() > Duration::from_secs(10) => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn round_trip(server: SocketAddr, calls: usize) -> io::Result<f64> {
    let mut client = answered(server).await?;
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let began = Instant::now();
        client.send_text("a message of the usual size, or less").await?;
        client.read_message().await?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times.get(calls / 2).copied().unwrap_or_default())
}

async fn rate(server: SocketAddr, messages: usize) -> io::Result<f64> {
    let client = answered(server).await?;
    let (mut reader, mut writer) = client.into_halves();
    let one = frame(opcode::TEXT, true, b"a message of the usual size, or less");
    let many = one.repeat(BATCH);
    let window = Semaphore::new(WINDOW);
    let began = Instant::now();
    let sends = async {
        for _ in 0..messages / BATCH {
            window.acquire_many(BATCH as u32).await.map_err(io::Error::other)?.forget();
            writer.write_all(&many).await?;
        }
        Ok::<_, io::Error>(())
    };
    let reads = async {
        // A frame each; one that websocketd cuts in two counts when it ends.
        let mut left = messages / BATCH * BATCH;
        while left > 0 {
            let whole = usize::from(reader.read_frame().await?.fin);
            window.add_permits(whole);
            left -= whole;
        }
        Ok::<_, io::Error>(())
    };
    tokio::try_join!(sends, reads)?;
    Ok(messages as f64 / began.elapsed().as_secs_f64())
}

async fn connects(server: SocketAddr, clients: usize) -> io::Result<(f64, Vec<RawClient>)> {
    let began = Instant::now();
    let connecting: Vec<_> = (0..clients).map(|_| tokio::spawn(answered(server))).collect();
    let mut connected = Vec::with_capacity(clients);
    for client in connecting {
        connected.push(client.await??);
    }
    Ok((began.elapsed().as_secs_f64(), connected))
}

async fn end(mut front: Child) -> io::Result<()> {
    front.kill().await
}
