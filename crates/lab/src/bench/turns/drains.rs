//! A drain as its clients see it, and what a second gateway sees of those who come to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Turn;
use super::crowds::{Client, Outcome, all_call, enter};
use crate::bench::record::{Figure, percentiles};
use crate::bench::stage::{Running, Service};
use crate::ledger::balanced;
use crate::raw::Message;

/// Clients that are busy.
const BUSY: usize = 200;
/// A busy client makes so many calls in a row, with a little time between them, as a page does that
/// is opened; then its user reads.
const CALLS_OF_A_PAGE: usize = 10;
const BETWEEN_CALLS: Duration = Duration::from_millis(20);
const READING: Duration = Duration::from_secs(1);
/// For which the busy ones are looked at before anything happens.
const BEFORE: Duration = Duration::from_secs(2);
/// In which closes are counted.
const BUCKET: Duration = Duration::from_millis(100);

/// What the idle clients of a drain have seen.
#[derive(Default)]
struct Ebb {
    /// When each was closed, from the drain's beginning, seconds.
    closed: Vec<f64>,
    /// How long each then took to its first answer elsewhere, seconds.
    again: Vec<f64>,
    /// Connects elsewhere that failed.
    refused: f64,
    /// How long the calls of others took who are elsewhere all the time, seconds.
    others: Vec<f64>,
}

/// Of one gateway alone.
pub(super) async fn drain(mut turn: Turn<'_>) -> io::Result<()> {
    let (ebb, took, busy) = ebb(&mut turn, None).await?;
    record(&mut turn, &ebb, took);
    turn.saw("busy clients meanwhile", 1.0, percentiles(busy));
    Ok(())
}

/// Whoever is closed goes to a second gateway, where others are at work.
pub(super) async fn reconnect(mut turn: Turn<'_>) -> io::Result<()> {
    let second = turn.stage.fresh(turn.subject, &[]).await?;
    let address = second.address()?;
    let service = Service::Instant.on(turn.subject.bus());
    let before = Busy::enter(address, service, &turn).await?;
    tokio::time::sleep(BEFORE).await;
    let before = before.end().await?;
    let (ebb, took, _) = ebb(&mut turn, Some(address)).await?;
    record(&mut turn, &ebb, took);
    let mut figures = percentiles(ebb.again).to_vec();
    figures.push((Figure::Refused, ebb.refused));
    turn.saw("from the Close to an answer of the second", 1.0, figures);
    turn.saw("others at the second, before", 2.0, percentiles(before));
    turn.saw("others at the second, meanwhile", 3.0, percentiles(ebb.others));
    Ok(())
}

fn record(turn: &mut Turn<'_>, ebb: &Ebb, (took, lost): (Duration, f64)) {
    let window = turn.plan.ebb_window.as_secs_f64();
    let mut course: Vec<u64> = Vec::new();
    for closed in &ebb.closed {
        let bucket = (closed / BUCKET.as_secs_f64()) as usize;
        course.resize(course.len().max(bucket + 1), 0);
        course[bucket] += 1;
    }
    let mean = ebb.closed.len() as f64 * BUCKET.as_secs_f64() / window;
    let worst = course.iter().max().map_or(f64::NAN, |worst| *worst as f64 / mean);
    let clients = ebb.closed.len();
    let figures = [
        (Figure::Clients, clients as f64),
        (Figure::Window, window),
        (Figure::Took, took.as_secs_f64()),
        (Figure::Beyond, took.as_secs_f64() - window),
        (Figure::Worst, worst),
        (Figure::Lost, lost),
    ];
    turn.saw(format!("{clients} idle and {BUSY} busy clients"), 0.0, figures).course = course;
}

