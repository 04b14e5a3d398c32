//! What idle clients cost, and what a burst of large messages leaves behind. Counted is all that the
//! process holds, what its allocator keeps for later included.

use std::io;

use super::Turn;
use super::crowds::{Client, all_call, each, enter};
use crate::bench::record::Figure;
use crate::bench::stage::{LARGE, Running, Service};
use crate::bench::subject::Subject;

/// What a client of the memory scenario sends and receives at most, bytes.
const LARGE_ONE: usize = 64 * 1024;
/// Clients of the burst.
const BURST: usize = 500;

/// For which they then are idle, in times that memory must not change.
const IDLE: u32 = 10;

/// More clients than this a subject cannot have: of 20,000 descriptors the relay takes three for each,
/// and a peer may take a process.
fn most(subject: &Subject) -> usize {
    match subject {
        Subject::Relay(_) => 5_000,
        Subject::Peer(_) => 1_000,
        Subject::Bare(_) | Subject::Gateway(_) | Subject::Run | Subject::Websocketd => usize::MAX,
    }
}

/// So many clients connect, call, send and receive something large, and leave; between any two steps
/// they are idle.
pub(super) async fn memory(mut turn: Turn<'_>) -> io::Result<()> {
    let service = Service::Instant.on(turn.subject.bus());
    for &count in &turn.plan.idle {
        if count > most(turn.subject) {
            continue;
        }
        let running = turn.stage.fresh(turn.subject, &[]).await?;
        // What is made at the first call is no client's.
        each(enter(running.address()?, 1, &turn.plan.bar).await?, |mut client| async move {
            client.ask(service, None).await?;
            client.leave(1000).await?;
            Ok(client)
        })
        .await?;
        let before = running.settled(turn.plan.settle).await?;
        let clients = enter(running.address()?, count, &turn.plan.bar).await?;
        look(&mut turn, &running, before, count, "connected").await?;
        turn.plan.bar.set_message(format!("{count} clients call"));
        let clients = all_call(clients, service, None).await?;
        look(&mut turn, &running, before, count, "after a call").await?;
        turn.plan.bar.set_message(format!("{count} clients send and receive 64 KiB"));
        let clients = all_call(clients, service, Some(LARGE_ONE)).await?;
        look(&mut turn, &running, before, count, "after 64 KiB").await?;
        turn.plan.bar.set_message(format!("{count} clients leave"));
        all_leave(clients).await?;
        look(&mut turn, &running, before, count, "gone").await?;
    }
    Ok(())
}

async fn look(
    turn: &mut Turn<'_>,
    running: &Running,
    before: f64,
    count: usize,
    when: &str,
) -> io::Result<()> {
    let now = running.settled(turn.plan.settle).await?;
    let figures = [
        (Figure::Memory, now),
        (Figure::MemoryEach, (now - before) / count as f64),
        (Figure::Threads, running.threads()?),
        (Figure::BusConnections, running.bus_connections()?),
    ];
    turn.saw(format!("{count} clients, {when}"), count as f64, figures);
    Ok(())
}

async fn all_leave(clients: Vec<Client>) -> io::Result<()> {
    let leaving = each(clients, |mut client| async move {
        client.leave(1000).await?;
        Ok(client)
    });
    leaving.await.map(drop)
}

/// Each of the clients sends and receives 1 MiB.
pub(super) async fn burst(mut turn: Turn<'_>) -> io::Result<()> {
    let service = Service::Instant.on(turn.subject.bus());
    let running = turn.stage.fresh(turn.subject, &[]).await?;
    let clients = enter(running.address()?, BURST, &turn.plan.bar).await?;
    let clients = all_call(clients, service, None).await?;
    let before = running.settled(turn.plan.settle).await?;
    turn.plan.bar.set_message(format!("{BURST} clients send and receive 1 MiB"));
    let clients = all_call(clients, service, Some(LARGE)).await?;
    turn.plan.bar.set_message(format!("{BURST} clients are idle"));
    tokio::time::sleep(turn.plan.settle * IDLE).await;
    let after = running.settled(turn.plan.settle).await?;
    turn.saw("before", 0.0, [(Figure::Memory, before)]);
    let figures = [(Figure::Memory, after), (Figure::MemoryRatio, after / before)];
    turn.saw("after", 1.0, figures);
    all_leave(clients).await
}
