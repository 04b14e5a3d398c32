//! The whole way: by a router to a real service on Redis and back, as OpenSRF does it.

use std::time::Duration;

use slackwater_bus::worker::SessionLimits;
use slackwater_core::osrf::envelope::{Incoming, Outgoing, Recipient};
use slackwater_lab::bus::redis::server::{DOMAIN, OTHER_DOMAIN, Server};
use slackwater_lab::bus::{Running, router, worker};

use crate::client::Client;

/// A router in our domain, and services in the other one that are registered with it.
async fn installation(server: &Server, keepalive: Duration) -> (Running, Running) {
    let (router, _) = router::start(server.account("router", DOMAIN), "router");
    let limits = SessionLimits { keepalive, max_requests: 3 };
    let (account, routers) = (server.account("opensrf", OTHER_DOMAIN), [DOMAIN.to_owned()]);
    let options = worker::Options {
        router_name: "router".to_owned(),
        router_domains: routers.to_vec(),
        limits,
        max_workers: 10_000,
    };
    let services = worker::start(account, options).await.expect("services");
    (router, services)
}

fn message(kind: &str, payload: &str) -> String {
    format!(r#"[{{"__c":"osrfMessage","__p":{{"threadTrace":"1","type":"{kind}"{payload}}}}}]"#)
}

fn request(method: &str, params: &str) -> String {
    let payload = format!(r#"{{"method":"{method}","params":{params}}}"#);
    message("REQUEST", &format!(r#","payload":{{"__c":"osrfMethod","__p":{payload}}}"#))
}

fn send(client: &Client, to: Recipient, thread: &str, body: String) {
    let (thread, xid) = (thread.to_owned(), "x".to_owned());
    client.bus.sender.send(Outgoing { to, thread, xid, body }).expect("room");
}

fn service(name: &str) -> Recipient {
    Recipient::Service(name.to_owned())
}

/// Asks until the service is there: it registers while we start.
async fn registered(client: &mut Client) {
    loop {
        send(client, service("slackwater.demo"), "ready", request("slackwater.demo.echo", "[1]"));
        if !next(client).await.body.contains("Service Not Found") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn next(client: &mut Client) -> Incoming {
    let mut envelopes = client.envelopes().await;
    assert_eq!(envelopes.len(), 1);
    envelopes.remove(0)
}

#[tokio::test]
async fn services_answer_by_the_router_and_in_sessions() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let mut client = Client::new(&server).await;
    let (router, services) = installation(&server, Duration::from_secs(30)).await;
    registered(&mut client).await;

    send(&client, service("opensrf.math"), "t1", request("add", "[1,2]"));
    let answer = next(&mut client).await;
    assert_eq!((answer.thread.as_str(), answer.xid.as_deref()), ("t1", Some("x")));
    assert_eq!(
        &*answer.body,
        r#"[{"__c":"osrfMessage","__p":{"threadTrace":"1","locale":"en-US","api_level":1,"type":"RESULT","payload":{"__c":"osrfResult","__p":{"status":"OK","statusCode":"200","content":3}}}},{"__c":"osrfMessage","__p":{"threadTrace":"1","locale":"en-US","api_level":1,"type":"STATUS","payload":{"__c":"osrfConnectStatus","__p":{"status":"Request Complete","statusCode":"205"}}}}]"#
    );
    let sender: Vec<&str> = answer.from.split(':').collect();
    assert_eq!(sender[..4], ["opensrf", "client", "opensrf", OTHER_DOMAIN]);

    send(&client, service("no.such.service"), "t2", request("add", "[1,2]"));
    let answer = next(&mut client).await;
    assert_eq!((answer.thread.as_str(), answer.xid), ("t2", None));
    assert!(answer.body.contains(r#""status":"Service Not Found","statusCode":"404""#));

    send(&client, service("opensrf.math"), "t3", message("CONNECT", ""));
    let connected = next(&mut client).await;
    assert!(connected.body.contains(r#""statusCode":"200""#), "{}", connected.body);
    for number in 1..=3 {
        let worker = Recipient::Worker(connected.from.clone());
        send(&client, worker, "t3", request("add", &format!("[{number},0]")));
        let answer = next(&mut client).await;
        assert!(answer.body.contains(&format!(r#""content":{number}"#)), "{}", answer.body);
    }
    send(&client, Recipient::Worker(connected.from), "t3", request("add", "[4,0]"));
    assert!(next(&mut client).await.body.contains(r#""statusCode":"307""#));

    services.stop().await;
    send(&client, service("opensrf.math"), "t4", request("add", "[1,2]"));
    assert!(next(&mut client).await.body.contains("Service Not Found"), "it has unregistered");
    router.stop().await;
    client.close().await;
    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new());
    assert_eq!(server.denials().await.expect("a log"), 0);
}

#[tokio::test]
async fn a_silent_session_ends_and_ten_thousand_calls_come_back() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let mut client = Client::new(&server).await;
    let (router, services) = installation(&server, Duration::from_millis(200)).await;
    registered(&mut client).await;
    send(&client, service("opensrf.math"), "silent", message("CONNECT", ""));
    assert!(next(&mut client).await.body.contains(r#""statusCode":"200""#));
    assert!(next(&mut client).await.body.contains(r#""statusCode":"408""#));

    let expected: Vec<String> = (0..10_000).map(|number| format!("{number:05}")).collect();
    for thread in &expected {
        let body = request("slackwater.demo.echo", &format!("[\"{thread}\"]"));
        send(&client, service("slackwater.demo"), thread, body);
    }
    let mut got = Vec::new();
    while got.len() < expected.len() {
        for envelope in client.envelopes().await {
            assert!(envelope.body.contains(&format!(r#""content":"{}""#, envelope.thread)));
            got.push(envelope.thread);
        }
    }
    got.sort();
    assert_eq!(got, expected);
    services.stop().await;
    router.stop().await;
    client.close().await;
    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new());
    assert_eq!(server.denials().await.expect("a log"), 0);
}
