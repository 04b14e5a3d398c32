//! How a listener hears: a list of its service on Redis, a stream of its own on XMPP.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use slackwater_bus::redis::envelope::{self, Envelope};
use slackwater_bus::worker::{Asker, Delivery};
use slackwater_bus::xmpp::stanza::{self, Head, Message};

use super::account::{Account, Kind};
use super::redis::wire::Wire;
use super::xmpp::stream::Stream;

/// How often it is looked whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// The ear of one service's listener.
pub(super) struct Ear {
    account: Account,
    service: String,
    router: String,
    router_domains: Vec<String>,
    way: Way,
}

enum Way {
    Redis(Box<Wire>),
    Xmpp { resource: String, stream: Option<Box<Stream>> },
}

impl Ear {
    pub(super) fn new(
        account: Account,
        service: String,
        router: String,
        router_domains: Vec<String>,
    ) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let way = match account.bus {
            Kind::Redis => Way::Redis(Box::new(Wire::new(account.clone()))),
            Kind::Xmpp => {
                let (pid, number) = (std::process::id(), NUMBERS.fetch_add(1, Ordering::Relaxed));
                Way::Xmpp {
                    resource: format!("{service}_listener_lab_{pid}_{number}"),
                    stream: None,
                }
            }
        };
        Self { account, service, router, router_domains, way }
    }

    /// What comes next for the service; `None` once it is to stop. A lost bus is joined anew for as
    /// long as it takes.
    pub(super) async fn next(&mut self, stop: &Arc<AtomicBool>) -> Option<Delivery> {
        while !stop.load(Ordering::Relaxed) {
            let heard = match &mut self.way {
                Way::Redis(wire) => {
                    let Account { user, domain, .. } = &self.account;
                    let list = format!("opensrf:service:{user}:{domain}:{}", self.service);
                    read_text(&wire.next(&list, stop).await?)
                }
                Way::Xmpp { stream: Some(stream), .. } => {
                    match tokio::time::timeout(LOOK, stream.next()).await {
                        Ok(Ok(message)) if message.failure.is_some() => {
                            // The router was not there when we told it of us.
                            tokio::time::sleep(LOOK).await;
                            self.register().await;
                            continue;
                        }
                        Ok(Ok(message)) => read_message(message),
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "the bus is lost");
                            self.way.forget();
                            continue;
                        }
                        Err(_) => continue,
                    }
                }
                Way::Xmpp { stream: None, .. } => {
                    self.register().await;
                    continue;
                }
            };
            match heard {
                Some(delivery) => return Some(delivery),
                None => tracing::debug!("not an envelope"),
            }
        }
        None
    }

    /// Registers with all routers, joining the bus if need be.
    pub(super) async fn register(&mut self) {
        if let Err(error) = self.tell_routers("register").await {
            tracing::debug!(%error, "not registered");
            self.way.forget();
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes leave of all routers.
    pub(super) async fn unregister(&mut self) {
        if let Err(error) = self.tell_routers("unregister").await {
            tracing::debug!(%error, "not unregistered");
        }
    }

    async fn tell_routers(&mut self, command: &str) -> io::Result<()> {
        let (Account { user, domain, .. }, name) = (&self.account, self.service.as_str());
        match &mut self.way {
            Way::Redis(wire) => {
                let pid = std::process::id();
                let from = format!("opensrf:client:{user}:{domain}:lab:{pid}:{name}");
                for router_domain in &self.router_domains {
                    let list = format!("opensrf:router:{}:{router_domain}", self.router);
                    let text = format!(
                        r#"{{"to":"{list}","from":"{from}","thread":"","osrf_xid":null,"router_to":"","router_class":"{name}","router_command":"{command}","body":"[]"}}"#
                    );
                    wire.push(router_domain, &list, &text).await;
                }
            }
            Way::Xmpp { resource, stream } => {
                if stream.is_none() {
                    *stream = Some(Box::new(Stream::open(&self.account, resource).await?));
                }
                let Some(stream) = stream else { return Ok(()) };
                for router_domain in &self.router_domains {
                    let to = &format!("{}@{router_domain}/router", self.router);
                    let head =
                        Head { to, router_class: name, router_command: command, ..Head::default() };
                    stream.send(&stanza::write(&head, "registering")).await?;
                }
            }
        }
        Ok(())
    }
}

impl Way {
    fn forget(&mut self) {
        if let Self::Xmpp { stream, .. } = self {
            *stream = None;
        }
    }
}

fn read_text(text: &str) -> Option<Delivery> {
    let Envelope { from, thread, xid, body, .. } = envelope::read(text.as_bytes())?;
    let (address, thread) = (from.into_owned(), thread.into_owned());
    let asker = Asker { address, thread, xid: xid.map(Cow::into_owned) };
    Some(Delivery { asker, body: body.get().to_owned() })
}

fn read_message(message: Message) -> Option<Delivery> {
    let Message { from, thread, xid, body, .. } = message;
    Some(Delivery { asker: Asker { address: from, thread, xid }, body })
}
