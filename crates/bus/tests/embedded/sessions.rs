//! Stateful sessions: one worker, in order, until it ends.

use std::time::Duration;

use serde_json::Value;
use slackwater_bus::embedded::Options;
use slackwater_core::osrf::envelope::Recipient;
use tokio::time::{Instant, sleep};

use crate::client::{Client, body, codes, content, message, messages, payload, status, statuses};

#[tokio::test(start_paused = true)]
async fn a_session_runs_its_requests_in_order_at_one_worker() {
    let mut bus = Client::new();
    bus.connect("slackwater.demo", "s", 0);
    let connected = bus.next().await;
    assert_eq!(
        statuses(&connected),
        [status(0, "osrfConnectStatus", 200, "Connection Successful")]
    );
    let worker = connected.from;
    bus.request_of(&worker, "s", 1, "slackwater.demo.wait", "[1,\"slow\"]");
    bus.request_of(&worker, "s", 2, "slackwater.demo.wait", "[0,\"fast\"]");
    bus.request_of(&worker, "s", 3, "no.such.method", "[]");
    bus.send(Recipient::Worker(worker.clone()), "s", &body(&[message(4, "CONNECT", "")]));
    for (trace, expected) in
        [("1", vec![200, 205]), ("2", vec![200, 205]), ("3", vec![404]), ("4", vec![200])]
    {
        let envelope = bus.next().await;
        assert_eq!(codes(&envelope), expected);
        assert_eq!(messages(&envelope)[0]["threadTrace"], trace);
        assert_eq!(envelope.from, worker);
    }
    bus.send(Recipient::Worker(worker.clone()), "s", &body(&[message(5, "DISCONNECT", "")]));
    bus.request_of(&worker, "s", 6, "slackwater.demo.echo", "[1]");
    bus.is_silent().await;
    bus.request_of(&worker, "s", 7, "slackwater.demo.echo", "[1]");
    bus.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_ends_with_a_408_for_trace_0() {
    let mut bus = Client::new();
    bus.connect("opensrf.math", "s", 0);
    let worker = bus.next().await.from;
    sleep(Duration::from_millis(4_900)).await;
    bus.request_of(&worker, "s", 1, "add", "[1,1]");
    assert_eq!(codes(&bus.next().await), [200, 205]);
    let since = Instant::now();
    let envelope = bus.next().await;
    assert_eq!(since.elapsed().as_millis() / 10, 500);
    assert_eq!(
        statuses(&envelope),
        [status(0, "osrfConnectStatus", 408, "Disconnected on timeout")]
    );
    assert_eq!((envelope.from, envelope.xid.as_deref()), (worker.clone(), Some("xid-s")));
    bus.request_of(&worker, "s", 2, "add", "[1,1]");
    bus.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_request_is_not_silence() {
    let mut bus = Client::new();
    bus.connect("slackwater.demo", "s", 0);
    let worker = bus.next().await.from;
    bus.request_of(&worker, "s", 1, "slackwater.demo.wait", "[60]");
    assert_eq!(codes(&bus.next().await), [200, 205]);
    bus.request_of(&worker, "s", 2, "slackwater.demo.echo", "[1]");
    assert_eq!(codes(&bus.next().await), [200, 205]);
}

#[tokio::test(start_paused = true)]
async fn one_request_too_many_gets_a_307_and_is_not_run() {
    let mut bus = Client::with(Options { max_requests: 3, ..Options::default() });
    bus.connect("slackwater.demo", "s", 0);
    let worker = bus.next().await.from;
    for trace in 1..=3 {
        bus.request_of(&worker, "s", trace, "slackwater.demo.count", "[\"l\"]");
        assert_eq!(codes(&bus.next().await), [200, 205]);
    }
    bus.request_of(&worker, "s", 4, "slackwater.demo.count", "[\"l\"]");
    let envelope = bus.next().await;
    assert_eq!(
        statuses(&envelope),
        [status(4, "osrfConnectStatus", 307, "Disconnect on max requests")]
    );
    bus.request_of(&worker, "s", 5, "slackwater.demo.count", "[\"l\"]");
    bus.is_silent().await;
    assert_eq!(bus.call("slackwater.demo.count", "[\"l\",0]").await, Value::from(3));
}

#[tokio::test(start_paused = true)]
async fn a_whole_session_fits_in_one_body() {
    let mut bus = Client::new();
    let all = body(&[
        message(0, "CONNECT", ""),
        message(1, "REQUEST", &payload("add", "[5,6]")),
        message(2, "REQUEST", &payload("sub", "[9,1]")),
        message(3, "DISCONNECT", ""),
    ]);
    bus.send_body("opensrf.math", "s", &all);
    let connected = bus.next().await;
    assert_eq!(codes(&connected), [200]);
    for (trace, result) in [("1", 11), ("2", 8)] {
        let answer = messages(&bus.next().await);
        assert_eq!(
            (&answer[0]["threadTrace"], content(&answer[0])),
            (&Value::from(trace), &Value::from(result))
        );
    }
    bus.request_of(&connected.from, "s", 4, "add", "[1,1]");
    bus.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn another_conversations_envelope_neither_runs_nor_prolongs_a_session() {
    let mut bus = Client::new();
    bus.connect("slackwater.demo", "s", 0);
    let worker = bus.next().await.from;
    let connected = Instant::now();
    sleep(Duration::from_secs(4)).await;
    bus.request_of(&worker, "other", 1, "slackwater.demo.count", "[\"l\"]");
    assert_eq!(codes(&bus.next().await), [408]);
    assert_eq!(connected.elapsed().as_millis() / 10, 500);
    assert_eq!(bus.call("slackwater.demo.count", "[\"l\",0]").await, Value::from(0));
}
