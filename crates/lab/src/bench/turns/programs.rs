//! A front for programs, `slackwater run` or another, with `cat` behind it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::Turn;
use crate::bench::record::{Figure, percentiles};
use crate::bench::subject::Subject;
use crate::kernel;
use crate::raw::{RawClient, frame, opcode};

/// Messages there and back, one after the other.
const CALLS: usize = 5_000;
/// Messages sent without waiting.
const MESSAGES: usize = 200_000;
/// Clients at once.
const CLIENTS: usize = 500;
/// Messages that are sent at once.
const BATCH: usize = 100;
/// Messages that may be under way. websocketd 0.4.1 locks when the pipes both ways are full.
const WINDOW: usize = 1_000;

/// One front, from its start to its end.
pub(super) async fn programs(mut turn: Turn<'_>) -> io::Result<()> {
    let (program, run) = match turn.subject {
        Subject::Websocketd => (&turn.plan.websocketd, false),
        Subject::Run
        | Subject::Bare(_)
        | Subject::Relay(_)
        | Subject::Gateway(_)
        | Subject::Peer(_) => (&turn.plan.program, true),
    };
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut front = start(program, run, address)?;
    let pid = front.id().ok_or(io::ErrorKind::NotFound)?;
    drop(answered(address).await?);
    turn.saw("round trip", 0.0, percentiles(round_trips(address).await?));
    turn.saw("messages on one connection", 1.0, [(Figure::Rate, rate(address).await?)]);
    let before = settled(pid).await?;
    let (took, clients) = connects(address).await?;
    let each = settled(pid).await?.saturating_sub(before) as f64 / CLIENTS as f64;
    let figures = [(Figure::Took, took), (Figure::MemoryEach, each)];
    turn.saw(format!("{CLIENTS} connect at once"), 2.0, figures);
    drop(clients);
    front.kill().await
}

fn start(program: &Path, run: bool, address: SocketAddr) -> io::Result<Child> {
    let mut command = Command::new(program);
    if run {
        command.args([
            "run",
            "--listen",
            &address.to_string(),
            "--log-level",
            "error",
            "--",
            "cat",
        ]);
    } else {
        let port = format!("--port={}", address.port());
        command.args(["--address=127.0.0.1", &port, "--loglevel=error", "cat"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn()
}

/// The memory of the front alone, once it does not change any more: `cat` is the same for all.
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

async fn round_trips(server: SocketAddr) -> io::Result<Vec<f64>> {
    let mut client = answered(server).await?;
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        client.send_text("a message of the usual size, or less").await?;
        client.read_message().await?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(times)
}

async fn rate(server: SocketAddr) -> io::Result<f64> {
    let client = answered(server).await?;
    let (mut reader, mut writer) = client.into_halves();
    let one = frame(opcode::TEXT, true, b"a message of the usual size, or less");
    let many = one.repeat(BATCH);
    let window = Semaphore::new(WINDOW);
    let began = Instant::now();
    let sends = async {
        for _ in 0..MESSAGES / BATCH {
            window.acquire_many(BATCH as u32).await.map_err(io::Error::other)?.forget();
            writer.write_all(&many).await?;
        }
        Ok::<_, io::Error>(())
    };
    let reads = async {
        // A frame each; one that websocketd cuts in two counts when it ends.
        let mut left = MESSAGES / BATCH * BATCH;
        while left > 0 {
            let whole = usize::from(reader.read_frame().await?.fin);
            window.add_permits(whole);
            left -= whole;
        }
        Ok::<_, io::Error>(())
    };
    tokio::try_join!(sends, reads)?;
    Ok(MESSAGES as f64 / began.elapsed().as_secs_f64())
}

async fn connects(server: SocketAddr) -> io::Result<(f64, Vec<RawClient>)> {
    let began = Instant::now();
    let connecting: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(answered(server))).collect();
    let mut connected = Vec::with_capacity(CLIENTS);
    for client in connecting {
        connected.push(client.await??);
    }
    Ok((began.elapsed().as_secs_f64(), connected))
}
