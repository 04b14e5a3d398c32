//! The gateway's part in these tests, and the part of all others on the bus.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde_json::Value;
use slackwater_bus::redis::{self as redis_bus, Options};
use slackwater_bus::{Bus, Event};
use slackwater_core::osrf::envelope::{Incoming, Outgoing, Recipient};
use slackwater_lab::bus::redis::server::Server;
use tokio::time::timeout;

/// The router's list of requests from the gateway.
pub(crate) const ROUTER: &str = "opensrf:router:router:127.0.0.1";
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway's end of a bus.
pub(crate) struct Client {
    pub(crate) bus: Bus,
    pub(crate) address: String,
    pub(crate) state: tempfile::TempDir,
}

impl Client {
    pub(crate) async fn new(server: &Server) -> Self {
        Self::with(server, |_| {}).await
    }

    pub(crate) async fn with(server: &Server, change: impl FnOnce(&mut Options)) -> Self {
        let state = tempfile::tempdir().expect("a directory");
        let mut options = server.gateway(state.path());
        change(&mut options);
        let bus = redis_bus::connect(options).await.expect("a bus");
        let mut client = Self { bus, address: String::new(), state };
        client.send(Recipient::Service("hello".to_owned()), "hello");
        let mut others = Others::new(server).await;
        client.address = others.next().await["from"].as_str().expect("an address").to_owned();
        client
    }

    pub(crate) fn send(&self, to: Recipient, thread: &str) {
        self.bus.sender.send(outgoing(to, thread)).expect("room in the queue");
    }

    pub(crate) fn ask(&self, thread: &str) {
        self.send(Recipient::Service("a.service".to_owned()), thread);
    }

    pub(crate) async fn event(&mut self) -> Event {
        let event = timeout(PATIENCE, self.bus.events.recv()).await;
        event.expect("an event in time").expect("the bus has not ended")
    }

    /// The next envelopes; nothing else comes.
    pub(crate) async fn envelopes(&mut self) -> Vec<Incoming> {
        let event = self.event().await;
        let Event::Received(envelopes) = event else { panic!("no envelopes: {event:?}") };
        envelopes
    }

    /// Reads on until `count` envelopes have come; nothing else comes.
    pub(crate) async fn threads(&mut self, count: usize) -> Vec<String> {
        let mut threads = Vec::new();
        while threads.len() < count {
            threads.extend(self.envelopes().await.into_iter().map(|envelope| envelope.thread));
        }
        threads
    }

    /// The next event says that this envelope did not go.
    pub(crate) async fn refused(&mut self) -> (Outgoing, String) {
        let event = self.event().await;
        let Event::Refused { envelope, why } = event else { panic!("not refused: {event:?}") };
        (envelope, why.to_string())
    }

    /// The orderly end; gives what was still to be read.
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
}

/// A router, services and workers: whoever is not the gateway.
pub(crate) struct Others {
    pub(crate) connection: MultiplexedConnection,
}

impl Others {
    pub(crate) async fn new(server: &Server) -> Self {
        Self { connection: server.admin().await.expect("a connection") }
    }

    /// What is pushed next to the router's list.
    pub(crate) async fn next(&mut self) -> Value {
        self.next_of(ROUTER).await
    }

    /// What is pushed next to a list.
    pub(crate) async fn next_of(&mut self, list: &str) -> Value {
        serde_json::from_str(&self.text_of(list).await).expect("JSON")
    }

    pub(crate) async fn text_of(&mut self, list: &str) -> String {
        let mut command = redis::cmd("BLPOP");
        command.arg(list).arg(PATIENCE.as_secs());
        let popped: Option<(String, String)> =
            command.query_async(&mut self.connection).await.expect("an answer");
        popped.expect("an envelope in time").1
    }

    /// Everything that a list holds just now.
    pub(crate) async fn all_of(&mut self, list: &str) -> Vec<Value> {
        let mut both = redis::pipe();
        both.atomic().lrange(list, 0, -1).del(list).ignore();
        let (texts,): (Vec<String>,) =
            both.query_async(&mut self.connection).await.expect("an answer");
        texts.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }

    pub(crate) async fn push(&mut self, list: &str, texts: &[String]) {
        let mut command = redis::cmd("RPUSH");
        command.arg(list).arg(texts);
        let _length: u64 = command.query_async(&mut self.connection).await.expect("pushed");
    }
}

/// An answer as a worker writes it.
pub(crate) fn answer(thread: &str) -> String {
    format!(
        r#"{{"to":"x","from":"opensrf:client:opensrf:127.0.1.2:h:1:2","thread":"{thread}","osrf_xid":"x","body":[]}}"#
    )
}

pub(crate) fn outgoing(to: Recipient, thread: &str) -> Outgoing {
    let (thread, xid) = (thread.to_owned(), format!("xid-{thread}"));
    Outgoing { to, thread, xid, body: r#"[ {"é": 1.0} ]"#.to_owned() }
}

pub(crate) fn threads_of(envelopes: &[Value]) -> Vec<String> {
    let thread = |envelope: &Value| envelope["thread"].as_str().expect("a thread").to_owned();
    envelopes.iter().map(thread).collect()
}
