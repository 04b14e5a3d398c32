//! What every part of one bus knows and nobody changes: who we are, where, and what goes where.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustls::ClientConfig;
use slackwater_core::osrf::envelope::{Outgoing, Recipient, Refusal};

use super::login::{Account, Encryption};
use super::{Options, stanza, tls};
use crate::{Endpoint, Error, names};

#[derive(Debug)]
pub(super) struct Site {
    pub(super) endpoint: Endpoint,
    /// Who we are in each stream.
    pub(super) accounts: Vec<Account>,
    pub(super) encryption: Encryption,
    pub(super) tls: Arc<ClientConfig>,
    /// Said once: that what the server offers does not work.
    pub(super) warned_of_tls: AtomicBool,
    /// What the server calls itself.
    pub(super) domain: String,
    router: String,
    pub(super) max_stanza_size: usize,
    size_warning: Option<usize>,
}

impl Site {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        for (what, name) in [
            ("the user", &options.username),
            ("the domain", &options.domain),
            ("the router's name", &options.router_name),
        ] {
            if !names::is_name(name) {
                return Err(Error::Name { what, name: name.clone() });
            }
        }
        let Options { username, domain, router_name, resource, .. } = options;
        let (host, pid, random) = (names::host(), std::process::id(), names::random()?);
        let unique = |number| format!("{resource}_{host}_{pid}_{random:032x}_{number}");
        let account = |number| Account {
            user: username.clone(),
            password: options.password.clone().unwrap_or_default(),
            domain: domain.clone(),
            resource: unique(number),
        };
        Ok(Self {
            endpoint: options.endpoint.clone(),
            accounts: (1..=options.streams.max(1)).map(account).collect(),
            encryption: options.encryption,
            warned_of_tls: AtomicBool::new(false),
            tls: tls::config(options.encryption, options.authorities.as_deref())?,
            domain: domain.clone(),
            router: format!("{router_name}@{domain}"),
            max_stanza_size: options.max_stanza_size,
            size_warning: options.size_warning,
        })
    }

    /// The text of an envelope, or why it is not sent. `number`: this envelope's alone;
    /// `limit`: the most bytes.
    pub(super) fn text(
        &self,
        outgoing: &Outgoing,
        number: u64,
        limit: usize,
    ) -> Result<String, Refusal> {
        let to = match &outgoing.to {
            Recipient::Service(service) => [&self.router, "/", service].concat(),
            Recipient::Worker(worker) if worker.contains('/') => worker.clone(),
            Recipient::Worker(worker) => {
                let reason = format!("{worker:?} is not the address of a worker");
                return Err(Refusal::NotTaken(reason));
            }
        };
        let (thread, xid) = (outgoing.thread.as_str(), outgoing.xid.as_str());
        let id = &id(thread, number);
        let head = stanza::Head { to: &to, id, thread, xid, ..stanza::Head::default() };
        let text = stanza::write(&head, &outgoing.body);
        let size = text.len();
        if size > limit {
            return Err(Refusal::TooLarge { size, limit });
        }
        if self.size_warning.is_some_and(|warning| size >= warning) {
            tracing::warn!(size, to, xid, "a large message for the bus");
        }
        Ok(text)
    }
}

/// The id of a stanza, which says what conversation it is of: of stock Prosody's bounces it is all
/// that there is to know them by.
fn id(thread: &str, number: u64) -> String {
    [thread, "/", itoa::Buffer::new().format(number)].concat()
}

/// The conversation of a stanza with this id, if it may be one of ours.
pub(super) fn thread_of(id: &str) -> Option<&str> {
    let (thread, number) = id.rsplit_once('/')?;
    number.parse::<u64>().is_ok().then_some(thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanzas_id_leads_back_to_its_thread() {
        assert_eq!(thread_of(&id("a/b.1", 7)), Some("a/b.1"));
        for other in ["", "bind", "a/", "a/b", "/x"] {
            assert_eq!(thread_of(other), None, "{other}");
        }
    }
}