/// Drains a gateway of idle and busy clients. Gives what the idle ones saw; until all were gone, and
/// the answers that were lost; and the times of the busy ones' calls, seconds.
async fn ebb(
    turn: &mut Turn<'_>,
    elsewhere: Option<SocketAddr>,
) -> io::Result<(Ebb, (Duration, f64), Vec<f64>)> {
    let service = Service::Instant.on(turn.subject.bus());
    let window = format!("{}ms", turn.plan.ebb_window.as_millis());
    let mut running = turn.stage.fresh(turn.subject, &["--ebb-window", &window]).await?;
    let address = running.address()?;
    let clients = enter(address, turn.plan.drained, &turn.plan.bar).await?;
    let clients = all_call(clients, service, None).await?;
    let busy = Busy::enter(address, service, turn).await?;
    let all = clients.len() + BUSY;
    running.gateway()?.until("all are there", |status| status["connections"] == all).await?;

    // Not before: the calls of all the idle ones would be in their way.
    let there = match elsewhere {
        Some(address) => Some(Busy::enter(address, service, turn).await?),
        None => None,
    };
    turn.plan.bar.set_message(format!("{all} clients are drained"));
    let began = Instant::now();
    let mut waiting = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        let elsewhere = elsewhere.map(|address| (address, number));
        waiting.spawn(be_closed(client, service, elsewhere, began));
    }
    running.gateway()?.control("POST", "/drain", "").await?;
    let mut ebb = Ebb::default();
    let mut stay = Vec::new();
    while let Some(one) = waiting.join_next().await {
        let Closed { at, again, client } = one.map_err(io::Error::other)??;
        ebb.closed.push(at);
        match again {
            Some(Ok(time)) => ebb.again.push(time),
            Some(Err(_)) => ebb.refused += 1.0,
            None => {}
        }
        stay.extend(client);
    }
    let (took, lost) = drained(&mut running, began).await?;
    if let Some(there) = there {
        ebb.others = there.end().await?;
    }
    let busy = busy.end().await?;
    Ok((ebb, (took, lost), busy))
}

/// Waits for the drain's end; gives when it was, and the answers that were lost.
async fn drained(running: &mut Running, began: Instant) -> io::Result<(Duration, f64)> {
    let patience = Duration::from_secs(120);
    let gateway = running.gateway()?;
    let is_drained = |status: &serde_json::Value| status["phase"] == "drained";
    let status = gateway.until_within(patience, "drained", is_drained).await?;
    let took = began.elapsed();
    balanced(&status).map_err(io::Error::other)?;
    let lost = status["lost_replies"].as_f64();
    Ok((took, lost.ok_or_else(|| io::Error::other(format!("no lost_replies: {status}")))?))
}

struct Closed {
    at: f64,
    again: Option<io::Result<f64>>,
    /// Who has gone elsewhere stays there.
    client: Option<Client>,
}

/// Waits for the Close of a drain, keeps the close contract, and goes elsewhere.
async fn be_closed(
    mut client: Client,
    service: &'static str,
    elsewhere: Option<(SocketAddr, usize)>,
    began: Instant,
) -> io::Result<Closed> {
    let message = client.raw.read_message().await?;
    let at = began.elapsed().as_secs_f64();
    is_of_a_drain(&message)?;
    client.leave(1012).await?;
    let Some((address, number)) = elsewhere else {
        return Ok(Closed { at, again: None, client: None });
    };
    drop(client);
    let again = async {
        let mut client = Client::connect(address, number).await?;
        client.ask(service, None).await?;
        Ok::<_, io::Error>(client)
    };
    let (again, client) = match again.await {
        Ok(client) => (Ok(began.elapsed().as_secs_f64() - at), Some(client)),
        Err(error) => (Err(error), None),
    };
    Ok(Closed { at, again: Some(again), client })
}

fn is_of_a_drain(message: &Message) -> io::Result<()> {
    let right = Message::Close { code: Some(1012), reason: "drained".to_owned() };
    let wrong = || io::Error::other(format!("expected 1012 drained: {message:?}"));
    (*message == right).then_some(()).ok_or_else(wrong)
}

/// Clients that call again and again until they are closed or told to stop.
struct Busy {
    clients: JoinSet<io::Result<Vec<f64>>>,
    stop: Arc<AtomicBool>,
}

impl Busy {
    async fn enter(
        address: SocketAddr,
        service: &'static str,
        turn: &Turn<'_>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in enter(address, BUSY, &turn.plan.bar).await? {
            clients.spawn(be_busy(client, service, Arc::clone(&stop)));
        }
        Ok(Self { clients, stop })
    }

    /// Tells them to stop; gives the times of all their calls, seconds.
    async fn end(mut self) -> io::Result<Vec<f64>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            times.extend(client.map_err(io::Error::other)??);
        }
        Ok(times)
    }
}

async fn be_busy(
    mut client: Client,
    service: &'static str,
    stop: Arc<AtomicBool>,
) -> io::Result<Vec<f64>> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        match client.call(service, None).await? {
            Outcome::Answered => times.push(began.elapsed().as_secs_f64()),
            Outcome::Closed(message) => {
                is_of_a_drain(&message)?;
                client.leave(1012).await?;
                return Ok(times);
            }
        }
        let page_is_there = times.len() % CALLS_OF_A_PAGE == 0;
        let pause = if page_is_there { READING } else { BETWEEN_CALLS };
        // As a browser does, it answers pings meanwhile.
        if let Ok(message) = tokio::time::timeout(pause, client.raw.read_message()).await {
            is_of_a_drain(&message?)?;
            client.leave(1012).await?;
            return Ok(times);
        }
    }
    client.leave(1000).await?;
    Ok(times)
}
