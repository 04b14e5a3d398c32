//! Requests that cross the gateway's Close on the wire: each is sent a moment after the barrier's
//! Ping has come, by clients that do not look whether the Close has come too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::caller::{Caller, Heard};
use crate::chance::Chance;
use crate::ledger::Totals;
use crate::process::Gateway;

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Requests sent behind a Ping, in all.
    pub attempts: u64,
    /// Clients that one drain closes.
    pub clients: u64,
    /// The longest time between the Ping and the request.
    pub latest: Duration,
    /// Of the run.
    pub seed: u64,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Drains.
    pub drains: u64,
    /// Connections, each closed with 1012 `drained` and a FIN.
    pub connections: u64,
    /// What their clients have seen.
    pub totals: Totals,
}

/// The label under which the bus counts these requests.
pub const LABEL: &str = "crossing";

/// All clients use the same thread: their names are their own.
const THREAD: &str = "t";

/// Drains the gateway, with clients that send as they should not, and calls the drain off, until
/// the attempts are used up. The gateway needs a quiet window that is short, and no ebb window.
///
/// # Errors
/// An answer was lost, wrong or a stranger's; a Close was not 1012 `drained`; TCP ended otherwise
/// than with a FIN; a drain did not end.
pub async fn run(gateway: &mut Gateway, plan: Plan) -> io::Result<Figures> {
    let mut chance = Chance::new(plan.seed);
    let left = Arc::new(AtomicU64::new(plan.attempts));
    let mut figures = Figures::default();
    while left.load(Ordering::Relaxed) > 0 {
        let mut clients = JoinSet::new();
        for number in 0..plan.clients {
            let mut caller = Caller::connect(gateway.address()).await?;
            // Every client begins with a request, and has its answer whole.
            let name = format!("{}.{number}", figures.drains);
            caller.echo((THREAD, 1), json!(name), LABEL).await?;
            caller.until_answered().await?;
            clients.spawn(cross(caller, name, Arc::clone(&left), plan.latest, chance.fork()));
        }
        gateway.control("POST", "/drain", "").await?;
        while let Some(client) = clients.join_next().await {
            figures.totals += client.map_err(io::Error::other)??;
            figures.connections += 1;
        }
        let drained: fn(&Value) -> bool = |status| status["phase"] == "drained";
        gateway.until("the drain ends", drained).await?;
        gateway.control("POST", "/undrain", "").await?;
        figures.drains += 1;
    }
    Ok(figures)
}

async fn cross(
    mut caller: Caller,
    name: String,
    left: Arc<AtomicU64>,
    latest: Duration,
    mut chance: Chance,
) -> io::Result<Totals> {
    let take = |left: u64| left.checked_sub(1);
    let mut trace = 1;
    loop {
        match caller.hear().await? {
            Heard::Answers { .. } => {}
            Heard::Ping(payload) => {
                caller.pong(&payload).await?;
                if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    pause(chance.time(latest)).await;
                    trace += 1;
                    let value = json!(format!("{name}.{trace}"));
                    caller.echo((THREAD, trace), value, LABEL).await?;
                }
            }
            Heard::Close { code: 1012, reason } if reason == "drained" => {
                return caller.leave(1012).await;
            }
            close @ Heard::Close { .. } => return Err(io::Error::other(format!("{close:?}"))),
        }
    }
}

/// Waits to the microsecond: the runtime's timer knows only milliseconds, and the race is shorter.
async fn pause(time: Duration) {
    const COARSE: Duration = Duration::from_micros(1500);
    let due = Instant::now() + time;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match left.checked_sub(COARSE) {
            Some(most) => tokio::time::sleep(most).await,
            None => tokio::task::yield_now().await,
        }
    }
}
