//! What every part of one bus knows and nobody changes: who we are, where, and what goes where.

use slackwater_core::osrf::envelope::{Address, Outgoing, Recipient, Refusal};

use super::link::Account;
use super::{Options, address, envelope};
use crate::inbox::{INBOXES, Inbox};
use crate::socket::Endpoint;
use crate::{Error, names};

#[derive(Debug)]
pub(super) struct Site {
    pub(super) endpoint: Endpoint,
    pub(super) account: Account,
    /// The lists that we read.
    pub(super) inboxes: [Address; INBOXES],
    /// What our messages to ourselves begin with.
    pub(super) mark: String,
    /// A list that is never there.
    pub(super) nothing: String,
    domain: String,
    router: String,
    max_message_size: usize,
    size_warning: Option<usize>,
}

/// Whose Redis an envelope goes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way<'a> {
    Own,
    Domain(&'a str),
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
        let (user, domain) = (&options.username, &options.domain);
        let (host, process) = (names::host(), std::process::id());
        let mut inboxes = <[Address; INBOXES]>::default();
        for inbox in &mut inboxes {
            *inbox = address::client(user, domain, &host, process, names::random()?);
        }
        let nothing = format!("{}:nothing", inboxes[0]);
        Ok(Self {
            endpoint: options.endpoint.clone(),
            account: Account { user: user.clone(), password: options.password.clone() },
            mark: format!("slackwater:{:032x}:", names::random()?),
            nothing,
            inboxes,
            domain: domain.clone(),
            router: address::router(&options.router_name, domain),
            max_message_size: options.max_message_size,
            size_warning: options.size_warning,
        })
    }

    /// Where this envelope goes, or why it cannot go anywhere.
    pub(super) fn way<'a>(&self, envelope: &'a Outgoing) -> Result<Way<'a>, String> {
        match &envelope.to {
            Recipient::Service(_) => Ok(Way::Own),
            Recipient::Worker(worker) => match address::domain_of(worker) {
                None => Err(format!("{worker:?} is not the address of a worker")),
                Some(domain) if domain == self.domain => Ok(Way::Own),
                Some(_) if matches!(self.endpoint, Endpoint::Unix { .. }) => Ok(Way::Own),
                Some(domain) => Ok(Way::Domain(domain)),
            },
        }
    }

    /// Where the Redis of a domain is.
    pub(super) fn endpoint_of(&self, domain: &str) -> Endpoint {
        if domain == self.domain { self.endpoint.clone() } else { self.endpoint.of_domain(domain) }
    }

    /// The list that an envelope goes to and its text there, or why it is not sent.
    pub(super) fn text<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        inbox: Inbox,
    ) -> Result<(&'a str, String), Refusal> {
        let (list, to) = match &outgoing.to {
            Recipient::Service(service) => (self.router.as_str(), address::any_worker_of(service)),
            Recipient::Worker(worker) => (worker.as_str(), worker.clone()),
        };
        let head = envelope::Head {
            to: &to,
            from: self.inboxes.get(inbox.place()).unwrap_or(&self.inboxes[0]),
            thread: &outgoing.thread,
            xid: Some(&outgoing.xid),
        };
        let text = envelope::write(head, &outgoing.body);
        let (size, limit) = (text.len(), self.max_message_size);
        if size > limit {
            return Err(Refusal::TooLarge { size, limit });
        }
        if self.size_warning.is_some_and(|warning| size >= warning) {
            tracing::warn!(size, to, xid = outgoing.xid, "a large message for the bus");
        }
        Ok((list, text))
    }
}
