//! Plays a scenario to a real gateway, and says what went otherwise than planned.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serde_json::Value;
use slackwater_lab::ledger::balanced;
use slackwater_lab::process::{Gateway, Signal};

use crate::answer::{Arrived, Item};
use crate::connection::{Connection, Wrong};
use crate::plan::{Action, Awaited};

/// How long any one answer may take; the slowest that is asked for takes 5 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays it to a gateway of its own, and ends that. `gone` requests are in flight when their
/// client goes.
pub(crate) async fn play(
    actions: Vec<Action>,
    mut gateway: Gateway,
    gone: usize,
) -> Result<(), Wrong> {
    let mut sockets = BTreeMap::new();
    for action in actions {
        act(action, &gateway, &mut sockets, false).await?;
    }
    for connection in sockets.values_mut() {
        connection.close().await?;
    }
    check_books(&mut gateway, gone).await?;
    gateway.signal(Signal::TERM)?;
    let (status, log) = (gateway.exit().await?, gateway.log());
    if !status.success() || log.contains("panicked") || log.contains("ERROR") {
        return Err(Wrong(format!("it ended with {status}: {log}")));
    }
    Ok(())
}

/// The invariants of the ledger, when all clients have gone.
async fn check_books(gateway: &mut Gateway, gone: usize) -> Result<(), Wrong> {
    let no_clients = |status: &Value| status["connections"] == 0;
    let status = gateway.until("all clients have gone", no_clients).await?;
    balanced(&status)?;
    let sums = ["pending_requests", "held", "sessions", "crossed_requests"].into_iter().chain([
        "cut_off",
        "service_gone",
        "bus_lost",
        "lost_replies",
    ]);
    let wrong: Vec<&str> = sums.filter(|name| status[name] != 0).collect();
    match wrong.is_empty() && status["client_gone"] == gone {
        true => Ok(()),
        false => Err(Wrong(format!("{wrong:?} are not 0, or {gone} were to be gone: {status}"))),
    }
}

/// Plays it to a gateway of its own, which drains when it gets a signal: every answer comes, then
/// a Close, and nothing is cut off.
pub(crate) async fn play_with_drain(
    actions: Vec<Action>,
    mut gateway: Gateway,
) -> Result<(), Wrong> {
    let mut sockets = BTreeMap::new();
    let mut last = None;
    for action in actions {
        if let Action::Signal(name) = &action {
            last = Some(name.clone());
        }
        act(action, &gateway, &mut sockets, last.is_some()).await?;
    }
    match last.as_deref() {
        Some("TERM") => {
            let status = gateway.exit().await?;
            if !status.success() {
                return Err(Wrong(format!("it ended with {status}")));
            }
        }
        _ => {
            let is_drained = |status: &Value| status["phase"] == "drained";
            let status = gateway.until("it is drained", is_drained).await?;
            if status["drain"]["verdict"] != "clean" {
                return Err(Wrong(format!("something was cut off: {status}")));
            }
        }
    }
    Ok(())
}

async fn act(
    action: Action,
    gateway: &Gateway,
    sockets: &mut BTreeMap<char, Connection>,
    drains: bool,
) -> Result<(), Wrong> {
    match action {
        Action::Send(socket, frame) => open(socket, gateway, sockets).await?.send(&frame).await,
        Action::Await(awaited) => {
            let Awaited { socket, thread, xid, what, request } = *awaited;
            let arrived = open(socket, gateway, sockets).await?.next(&thread).await?;
            check_xid(&arrived, xid.as_deref())?;
            Ok(what.check(&arrived, &request)?)
        }
        Action::Probe(socket) => open(socket, gateway, sockets).await?.probe().await,
        Action::Close(socket) => {
            let connection = open(socket, gateway, sockets).await?;
            let closed = if drains { connection.drained().await } else { connection.close().await };
            sockets.remove(&socket);
            closed
        }
        Action::Signal(name) => {
            // A connection must be there to be drained.
            open('a', gateway, sockets).await?;
            let signal = if name == "TERM" { Signal::TERM } else { Signal::USR1 };
            Ok(gateway.signal(signal)?)
        }
    }
}

async fn open<'a>(
    socket: char,
    gateway: &Gateway,
    sockets: &'a mut BTreeMap<char, Connection>,
) -> Result<&'a mut Connection, Wrong> {
    match sockets.entry(socket) {
        Entry::Occupied(connection) => Ok(connection.into_mut()),
        Entry::Vacant(place) => {
            let mut client = gateway.connect().await?;
            client.patience = PATIENCE;
            Ok(place.insert(Connection::new(client)))
        }
    }
}

/// A plain id that the client gave is echoed; in the place of any other the gateway makes one.
fn check_xid(arrived: &Arrived, given: Option<&str>) -> Result<(), Wrong> {
    let is_plain = |xid: &str| {
        (1..=64).contains(&xid.len())
            && xid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
    };
    let fits = match (&arrived.item, arrived.xid.as_deref()) {
        (Item::Error(_), xid) => xid.is_none(),
        (Item::Message(_), None) => false,
        (Item::Message(_), Some(xid)) => match given.filter(|given| is_plain(given)) {
            Some(given) => xid == given,
            None => is_plain(xid),
        },
    };
    if fits { Ok(()) } else { Err(Wrong(format!("log_xid {given:?} was given, {arrived:?}"))) }
}
