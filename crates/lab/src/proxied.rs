//! Answers behind a proxy, at the moment at which they are easiest to destroy: a large one is on
//! its way to a slow reader, the gateway's Close is right behind it, and the client goes on
//! sending.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::caller::DEMO;
use crate::ledger::{Ledger, Totals, Verdict};
use crate::opensrf;
use crate::process::Gateway;
use crate::proxy::{Proxy, Stream};
use crate::raw::{End, RawClient, frame, opcode};

/// The label under which the bus counts these requests.
pub const LABEL: &str = "proxied";

/// Of the answer before the Close.
const BYTES: usize = 3_000_000;

/// A client's receive buffer: what does not fit waits in the proxy, where a reset destroys it.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// A slow client's pause behind each frame that it reads.
const PAUSE: Duration = Duration::from_millis(1);

/// A client sends a request so often, from our Close on until it has read it.
const SENDS_EVERY: Duration = Duration::from_millis(1);

const PATIENCE: Duration = Duration::from_secs(60);

/// What came of some clients.
#[derive(Debug, Default)]
pub struct Figures {
    /// Clients that saw the whole answer, Close 1012 `drained`, and an end in order.
    pub whole: u64,
    /// What happened to the others.
    pub destroyed: Vec<String>,
    /// What those that saw it whole have sent and seen.
    pub totals: Totals,
}

/// Lets `clients` ask for the large answer through the proxy, drains the gateway until its Close is
/// behind each answer, and only then lets them read and send. Calls the drain off at the end.
///
/// # Errors
/// They could not get so far, or something came that was not asked for.
pub async fn run(
    gateway: &mut Gateway,
    proxy: &Proxy,
    tls: bool,
    clients: u64,
) -> io::Result<Figures> {
    let before = gateway.status().await?["executed"].as_u64().unwrap_or_default();
    let (go, gone) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let raw = proxy.connect(tls, RECEIVE_BUFFER).await?;
        tasks.spawn(client(raw, gone.clone()));
    }
    let asked = before + clients;
    gateway.until("all have asked", |status| status["executed"] == asked).await?;
    gateway.control("POST", "/drain", "").await?;
    closing(gateway).await?;
    go.send_replace(true);
    let mut figures = Figures::default();
    while let Some(ended) = tasks.join_next().await {
        match ended.map_err(io::Error::other)? {
            Ok(totals) => {
                figures.whole += 1;
                figures.totals += totals;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
            Err(error) => figures.destroyed.push(error.to_string()),
        }
    }
    let drained: fn(&Value) -> bool = |status| status["phase"] == "drained";
    gateway.until("the drain ends", drained).await?;
    gateway.control("POST", "/undrain", "").await?;
    Ok(figures)
}

/// Waits until the gateway's Close is out on every connection.
async fn closing(gateway: &Gateway) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let connections = gateway.control("GET", "/connections", "").await?;
        let all = connections.as_array().map(Vec::as_slice).unwrap_or_default();
        if all.iter().all(|one| one["phase"] == "closing" || one["phase"] == "ending") {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("no Close in time: {connections}")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the reading half has for the writing half to do.
enum Order {
    Pong(Vec<u8>),
    Close,
}

async fn client(
    mut raw: RawClient<Box<dyn Stream>>,
    mut go: watch::Receiver<bool>,
) -> io::Result<Totals> {
    let mut ledger = Ledger::default();
    ledger.ask(("large".to_owned(), 1), [json!("x".repeat(BYTES))]);
    let method = format!("{DEMO}.bytes");
    let request = opensrf::request(DEMO, "large", 1, &method, &json!([BYTES, LABEL]));
    raw.send_text(&request).await?;
    go.wait_for(|go| *go).await.map_err(io::Error::other)?;

    let (reader, writer) = raw.into_halves();
    let (orders, to_do) = mpsc::channel(16);
    let writing = tokio::spawn(go_on_sending(writer, to_do));
    let read = tokio::time::timeout(PATIENCE, read_slowly(reader, &mut ledger, orders)).await;
    let sent = writing.await.map_err(io::Error::other)?;
    read??;
    let totals = ledger.close();
    // All of these are behind our Close: an answer to one would have been a stranger's.
    Ok(Totals { sent: totals.sent + sent, unanswered: totals.unanswered + sent, ..totals })
}

/// Reads to the end. Fails with `InvalidData` for what must never come, and otherwise if the answer
/// was destroyed.
async fn read_slowly(
    mut reader: RawClient<tokio::io::ReadHalf<Box<dyn Stream>>>,
    ledger: &mut Ledger,
    orders: mpsc::Sender<Order>,
) -> io::Result<()> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let ended = |_| io::Error::other("the connection was reset under the writing half");
    loop {
        let frame = reader.read_frame().await.map_err(|error| {
            io::Error::other(format!("{error} with {} requests open", ledger.open()))
        })?;
        match frame.opcode {
            opcode::PING => orders.send(Order::Pong(frame.payload)).await.map_err(ended)?,
            opcode::CLOSE => {
                if ledger.open() > 0 || frame.payload != b"\x03\xf4drained" {
                    return Err(invalid(format!("{frame:?} with {} open", ledger.open())));
                }
                orders.send(Order::Close).await.map_err(ended)?;
                return match reader.end().await? {
                    End::Fin => Ok(()),
                    End::Reset => Err(io::Error::other("reset behind the Close")),
                };
            }
            _ => {
                for answer in opensrf::answers(&String::from_utf8_lossy(&frame.payload)) {
                    match ledger.hear(&answer).map_err(invalid)? {
                        None | Some((_, Verdict::Answered)) => {}
                        Some(other) => return Err(invalid(format!("{other:?}"))),
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Sends requests until the Close is to be echoed, or nothing can be sent any more. Gives how many
/// went out.
async fn go_on_sending(
    mut writer: WriteHalf<Box<dyn Stream>>,
    mut orders: mpsc::Receiver<Order>,
) -> u64 {
    let method = format!("{DEMO}.wait");
    let mut sent = 0;
    loop {
        let (bytes, is_last) = tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Pong(payload)) => (frame(opcode::PONG, true, &payload), false),
                Some(Order::Close) => (frame(opcode::CLOSE, true, &1012_u16.to_be_bytes()), true),
                None => return sent,
            },
            () = tokio::time::sleep(SENDS_EVERY) => {
                sent += 1;
                let trace = u32::try_from(sent).unwrap_or(u32::MAX);
                let params = json!([0, sent, LABEL]);
                let request = opensrf::request(DEMO, "crossing", trace, &method, &params);
                (frame(opcode::TEXT, true, request.as_bytes()), false)
            }
        };
        let written = writer.write_all(&bytes).await.is_ok() && writer.flush().await.is_ok();
        if is_last || !written {
            // The half is kept until the other has seen the end.
            orders.recv().await;
            return sent;
        }
    }
}
