//! What the gateway has pushed to Redis, compared with what it must. Addresses, threads and ids are
//! its own; they are held to their form, and to each other: a conversation has a thread of its own,
//! a connection a name in all of its threads, and a session stays with the worker that has accepted
//! it.

use std::collections::{BTreeSet, HashMap};

use slackwater_bus::xmpp::stanza::Message;
use slackwater_core::osrf::is_plain_id;
use slackwater_core::session::identity::ClientId;
use slackwater_lab::bus::redis::server::{DOMAIN, OTHER_DOMAIN};
use slackwater_lab::bus::redis::tap::Push;
use slackwater_lab::bus::xmpp::server as xmpp;
use slackwater_lab::bus::xmpp::tap::Passed;

use crate::connection::PROBE;
use crate::envelope::{Envelope, difference, service_of};
use crate::json::start;
use crate::pushed::Expected;
use crate::scenario::List;

/// A push that was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    list: String,
    envelope: Envelope,
}

impl Seen {
    pub(crate) fn read(push: Push) -> Result<Self, String> {
        Ok(Self { envelope: Envelope::read(&push.text)?, list: push.list })
    }
}

/// What is pushed that the comparison needs: what the gateway pushes, and which worker has
/// accepted a session.
pub(crate) fn is_wanted(push: &Push) -> bool {
    let from_gateway = push.text.contains(r#""from":"opensrf:client:gateway:"#);
    let service = push.list.starts_with("opensrf:service:");
    (from_gateway && !service) || push.text.contains("Connection Successful")
}

/// Compares what must be pushed with what was, to a Redis that others push to, too, by the gateway
/// with this process id.
pub(crate) fn compare_on_redis(
    expected: &[Expected],
    seen: &[Seen],
    pid: u32,
) -> Result<(), String> {
    // Of the form opensrf:client:USER:DOMAIN:HOST:PID:RANDOM.
    let (own, pid) = (format!("opensrf:client:gateway:{DOMAIN}:"), pid.to_string());
    let is_own = |address: &str| {
        let parts: Option<Vec<&str>> = address.strip_prefix(&own).map(|it| it.split(':').collect());
        matches!(parts.as_deref(), Some([host, process, random])
            if !host.is_empty() && *process == pid && !random.is_empty())
    };
    let (mut workers, mut came) = (HashMap::new(), Vec::new());
    for seen in seen {
        if is_own(&seen.list) {
            workers.insert(&seen.envelope.thread, &seen.envelope.from);
        } else if is_own(&seen.envelope.from) && seen.envelope.xid.as_deref() != Some(PROBE) {
            came.push(seen);
        }
    }
    if came.iter().map(|seen| &seen.envelope.from).collect::<BTreeSet<_>>().len() > 1 {
        return Err("more than one address of its own".to_owned());
    }

    compare(expected, &came, &workers, Spelling::Redis)
}

/// Compares what must be sent with what was, on the streams of one gateway.
pub(crate) fn compare_on_xmpp(expected: &[Expected], passed: Passed) -> Result<(), String> {
    let (mut came, mut ids) = (Vec::new(), BTreeSet::new());
    for message in passed.out {
        let Message { to, id, thread, xid, router_class, router_command, body, failure, .. } =
            message;
        let plain = router_class.is_empty() && router_command.is_empty() && failure.is_none();
        if !plain || !ids.insert(id.clone()) || !id.starts_with(&thread) {
            return Err(format!("a stanza {id:?} to {to}"));
        }
        let text = format!(r#"{{"body":{body}}}"#);
        let keys = ["body", "from", "osrf_xid", "thread", "to"].map(str::to_owned).into();
        let envelope = Envelope { keys, to, thread, xid, ..Envelope::read(&text)? };
        if envelope.xid.as_deref() != Some(PROBE) {
            let list = envelope.to.clone();
            came.push(Seen { list, envelope });
        }
    }
    let accepts = |message: &&Message| message.body.contains("Connection Successful");
    let workers = passed.back.iter().filter(accepts);
    let workers = workers.map(|message| (&message.thread, &message.from)).collect();
    compare(expected, &came.iter().collect::<Vec<_>>(), &workers, Spelling::Xmpp)
}

/// How a bus writes addresses.
#[derive(Debug, Clone, Copy)]
enum Spelling {
    Redis,
    Xmpp,
}

impl Spelling {
    /// The service, if this is the way to the router.
    fn service<'a>(self, list: &str, to: &'a str) -> Option<&'a str> {
        match self {
            Self::Redis => {
                (list == format!("opensrf:router:router:{DOMAIN}")).then(|| service_of(to))
            }
            Self::Xmpp => to.strip_prefix(&format!("router@{}/", xmpp::DOMAIN)),
        }
    }

    fn is_worker(self, address: &str) -> bool {
        address.starts_with(&match self {
            Self::Redis => format!("opensrf:client:opensrf:{OTHER_DOMAIN}:"),
            Self::Xmpp => format!("opensrf@{}/drone_", xmpp::OTHER_DOMAIN),
        })
    }
}

