//! The gateway on buses with a server of their own, with OpenSRF's accounts: the same program, the same
//! clients, another bus.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod faults;
mod held_up;
mod load;
mod names;
mod xmpp;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slackwater_lab::bus::redis::server::{DOMAIN, Server};
use slackwater_lab::opensrf::{self, Answer};
use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::raw::{End, Message, RawClient};
use slackwater_lab::site::{Bus, Services, Site};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");
const DEMO: &str = "slackwater.demo";

#[tokio::test]
async fn a_drain_on_redis_loses_nothing_and_leaves_nothing() {
    let Some(site) = site().await else { return };
    let mut gateway = gateway(&site).await;
    let mut client = Client(gateway.connect().await.unwrap());
    client.ask("t", 1, "echo", json!(["é", {"b": 1.0, "a": 12345678901234567890_u64}])).await;
    let contents = client.outcome("t", 1).await;
    assert_eq!(
        contents,
        [json!("é"), json!({"b": 1.0, "a": 12345678901234567890_u64}), json!(205)]
    );
    client.0.send_text(&opensrf::request("no.such", "u", 7, "m", &json!([]))).await.unwrap();
    assert_eq!(client.outcome("u", 7).await, [json!(404)]);

    client.0.send_text(&opensrf::connect(DEMO, "s")).await.unwrap();
    assert_eq!(client.answer().await.code, 200);
    client.ask("s", 1, "wait", json!([1, "in the session"])).await;
    client.ask("t", 2, "wait", json!([1.5, "alone"])).await;
    gateway.until("executed", |status| status["executed"] == 4).await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(client.outcome("s", 1).await, [json!("in the session"), json!(205)]);
    assert_eq!(client.outcome("t", 2).await, [json!("alone"), json!(205)]);
    client.0.send_text(&opensrf::disconnect("s")).await.unwrap();
    client.drained().await;
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0), "{}", gateway.log());
    assert_eq!(site.server().unwrap().lists().await.unwrap(), [""; 0]);

    site.stop().await.unwrap();
}

#[tokio::test]
async fn clients_stay_when_the_bus_goes_and_every_request_is_answered() {
    let Some(mut site) = site().await else { return };
    let mut gateway = gateway(&site).await;
    let mut client = Client(gateway.connect().await.unwrap());
    client.ask("t", 1, "wait", json!([60])).await;
    client.0.send_text(&opensrf::connect(DEMO, "s")).await.unwrap();
    assert_eq!(client.answer().await.code, 200);
    gateway.until("executed", |status| status["executed"] == 1).await.unwrap();

    site.process().kill().unwrap();
    assert_eq!(client.outcome("t", 1).await, [json!(504)], "it was sent on");
    let over = client.answer().await;
    assert_eq!((over.thread.as_str(), over.code), ("s", 408), "the session is over");
    let status = gateway.until("lost", |status| status["bus"]["healthy"] == false).await.unwrap();
    assert_eq!((&status["sessions"], &status["connections"]), (&json!(0), &json!(1)), "{status}");
    let asked = Instant::now();
    client.ask("t", 2, "echo", json!([1])).await;
    assert_eq!(client.outcome("t", 2).await, [json!(503)], "it was not");
    assert!(asked.elapsed() < Duration::from_secs(1), "at once");

    site.process().start_again().await.unwrap();
    gateway.until("back", |status| status["bus"]["healthy"] == true).await.unwrap();
    site.serve_again().await.unwrap();
    client.ask("t", 3, "echo", json!(["again"])).await;
    assert_eq!(client.outcome("t", 3).await, [json!("again"), json!(205)]);
    let status = gateway.status().await.unwrap();
    assert_eq!((&status["bus_lost"], &status["rejected"]), (&json!(1), &json!(1)), "{status}");
    site.stop().await.unwrap();
}

#[tokio::test]
async fn a_bus_that_cannot_be_joined_is_one_clear_line_and_no_start() {
    let Some(server) = Server::start().await.unwrap() else { return };
    let port = server.port();
    for (bus, said) in [
        (format!("redis://gateway:wrong@{DOMAIN}:{port}"), "refuses user \"gateway\""),
        (format!("redis://poor:poorpw@{DOMAIN}:{port}"), "has too few rights"),
        ("redis://gateway@127.0.0.1:1".to_owned(), "nothing listens at 127.0.0.1:1"),
    ] {
        let state = tempfile::tempdir().unwrap();
        let options = ["--bus", &bus, "--state-dir", text(state.path())];
        let error = Gateway::start(PROGRAM, &options).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("exit status: 2") && error.contains(said), "{error}");
        assert!(!error.contains("wrong") && !error.contains("poorpw"), "{error}");
    }
}

/// A Redis with a router and the demo services on it.
async fn site() -> Option<Site> {
    Site::start(Bus::Redis, Services::default()).await.unwrap()
}

async fn gateway(site: &Site) -> Gateway {
    site.gateway(PROGRAM, &["--ebb-window", "0s"]).await.unwrap()
}

struct Client(RawClient);

impl Client {
    async fn ask(&mut self, thread: &str, trace: u32, method: &str, params: Value) {
        let request = opensrf::request(DEMO, thread, trace, &format!("{DEMO}.{method}"), &params);
        self.0.send_text(&request).await.unwrap();
    }

    /// One osrfMessage that comes alone.
    async fn answer(&mut self) -> Answer {
        match self.0.read_message().await.unwrap() {
            Message::Text(text) => opensrf::answers(&text).remove(0),
            other @ (Message::Binary(_) | Message::Close { .. }) => panic!("{other:?}"),
        }
    }

    /// The contents of all results of a request, and its final status.
    async fn outcome(&mut self, thread: &str, trace: u32) -> Vec<Value> {
        let mut contents = Vec::new();
        loop {
            let Message::Text(text) = self.0.read_message().await.unwrap() else {
                panic!("no text")
            };
            for answer in opensrf::answers(&text) {
                assert_eq!((answer.thread.as_str(), answer.trace), (thread, trace), "{text}");
                if answer.is_final() {
                    contents.push(json!(answer.code));
                    return contents;
                }
                contents.push(answer.content);
            }
        }
    }

    async fn drained(&mut self) {
        let close = self.0.read_message().await.unwrap();
        assert_eq!(close, Message::Close { code: Some(1012), reason: "drained".to_owned() });
        self.0.close(1012).await.unwrap();
        assert_eq!(self.0.end().await.unwrap(), End::Fin);
        self.0.shutdown().await.unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
