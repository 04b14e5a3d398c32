//! A router and workers that do nothing but what the bus demands: what is measured is everybody
//! else. The path is a real site's, from the router's list to a service's to the client's.
//!
//! Law: one write and one read a batch. Each thread has one connection, on which its pushes and its
//! next wait go out together.

use std::io;
use std::num::NonZeroU64;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;

use super::resp::Wire;
use super::text;
use super::xmpp::{self, Stanza};
use crate::bus::{Account, Kind};

/// Messages that are taken at once.
const MOST_AT_ONCE: &[u8] = b"500";
/// Before this much of a worker's time is over it does not sleep any more: sleepers wake late.
const AWAKE: Duration = Duration::from_micros(80);

/// A service, and how long each of its requests takes. It has as many workers as are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// From the moment at which a worker has a request to its answer.
    pub takes: Duration,
}

/// `NAME`, or `NAME=MICROSECONDS`.
impl std::str::FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, takes) = text.split_once('=').unwrap_or((text, "0"));
        let takes =
            takes.parse().map_err(|_| format!("not a number of microseconds: {takes:?}"))?;
        Ok(Self { name: name.to_owned(), takes: Duration::from_micros(takes) })
    }
}

/// Serves until the bus ends. Tells `ready` when all is connected.
///
/// # Errors
/// The bus has ended, or was never there.
pub fn serve(
    account: &Account,
    router: &str,
    services: &[Service],
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    match account.bus {
        Kind::Redis => serve_redis(account, router, services, ready),
        Kind::Xmpp => serve_xmpp(account, services, ready),
    }
}

/// On XMPP each service has a stream of the router's and one of its workers.
fn serve_xmpp(
    account: &Account,
    services: &[Service],
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    std::thread::scope(|threads| {
        let mut all = Vec::new();
        for service in services {
            let resource = format!("{}_worker", service.name);
            let worker = format!("{}@{}/{resource}", account.user, account.domain);
            let routing = xmpp::Wire::connect(account, &service.name)?;
            let working = xmpp::Wire::connect(account, &resource)?;
            let takes = service.takes;
            all.push(threads.spawn(move || route(routing, &worker)));
            all.push(threads.spawn(move || answer(working, takes)));
        }
        ready()?;
        for thread in all {
            thread.join().map_err(|_| io::Error::other("a thread failed"))??;
        }
        Ok(())
    })
}

/// Passes what comes on to the worker.
fn route(mut wire: xmpp::Wire, worker: &str) -> io::Result<()> {
    loop {
        for Stanza { from, thread, body } in wire.take()? {
            wire.queue(&xmpp::message(worker, &from, &thread, &body));
        }
        wire.flush()?;
    }
}

/// Answers what comes, when it is due.
fn answer(mut wire: xmpp::Wire, takes: Duration) -> io::Result<()> {
    set_current_timer_slack(NonZeroU64::new(1))?;
    loop {
        let asked = wire.take()?;
        let due = Instant::now() + takes;
        for Stanza { from, thread, body } in asked {
            let answer = text::answer(&body).unwrap_or_default();
            wire.queue(&xmpp::message(&from, "", &thread, &answer));
        }
        if !takes.is_zero() {
            wait_until(due);
        }
        wire.flush()?;
    }
}

fn serve_redis(
    account: &Account,
    router: &str,
    services: &[Service],
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    std::thread::scope(|threads| {
        let mut all = Vec::new();
        for service in services {
            let list = text::service_list(account, &service.name);
            let mut wire = Wire::connect(account)?;
            if service.takes.is_zero() {
                all.push(threads.spawn(move || pass_on(&mut wire, &list, reply)));
                continue;
            }
            let (working, done) = mpsc::channel();
            let mut replies = Wire::connect(account)?;
            let takes = service.takes;
            all.push(threads.spawn(move || work(&mut wire, &list, takes, &working)));
            all.push(threads.spawn(move || hand_in(&mut replies, &done)));
        }
        let mut wire = Wire::connect(account)?;
        let list = format!("opensrf:router:{router}:{}", account.domain);
        let route = |envelope: &str| {
            Some((text::service_list(account, text::service_of(envelope)?), envelope.to_owned()))
        };
        all.push(threads.spawn(move || pass_on(&mut wire, &list, route)));
        ready()?;
        for thread in all {
            thread.join().map_err(|_| io::Error::other("a thread failed"))??;
        }
        Ok(())
    })
}

/// Takes what comes in a list, and pushes what `next` makes of it to where that belongs.
fn pass_on(
    wire: &mut Wire,
    list: &str,
    next: impl Fn(&str) -> Option<(String, String)>,
) -> io::Result<()> {
    let mut pushed = 0;
    loop {
        let messages = wait(wire, list, pushed)?;
        pushed = 0;
        for message in messages {
            if let Some((list, text)) = next(&message) {
                wire.queue(&[b"RPUSH", list.as_bytes(), text.as_bytes()]);
                pushed += 1;
            }
        }
    }
}

/// Sends what is queued and waits for messages; `pushed` answers come before them.
fn wait(wire: &mut Wire, list: &str, pushed: usize) -> io::Result<Vec<String>> {
    wire.queue(&[b"BLPOP", list.as_bytes(), b"1"]);
    wire.queue(&[b"LPOP", list.as_bytes(), MOST_AT_ONCE]);
    wire.flush()?;
    for _ in 0..pushed {
        wire.reply()?;
    }
    let first = wire.reply()?.popped();
    let messages = first.into_iter().chain(wire.reply()?.messages());
    Ok(messages.filter_map(|message| String::from_utf8(message).ok()).collect())
}

/// The list that a request's answer belongs to, and the answer.
fn reply(envelope: &str) -> Option<(String, String)> {
    let to = text::between(envelope, "\"from\":\"", "\"")?;
    let thread = text::between(envelope, "\"thread\":\"", "\"")?;
    let xid = text::between(envelope, "\"osrf_xid\":\"", "\"").unwrap_or_default();
    let messages = text::answer(envelope)?;
    let from = "opensrf:client:opensrf:lab:worker:1:1";
    Some((to.to_owned(), text::envelope(to, from, thread, xid, &messages)))
}

/// Sleeps, but for the last of it.
fn wait_until(due: Instant) {
    if let Some(asleep) = due.checked_duration_since(Instant::now() + AWAKE) {
        std::thread::sleep(asleep);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

/// Answers, and when they are to go.
type Done = (Instant, Vec<(String, String)>);

fn work(
    wire: &mut Wire,
    list: &str,
    takes: Duration,
    working: &mpsc::Sender<Done>,
) -> io::Result<()> {
    loop {
        let messages = wait(wire, list, 0)?;
        let due = Instant::now() + takes;
        let answers = messages.iter().filter_map(|message| reply(message)).collect();
        working.send((due, answers)).map_err(io::Error::other)?;
    }
}

/// Pushes each answer when it is due, to some microseconds.
fn hand_in(wire: &mut Wire, done: &mpsc::Receiver<Done>) -> io::Result<()> {
    // The kernel may be 50 µs late with a sleeper that does not ask for better.
    set_current_timer_slack(NonZeroU64::new(1))?;
    while let Ok((due, answers)) = done.recv() {
        wait_until(due);
        for (list, text) in &answers {
            wire.queue(&[b"RPUSH", list.as_bytes(), text.as_bytes()]);
        }
        wire.flush()?;
        for _ in answers {
            wire.reply()?;
        }
    }
    Ok(())
}
