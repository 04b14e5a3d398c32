//! A gateway's end of the bus, and a worker's.

use std::time::Duration;

use slackwater_bus::xmpp::stanza::{self, Head, Message};
use slackwater_bus::xmpp::{self, Encryption, Options};
use slackwater_bus::{Bus, Endpoint, Error, Event, QueueLimits};
use slackwater_core::osrf::envelope::{Incoming, Outgoing, Recipient};
use slackwater_lab::bus::xmpp::server::{DOMAIN, HOST, OTHER_DOMAIN, Server};
use slackwater_lab::bus::xmpp::stream::Stream;
use tokio::time::timeout;

/// How long anything is waited for that should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a gateway is told about a server.
pub(crate) fn options(server: &Server) -> Options {
    Options {
        endpoint: Endpoint::Tcp { host: HOST.to_owned(), port: server.port() },
        username: "opensrf".to_owned(),
        password: Some("opensrfpw".to_owned()),
        domain: DOMAIN.to_owned(),
        router_name: "router".to_owned(),
        resource: "gateway".to_owned(),
        encryption: Encryption::Off,
        authorities: None,
        streams: 2,
        max_stanza_size: 262_144,
        size_warning: None,
        queue: QueueLimits::default(),
    }
}

/// Why a gateway that is told so cannot join.
pub(crate) async fn error(options: Options) -> String {
    let error: Error = xmpp::connect(options).await.expect_err("no bus");
    let text = error.to_string();
    assert!(!text.contains("opensrfpw") && text.lines().count() == 1, "{text}");
    text
}

pub(crate) struct Client {
    bus: Bus,
}

impl Client {
    pub(crate) async fn join(options: Options) -> Self {
        Self { bus: xmpp::connect(options).await.expect("a bus") }
    }

    pub(crate) fn send(&self, to: Recipient, thread: &str, body: &str) {
        let (thread, xid, body) = (thread.to_owned(), "x1".to_owned(), body.to_owned());
        self.bus.sender.send(Outgoing { to, thread, xid, body }).expect("room");
    }

    pub(crate) fn ask(&self, worker: &Worker, thread: &str, body: &str) {
        self.send(Recipient::Worker(worker.stream.address.clone()), thread, body);
    }

    pub(crate) async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.bus.events.recv()).await.expect("in time").expect("a bus")
    }

    /// The next envelope, which comes alone.
    pub(crate) async fn envelope(&mut self) -> Incoming {
        let event = self.event().await;
        let Event::Received(mut envelopes) = event else { panic!("{event:?}") };
        assert_eq!(envelopes.len(), 1, "{envelopes:?}");
        envelopes.remove(0)
    }

    /// The orderly end; gives the threads of what was still to be read.
    pub(crate) async fn close(mut self) -> Vec<String> {
        let sender = self.bus.sender.clone();
        let closing = tokio::spawn(async move { sender.close().await });
        let mut late = Vec::new();
        while let Some(event) = timeout(PATIENCE, self.bus.events.recv()).await.expect("an end") {
            if let Event::Received(envelopes) = event {
                late.extend(envelopes.into_iter().map(|envelope| envelope.thread));
            }
        }
        closing.await.expect("closed");
        late
    }

    /// Asks and is answered.
    pub(crate) async fn works(&mut self, worker: &mut Worker, thread: &str) {
        self.ask(worker, thread, "[]");
        let asked = worker.next().await;
        assert_eq!((asked.thread.as_str(), asked.body.as_str()), (thread, "[]"));
        worker.answer(&asked, "[1]").await;
        let answer = self.envelope().await;
        assert_eq!((answer.thread.as_str(), &*answer.body), (thread, "[1]"));
        assert_eq!(answer.from, worker.stream.address);
    }
}

/// Somebody in the other domain.
pub(crate) struct Worker {
    pub(crate) stream: Stream,
}

impl Worker {
    pub(crate) async fn join(server: &Server) -> Self {
        let account = server.account("opensrf", OTHER_DOMAIN);
        Self { stream: Stream::open(&account, "drone").await.expect("a stream") }
    }

    pub(crate) async fn next(&mut self) -> Message {
        timeout(PATIENCE, self.stream.next()).await.expect("in time").expect("a message")
    }

    pub(crate) async fn answer(&mut self, asked: &Message, body: &str) {
        let head = Head { to: &asked.from, thread: &asked.thread, ..Head::default() };
        self.stream.send(&stanza::write(&head, body)).await.expect("sent");
    }
}
