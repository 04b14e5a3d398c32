//! OpenSRF 3's router: one stream to be told of listeners, and one for each service, whose address
//! requests are sent to (OPENSRF-XMPP §5, 6). What nobody takes goes to the next listener; the last
//! one's failure is told to whoever asked.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slackwater_bus::xmpp::stanza::{self, Head, Message};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::stream::Stream;
use crate::bus::Running;
use crate::bus::account::Account;
use crate::bus::router::Registered;

/// How long to wait before a bus that is lost is joined again.
const PAUSE: Duration = Duration::from_millis(50);
/// Requests that a service remembers, in case one comes back.
const REMEMBERED: usize = 4_096;

/// The listeners of one service, in the order of their turns, and who serves its address.
struct Class {
    listeners: Arc<Mutex<VecDeque<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Class {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(in crate::bus) fn start(account: Account) -> (Running, Registered) {
    let stop = Arc::new(AtomicBool::new(false));
    let (registered, receiver) = watch::channel(std::collections::BTreeSet::new());
    let task = tokio::spawn(async move {
        loop {
            // With the stream go the listeners, who will register again.
            let mut classes = BTreeMap::new();
            if let Err(error) = obey(&account, &mut classes, &registered).await {
                tracing::debug!(%error, "the bus is lost");
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    (Running { stop, task }, receiver)
}

async fn obey(
    account: &Account,
    classes: &mut BTreeMap<String, Class>,
    registered: &watch::Sender<std::collections::BTreeSet<String>>,
) -> io::Result<()> {
    let mut stream = Stream::open(account, "router").await?;
    loop {
        let Message { from, router_class: name, router_command: command, .. } =
            stream.next().await?;
        match command.as_str() {
            "register" => {
                if !classes.contains_key(&name) {
                    let own = Stream::open(account, &name).await?;
                    let listeners = Arc::<Mutex<VecDeque<String>>>::default();
                    let task = tokio::spawn(pass_on(own, Arc::clone(&listeners)));
                    classes.insert(name.clone(), Class { listeners, task });
                }
                if let Some(class) = classes.get(&name) {
                    lock(&class.listeners).push_back(from.clone());
                }
            }
            "unregister" => {
                if let Some(class) = classes.get(&name) {
                    lock(&class.listeners).retain(|listener| *listener != from);
                    if lock(&class.listeners).is_empty() {
                        classes.remove(&name);
                    }
                }
            }
            _ => continue,
        }
        registered.send_replace(classes.keys().cloned().collect());
        tracing::info!(command, service = name, listener = from, "listener");
    }
}

/// Serves the address of one service, until its stream ends.
async fn pass_on(mut stream: Stream, listeners: Arc<Mutex<VecDeque<String>>>) {
    let (mut number, mut sent) = (0_u64, VecDeque::<(u64, String, Message)>::new());
    while let Ok(mut message) = stream.next().await {
        if message.failure.is_some() {
            let came_back = message.id.strip_prefix("router/").and_then(|id| id.parse().ok());
            let Some(place) = sent.iter().position(|(id, ..)| Some(*id) == came_back) else {
                continue;
            };
            let Some((_, gone, original)) = sent.remove(place) else { continue };
            lock(&listeners).retain(|listener| *listener != gone);
            message = original;
        }
        let next = lock(&listeners).front().cloned();
        let text = match &next {
            Some(listener) => {
                lock(&listeners).rotate_left(1);
                number += 1;
                written(&message, listener, &message.from, &format!("router/{number}"))
            }
            None => {
                let text = written(&message, &message.from, "", "");
                // As OpenSRF's router says it: without a type.
                text.replacen("><opensrf", "><error type=\"cancel\" code=\"501\"/><opensrf", 1)
            }
        };
        if stream.send(&text).await.is_err() {
            return;
        }
        let Some(listener) = next else {
            // Nobody is left: from now on the server says so itself.
            return;
        };
        sent.push_back((number, listener, message));
        if sent.len() > REMEMBERED {
            sent.pop_front();
        }
    }
}

fn written(message: &Message, to: &str, router_from: &str, id: &str) -> String {
    let xid = message.xid.as_deref().unwrap_or_default();
    let head = Head { to, id, thread: &message.thread, xid, router_from, ..Head::default() };
    stanza::write(&head, &message.body)
}

fn lock(listeners: &Mutex<VecDeque<String>>) -> std::sync::MutexGuard<'_, VecDeque<String>> {
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}
