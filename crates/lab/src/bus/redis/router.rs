//! OpenSRF 4's router: one list, in which listeners register and clients ask. What it says itself,
//! it says in the words of OpenSRF's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use slackwater_bus::redis::envelope::{self, Envelope};
use slackwater_bus::worker::text::{Head, body};
use tokio::sync::watch;

use super::wire::{Wire, user_and_domain};
use crate::bus::Running;
use crate::bus::account::Account;
use crate::bus::router::Registered;

pub(in crate::bus) fn start(account: Account, name: &str) -> (Running, Registered) {
    let stop = Arc::new(AtomicBool::new(false));
    let domain = &account.domain;
    let address =
        format!("opensrf:client:{}:{domain}:lab:{}:router", account.user, std::process::id());
    let list = format!("opensrf:router:{name}:{domain}");
    let (registered, receiver) = watch::channel(BTreeSet::new());
    let router =
        Router { wire: Wire::new(account), address, listeners: HashMap::new(), registered };
    let running = Running { stop: Arc::clone(&stop), task: tokio::spawn(router.run(list, stop)) };
    (running, receiver)
}

struct Router {
    wire: Wire,
    address: String,
    /// The addresses of the listeners of each service, in the order of their coming.
    listeners: HashMap<String, Vec<String>>,
    registered: watch::Sender<BTreeSet<String>>,
}

impl Router {
    async fn run(mut self, list: String, stop: Arc<AtomicBool>) {
        while let Some(text) = self.wire.next(&list, &stop).await {
            let Some(envelope) = envelope::read(text.as_bytes()) else {
                tracing::debug!(text, "not an envelope");
                continue;
            };
            if envelope.router_command.is_empty() {
                self.pass_on(&envelope, &text).await;
            } else {
                self.obey(&envelope);
            }
        }
    }

    fn obey(&mut self, envelope: &Envelope<'_>) {
        let (command, service, listener) =
            (&*envelope.router_command, &*envelope.router_class, &*envelope.from);
        let listeners = self.listeners.entry(service.to_owned()).or_default();
        listeners.retain(|known| known != listener);
        if command == "register" {
            listeners.push(listener.to_owned());
        }
        if listeners.is_empty() {
            self.listeners.remove(service);
        }
        self.registered.send_replace(self.listeners.keys().cloned().collect());
        tracing::info!(command, service, listener, "listener");
    }

    async fn pass_on(&mut self, envelope: &Envelope<'_>, text: &str) {
        let service = envelope.to.strip_prefix("opensrf:service:_:_:").unwrap_or_default();
        let service = service.split(':').next().unwrap_or_default();
        if service.is_empty() {
            return;
        }
        if service == "router" {
            return self.answer(envelope).await;
        }
        let Some(listener) = self.listeners.get(service).and_then(|listeners| listeners.first())
        else {
            let error = Head::new(1, "en-US").service_exception(404, "Service Not Found");
            return self.reply(envelope, &error).await;
        };
        if let Ok((user, domain)) = user_and_domain(listener) {
            let (domain, list) =
                (domain.to_owned(), format!("opensrf:service:{user}:{domain}:{service}"));
            self.wire.push(&domain, &list, text).await;
        }
    }

    /// Answers what is asked of the router itself; each message is an envelope of its own.
    async fn answer(&mut self, envelope: &Envelope<'_>) {
        let messages: Vec<Value> = serde_json::from_str(envelope.body.get()).unwrap_or_default();
        for message in messages {
            let message = &message["__p"];
            if message["type"] != "REQUEST" {
                continue;
            }
            let trace = &message["threadTrace"];
            let trace = trace.as_str().map_or_else(|| trace.to_string(), str::to_owned);
            let head = Head::new(trace.parse().unwrap_or(0), "en-US");
            if message["payload"]["__p"]["method"] == "opensrf.router.info.class.list" {
                let names: Vec<&String> = self.listeners.keys().collect();
                let names = serde_json::to_string(&names).unwrap_or_default();
                self.reply(envelope, &head.router_result(&names)).await;
            }
            self.reply(envelope, &head.complete()).await;
        }
    }

    async fn reply(&mut self, envelope: &Envelope<'_>, message: &str) {
        let (to, thread) = (&*envelope.from, &*envelope.thread);
        let Ok((_, domain)) = user_and_domain(to) else { return };
        let head = envelope::Head { to, from: &self.address, thread, xid: None };
        self.wire.push(domain, to, &envelope::write(head, &body(message))).await;
    }
}