fn compare(
    expected: &[Expected],
    came: &[&Seen],
    workers: &HashMap<&String, &String>,
    spelling: Spelling,
) -> Result<(), String> {
    let mut bound = Bound::default();
    let mut taken = vec![false; came.len()];
    for one in expected {
        let mut wrong = Vec::new();
        let found =
            came.iter().enumerate().filter(|(index, _)| !taken[*index]).find(|(index, it)| {
                let fits = bound.fits(one, *index, it, workers, spelling);
                fits.map_err(|reason| wrong.push(reason)).is_ok()
            });
        let Some((index, seen)) = found else {
            let (frame, list) = (one.frame, one.content.list);
            let wrong: Vec<String> = wrong.into_iter().take(5).collect();
            let wrong = wrong.join("\n     ");
            return Err(format!("nothing pushed fits frame {frame}, {list:?}:\n     {wrong}"));
        };
        taken[index] = true;
        bound.bind(one, index, &seen.envelope);
    }
    match taken.iter().position(|taken| !taken) {
        None => Ok(()),
        Some(index) => Err(format!(
            "pushed, but not expected: {} {}",
            came[index].envelope.thread,
            start(&format!("{:?}", came[index].envelope.messages))
        )),
    }
}

/// A client's connection, its thread, and where to.
type Way = (usize, Option<String>, List);

fn way(expected: &Expected) -> Way {
    (expected.connection, expected.thread.clone(), expected.content.list)
}

/// What is what on the bus, as far as it has shown.
#[derive(Default)]
struct Bound {
    /// The thread of each conversation, and where its last envelope was in the order of all.
    threads: HashMap<usize, (String, usize)>,
    /// The same of all that a client sent in one conversation of its own, by one way: the ways to
    /// the router and to workers are two connections to Redis.
    ways: HashMap<Way, usize>,
    /// The name of each connection.
    clients: HashMap<usize, ClientId>,
}

impl Bound {
    fn fits(
        &self,
        expected: &Expected,
        index: usize,
        Seen { list, envelope }: &Seen,
        workers: &HashMap<&String, &String>,
        spelling: Spelling,
    ) -> Result<(), String> {
        let must = |so: bool, what: String| if so { Ok(()) } else { Err(what) };
        if let Some(difference) = difference(&expected.content.messages, &envelope.messages) {
            return Err(difference);
        }
        let keys = ["body", "from", "osrf_xid", "thread", "to"];
        must(envelope.keys.iter().eq(keys), format!("keys {:?}", envelope.keys))?;
        let to = &envelope.to;
        match expected.content.list {
            List::Router => {
                let service = spelling.service(list, to);
                must(service == Some(&expected.content.service), format!("list {list}, to {to}"))?;
            }
            List::Worker => {
                let worker = workers.get(&envelope.thread);
                must(to == list && spelling.is_worker(to), format!("list {list}, to {to}"))?;
                must(worker == Some(&to), format!("{worker:?} has the session, not {to}"))?;
            }
        }
        let (thread, xid) = (&envelope.thread, envelope.xid.as_deref());
        let client = ClientId::parse_thread(thread).map(|(client, _)| client);
        let Some(client) = client else { return Err(format!("thread {thread}")) };
        match self.clients.get(&expected.connection) {
            Some(known) => must(*known == client, format!("thread {thread} of another client"))?,
            None => {
                let is_new = self.clients.values().all(|known| *known != client);
                must(is_new, format!("thread {thread} of another connection"))?;
            }
        }
        match self.threads.get(&expected.conversation) {
            Some((known, last)) => {
                must(known == thread, format!("thread {thread}, not {known}"))?;
                must(*last < index, "before what must come first".to_owned())?;
            }
            None => {
                let is_new = self.threads.values().all(|(known, _)| known != thread);
                must(is_new, format!("thread {thread} of another conversation"))?;
            }
        }
        let last = self.ways.get(&way(expected));
        must(last.is_none_or(|last| *last < index), "before what was sent first".to_owned())?;
        match &expected.xid {
            Some(given) => must(xid == Some(given), format!("osrf_xid {xid:?}, not {given}")),
            None => must(xid.is_some_and(is_plain_id), format!("osrf_xid {xid:?}")),
        }
    }

    fn bind(&mut self, expected: &Expected, index: usize, envelope: &Envelope) {
        self.ways.insert(way(expected), index);
        self.threads.insert(expected.conversation, (envelope.thread.clone(), index));
        if let Some((client, _)) = ClientId::parse_thread(&envelope.thread) {
            self.clients.insert(expected.connection, client);
        }
    }
}
