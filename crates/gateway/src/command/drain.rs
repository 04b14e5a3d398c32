//! `slackwater drain`: begins a drain, and with `--wait` stays until it is over.

mod screen;

use self::screen::Screen;
use super::gateway::{Events, Gateway};
use super::{Failure, print, shown};
use crate::cli::DrainOptions;
use crate::config::Surroundings;
use crate::operate::status::{Phase, Status, Verdict};

pub(super) async fn run(
    options: &DrainOptions,
    surroundings: &Surroundings,
) -> Result<u8, Failure> {
    let gateway = Gateway::find(&options.target, surroundings)?;
    if !options.wait {
        let status = gateway.drain(options.deadline).await?;
        print::line(screen::progress(&status))?;
        return Ok(0);
    }
    // Followed from before the drain begins: a gateway that is being stopped may be gone, with
    // its verdict, before it has answered us.
    let mut events = gateway.events().await?;
    let asked = match gateway.drain(options.deadline).await {
        Ok(_) => Ok(()),
        Err(Failure::Unreachable(reason)) => Err(Failure::Unreachable(reason)),
        Err(failure) => return Err(failure),
    };
    let mut screen = Screen::new();
    let end = wait(&gateway, &mut events, &mut screen).await;
    screen.clear();
    match end? {
        End::Drained(status, verdict) => report(&status, verdict),
        End::CalledOff => Err(Failure::Failed("the drain was called off".to_owned())),
        End::Gone => asked.and_then(|()| {
            let what = "the gateway ended before its drain did: what it cut off is unknown";
            Err(Failure::Unreachable(what.to_owned()))
        }),
    }
}

/// How waiting for a drain ends.
enum End {
    Drained(Box<Status>, Verdict),
    CalledOff,
    Gone,
}

async fn wait(gateway: &Gateway, events: &mut Events, screen: &mut Screen) -> Result<End, Failure> {
    while let Some(progress) = events.next().await? {
        let status = &progress.status;
        let verdict = status.drain.as_ref().and_then(|drain| drain.verdict);
        match (status.phase, verdict) {
            (Phase::Drained, Some(verdict)) => {
                return Ok(End::Drained(Box::new(progress.status), verdict));
            }
            // This event may be older than the drain: ask again.
            (Phase::Serving, _) => {
                let now = gateway.status().await.map(|status| status.phase);
                if now == Ok(Phase::Serving) {
                    return Ok(End::CalledOff);
                }
            }
            (Phase::Announce | Phase::Refuse | Phase::Ebb | Phase::Drained, _) => {
                screen.show(&progress)?;
            }
        }
    }
    Ok(End::Gone)
}

fn report(status: &Status, verdict: Verdict) -> Result<u8, Failure> {
    let took = status.drain.as_ref().map_or(0.0, |drain| drain.since_seconds);
    let took = shown::seconds(took);
    match verdict {
        Verdict::Clean => {
            print::line(format_args!("drained in {took}: nothing was cut off"))?;
            Ok(0)
        }
        Verdict::CutOff => {
            let requests = shown::counted(status.counts.cut_off, "request");
            let lost = status.counts.lost_replies;
            print::line(format_args!(
                "drained in {took}: {requests} cut off, replies lost: {lost}; \
                 the gateway's log names them"
            ))?;
            Ok(3)
        }
    }
}
