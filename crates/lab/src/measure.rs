//! What the gateway costs and how fast it is, in one run on one machine: a table to quote.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::process::Gateway;
use crate::raw::{Message, RawClient};
use crate::{kernel, opensrf};

const DEMO: &str = "slackwater.demo";

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Clients that connect, call once and fall idle.
    pub clients: usize,
    /// Sequential calls on one connection.
    pub calls: usize,
    /// Over which the drain spreads the closing of idle clients.
    pub ebb_window: Duration,
}

/// A figure and its name.
pub type Figure = (&'static str, String);

/// Runs the plan against a gateway binary.
///
/// # Errors
/// The gateway did not do what it should.
pub async fn measure(program: &Path, plan: Plan) -> io::Result<Vec<Figure>> {
    let window = format!("{}ms", plan.ebb_window.as_millis());
    let options = ["--ebb-window", &window, "--log-level", "warn"];
    let mut gateway = Gateway::start(program, &options).await?;
    let mut figures = Vec::new();

    let (p50, p99) = sequential(&gateway, plan.calls).await?;
    figures.push(("sequential slackwater.demo.echo, p50", format!("{} µs", p50.as_micros())));
    figures.push(("sequential slackwater.demo.echo, p99", format!("{} µs", p99.as_micros())));
    let parallel = parallel(&gateway).await?;
    figures.push(("12 × wait 2 s on one socket, all answered after", format!("{parallel:.2?}")));

    let before = Footprint::of(&gateway)?;
    let clients = connect_all(&gateway, plan.clients).await?;
    let idle = plan.clients as u64;
    gateway.until("all are there", |status| status["connections"] == idle).await?;
    let after = Footprint::of(&gateway)?;
    let each = after.resident.saturating_sub(before.resident) / idle.max(1);
    figures.push(("idle clients, each after one call", plan.clients.to_string()));
    figures.push(("resident memory a client", format!("{each} bytes")));
    figures.push(("threads", after.threads.to_string()));
    let descriptors = after.descriptors - before.descriptors;
    figures.push(("descriptors a client", format!("{:.3}", descriptors as f64 / idle as f64)));

    let began = Instant::now();
    gateway.control("POST", "/drain", "").await?;
    let closed = see_them_out(clients).await?;
    let drained = gateway.until("drained", |status| status["phase"] == "drained").await?;
    figures.push(("drain of them, ebb window", format!("{:.2?}", plan.ebb_window)));
    figures.push(("drain of them, last one gone after", format!("{:.2?}", began.elapsed())));
    figures.push(("closed 1012 drained", closed.to_string()));
    figures.push(("answers lost", drained["lost_replies"].to_string()));
    Ok(figures)
}

async fn sequential(gateway: &Gateway, calls: usize) -> io::Result<(Duration, Duration)> {
    let mut client = gateway.connect().await?;
    let bar = bar("sequential calls", calls);
    let mut times = Vec::with_capacity(calls);
    for call in 0..calls {
        let began = Instant::now();
        call_once(&mut client, u32::try_from(call).unwrap_or(0), "echo", json!(["hello"])).await?;
        times.push(began.elapsed());
        bar.inc(1);
    }
    bar.finish_and_clear();
    times.sort_unstable();
    Ok((times[calls / 2], times[calls * 99 / 100]))
}

async fn parallel(gateway: &Gateway) -> io::Result<Duration> {
    let mut client = gateway.connect().await?;
    let began = Instant::now();
    for trace in 0..12 {
        let method = format!("{DEMO}.wait");
        let request = opensrf::request(DEMO, "one thread", trace, &method, &json!([2]));
        client.send_text(&request).await?;
    }
    let mut done = 0;
    while done < 12 {
        let answers = next_answers(&mut client).await?;
        done += answers.iter().filter(|answer| answer.is_final() && answer.code == 205).count();
    }
    Ok(began.elapsed())
}

async fn connect_all(gateway: &Gateway, count: usize) -> io::Result<Vec<RawClient>> {
    let bar = bar("clients", count);
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = gateway.connect().await?;
        call_once(&mut client, 1, "echo", json!([1])).await?;
        client.patience = Duration::from_secs(600);
        clients.push(client);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(clients)
}

/// Answers every Ping and Close; gives how many were closed as a drain closes.
async fn see_them_out(clients: Vec<RawClient>) -> io::Result<usize> {
    let bar = bar("drain", clients.len());
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let message = client.read_message().await?;
            client.close(1012).await?;
            client.end().await?;
            Ok::<_, io::Error>(message)
        });
    }
    let mut drained = 0;
    while let Some(ended) = tasks.join_next().await {
        let end = ended.map_err(io::Error::other)??;
        drained +=
            usize::from(end == Message::Close { code: Some(1012), reason: "drained".to_owned() });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(drained)
}

async fn call_once(
    client: &mut RawClient,
    trace: u32,
    method: &str,
    params: Value,
) -> io::Result<()> {
    let method = format!("{DEMO}.{method}");
    client.send_text(&opensrf::request(DEMO, "t", trace, &method, &params)).await?;
    loop {
        if next_answers(client).await?.iter().any(opensrf::Answer::is_final) {
            return Ok(());
        }
    }
}

async fn next_answers(client: &mut RawClient) -> io::Result<Vec<opensrf::Answer>> {
    match client.read_message().await? {
        Message::Text(text) => Ok(opensrf::answers(&text)),
        other @ (Message::Binary(_) | Message::Close { .. }) => {
            Err(io::Error::other(format!("{other:?} in place of an answer")))
        }
    }
}

/// What a process takes of the machine.
struct Footprint {
    resident: u64,
    threads: usize,
    descriptors: usize,
}

impl Footprint {
    fn of(gateway: &Gateway) -> io::Result<Self> {
        let pid = gateway.pid();
        Ok(Self {
            resident: kernel::resident(pid)?,
            threads: kernel::threads(pid)?,
            descriptors: kernel::descriptors(pid)?,
        })
    }
}

fn bar(what: &'static str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:16} {bar:40} {pos}/{len} {eta}");
    let bar = ProgressBar::new(length as u64).with_message(what);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
