//! `slackwater status`

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use super::gateway::Gateway;
use super::{Failure, print, shown};
use crate::cli::StatusOptions;
use crate::config::Surroundings;
use crate::operate::status::{Connection, Phase, Status};

/// Between two looks of `--watch`.
const PACE: Duration = Duration::from_secs(1);

/// Moves the cursor home and clears the screen (ECMA-48 CUP, ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// How many of those that hold a drain are named, and how many services.
const NAMED: usize = 10;

pub(super) async fn run(
    options: &StatusOptions,
    surroundings: &Surroundings,
) -> Result<u8, Failure> {
    let gateway = Gateway::find(&options.target, surroundings)?;
    if !options.watch {
        print::raw(look(&gateway, options.json).await?)?;
        return Ok(0);
    }
    let clear = if std::io::stdout().is_terminal() && !options.json { CLEAR } else { "" };
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        print::raw(format_args!("{clear}{}", look(&gateway, options.json).await?))?;
    }
}

async fn look(gateway: &Gateway, json: bool) -> Result<String, Failure> {
    if json {
        return gateway.status_text().await;
    }
    let status = gateway.status().await?;
    let holding = match status.phase {
        Phase::Serving | Phase::Drained => Vec::new(),
        Phase::Announce | Phase::Refuse | Phase::Ebb => gateway.holding(NAMED).await?,
    };
    Ok(page(&status, &holding))
}

fn page(status: &Status, holding: &[Connection]) -> String {
    let counts = &status.counts;
    let phase = shown::phase(status.phase);
    let listen = status.listen.join(", ");
    let uptime = shown::seconds(status.uptime_seconds);
    let behind = match (&status.bus, &status.program) {
        (Some(bus), _) => {
            let health = match (bus.healthy, &bus.reason) {
                (true, _) => "healthy".to_owned(),
                (false, None) => "LOST".to_owned(),
                (false, Some(reason)) => format!("LOST: {}", shown::words(reason)),
            };
            format!("bus          {}  {health}", bus.url)
        }
        (None, Some(program)) => format!("program      {}", shown::words(program)),
        (None, None) => "program      none".to_owned(),
    };
    let closed: Vec<_> =
        status.closed.iter().map(|(why, number)| format!("{why} {number}")).collect();
    let closed = if closed.is_empty() { "none".to_owned() } else { closed.join(", ") };
    let mut lines = vec![
        format!(
            "{phase}  {listen}  up {uptime}  slackwater {}, pid {}",
            status.version, status.pid
        ),
        behind,
        format!(
            "now          {}, {}, {}",
            shown::counted(status.connections, "connection"),
            shown::counted(status.pending_requests, "pending request"),
            shown::counted(status.sessions, "session"),
        ),
        format!(
            "received     {} = {} executed + {} held + {} rejected + {} crossed",
            counts.received, counts.executed, counts.held, counts.rejected, counts.crossed_requests
        ),
        format!(
            "executed     {} = {} answered + {} pending + {} cut off + {} client gone \
             + {} service gone + {} bus lost",
            counts.executed,
            counts.answered,
            status.pending_requests,
            counts.cut_off,
            counts.client_gone,
            counts.service_gone,
            counts.bus_lost
        ),
        format!(
            "besides      {} lost replies, {} stray answers, {} invalid messages",
            counts.lost_replies, counts.stray_answers, counts.invalid_messages
        ),
        format!("closed       {closed}"),
    ];
    if let Some(drain) = &status.drain {
        let since = shown::seconds(drain.since_seconds);
        let mut line = format!(
            "drain        {} of {} closed in {since}",
            drain.closed_so_far, drain.total_at_start
        );
        if let (None, Some(left)) = (drain.verdict, drain.deadline_seconds_left) {
            write!(line, ", {} to the deadline", shown::seconds(left)).unwrap_or_default();
        }
        lines.push(line);
    }
    let mut services: Vec<_> = status.services.iter().collect();
    services.sort_by_key(|(_, service)| std::cmp::Reverse(service.requests));
    lines.extend(services.into_iter().take(NAMED).map(|(name, service)| {
        let requests = shown::counted(service.requests, "request");
        let mean = service.mean_seconds * 1000.0;
        let name = shown::foreign(name);
        format!("  {name}  {requests}, {} without a result, {mean:.1} ms", service.errors)
    }));
    lines.extend(
        holding.iter().map(|connection| format!("  held by    {}", shown::holder(connection))),
    );
    lines.join("\n") + "\n"
}
