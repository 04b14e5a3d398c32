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
use super::text::{self, Answers};
use super::xmpp::{self, Stanza};
use crate::bus::{Account, Kind};

/// A list, and what is to be pushed to it.
type Push = (String, String);

/// Bytes that are collected before they are sent.
const MOST_UNSENT: usize = 1 << 20;
/// Messages that are taken at once.
const MOST_AT_ONCE: &[u8] = b"500";
/// Before this much of a worker's time is over it does not sleep any more: sleepers wake late.
const AWAKE: Duration = Duration::from_micros(80);

/// A service. It has as many workers as are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// From the moment at which a worker has a request to its answer.
    pub takes: Duration,
    /// What that is.
    pub answers: Answers,
}

/// `NAME[=MICROSECONDS][,results=COUNTxBYTES[/MICROSECONDS]|,chunks=COUNTxBYTES]`; to echo takes
/// neither. The second time is that between two results.
impl std::str::FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("not a number: {text:?}"));
        let (head, answers) = text.split_once(',').unwrap_or((text, ""));
        let (name, takes) = head.split_once('=').unwrap_or((head, "0"));
        let takes = Duration::from_micros(number(takes)?);
        let size = |text: &str| {
            let (count, bytes) = text.split_once('x').ok_or("expected COUNTxBYTES")?;
            Ok::<_, String>((number(count)? as usize, number(bytes)? as usize))
        };
        let answers = match answers.split_once('=') {
            None if answers.is_empty() => Answers::Echo,
            Some(("results", of)) => {
                let (of, apart) = of.split_once('/').unwrap_or((of, "0"));
                let apart = Duration::from_micros(number(apart)?);
                size(of).map(|(count, bytes)| Answers::Results { count, bytes, apart })?
            }
            Some(("chunks", of)) => {
                size(of).map(|(count, bytes)| Answers::Chunks { count, bytes })?
            }
            Some(_) | None => return Err(format!("expected results= or chunks=: {answers:?}")),
        };
        Ok(Self { name: name.to_owned(), takes, answers })
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
            all.push(threads.spawn(move || route(routing, &worker)));
            all.push(threads.spawn(move || answer(working, service)));
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
fn answer(mut wire: xmpp::Wire, service: &Service) -> io::Result<()> {
    let Service { takes, answers, .. } = *service;
    set_current_timer_slack(NonZeroU64::new(1))?;
    loop {
        let asked = wire.take()?;
        let due = Instant::now() + takes;
        for Stanza { from, thread, body } in asked {
            for answer in text::answers(&body, answers).into_iter().flatten() {
                wire.queue(&xmpp::message(&from, "", &thread, &answer));
            }
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
            let Service { takes, answers, .. } = *service;
            if takes.is_zero() {
                let reply = move |envelope: &str| reply(envelope, answers);
                let apart = answers.apart();
                all.push(threads.spawn(move || pass_on(&mut wire, &list, apart, reply)));
                continue;
            }
            let (working, done) = mpsc::channel();
            let mut replies = Wire::connect(account)?;
            all.push(threads.spawn(move || work(&mut wire, &list, service, &working)));
            all.push(threads.spawn(move || hand_in(&mut replies, &done)));
        }
        let mut wire = Wire::connect(account)?;
        let list = format!("opensrf:router:{router}:{}", account.domain);
        let route = |envelope: &str| {
            let list = text::service_list(account, text::service_of(envelope)?);
            Some([(list, envelope.to_owned())])
        };
        all.push(threads.spawn(move || pass_on(&mut wire, &list, Duration::ZERO, route)));
        ready()?;
        for thread in all {
            thread.join().map_err(|_| io::Error::other("a thread failed"))??;
        }
        Ok(())
    })
}

/// Takes what comes in a list, and pushes what `next` makes of it to where that belongs, each so
/// long after the last.
fn pass_on<Pushes: IntoIterator<Item = Push>>(
    wire: &mut Wire,
    list: &str,
    apart: Duration,
    next: impl Fn(&str) -> Option<Pushes>,
) -> io::Result<()> {
    let mut pushed = 0;
    loop {
        let messages = wait(wire, list, pushed)?;
        pushed = 0;
        let mut due = Instant::now();
        for (list, text) in messages.iter().filter_map(|message| next(message)).flatten() {
            wire.queue(&[b"RPUSH", list.as_bytes(), text.as_bytes()]);
            pushed += 1;
            due += apart;
            if wire.waits() > MOST_UNSENT || !apart.is_zero() {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                wire.flush()?;
                for _ in 0..pushed {
                    wire.reply()?;
                }
                pushed = 0;
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

/// The list that a request's answers belong to, with each of them.
fn reply(envelope: &str, answers: Answers) -> Option<impl Iterator<Item = Push> + use<>> {
    let part = |mark| text::between(envelope, mark, "\"").map(str::to_owned);
    let to = part("\"from\":\"")?;
    let thread = part("\"thread\":\"")?;
    let xid = part("\"osrf_xid\":\"").unwrap_or_default();
    let from = "opensrf:client:opensrf:lab:worker:1:1";
    Some(
        text::answers(envelope, answers)?
            .map(move |messages| (to.clone(), text::envelope(&to, from, &thread, &xid, &messages))),
    )
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
type Done = (Instant, Vec<Push>);

fn work(
    wire: &mut Wire,
    list: &str,
    service: &Service,
    working: &mpsc::Sender<Done>,
) -> io::Result<()> {
    loop {
        let messages = wait(wire, list, 0)?;
        let due = Instant::now() + service.takes;
        let replies = messages.iter().filter_map(|message| reply(message, service.answers));
        working.send((due, replies.flatten().collect())).map_err(io::Error::other)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_with_what_it_does() {
        let parse = |text: &str| text.parse::<Service>();
        let service = parse("a.b=400").unwrap();
        assert_eq!((service.takes, service.answers), (Duration::from_micros(400), Answers::Echo));
        let service = parse("a.b,chunks=3x100").unwrap();
        assert_eq!(service.name, "a.b");
        assert_eq!(service.answers, Answers::Chunks { count: 3, bytes: 100 });
        let apart = Duration::from_micros(50);
        let service = parse("a.b,results=3x100/50").unwrap();
        assert_eq!(service.answers, Answers::Results { count: 3, bytes: 100, apart });
        for wrong in ["a=x", "a,results=3", "a,pieces=1x2", "a,results=3xy"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
