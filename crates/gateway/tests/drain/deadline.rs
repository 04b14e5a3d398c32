//! The operator's deadline: who is cut off is told, counted and named.

use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::process::Signal;
use slackwater_lab::raw::End;
use slackwater_lab::site::{Bus, Services, Site};
use slackwater_lab::{on_each_bus, opensrf};

use crate::client::Client;
use crate::{drain, gateway};

on_each_bus!(
    a_request_without_end_gets_a_504_and_the_process_says_that_it_was_cut_off,
    from_the_soft_deadline_on_requests_are_refused_and_what_was_sent_on_is_answered,
    the_deadline_of_a_drain_can_be_replaced,
    a_request_that_waits_behind_a_connect_was_never_executed,
);
on_each_bus!(
    Services { max_workers: 1, ..Services::default() };
    the_worker_of_a_session_that_was_cut_off_is_told,
);

async fn a_request_without_end_gets_a_504_and_the_process_says_that_it_was_cut_off(site: &Site) {
    let mut gateway = gateway(site, &["--deadline", "2s"]).await.unwrap();
    let mut stateless = Client::of(&gateway).await.unwrap();
    let mut session = Client::of(&gateway).await.unwrap();
    stateless.call("t", 7, "hold", json!(["for ever"])).await.unwrap();
    session.connect("s").await.unwrap();
    gateway.until("executed", |status| status["executed"] == 1).await.unwrap();
    gateway.signal(Signal::TERM).unwrap();

    let answer = stateless.answer().await.unwrap();
    assert_eq!((answer.thread.as_str(), answer.trace, answer.code), ("t", 7, 504));
    assert!(answer.text.contains("outcome is unknown"), "{}", answer.text);
    let cut = (Some(1012), "deadline".to_owned(), End::Fin);
    assert_eq!(stateless.closed().await.unwrap(), cut);
    assert_eq!(session.closed().await.unwrap(), cut);
    assert_eq!(gateway.exit().await.unwrap().code(), Some(3));
    let log = gateway.log();
    let named = |words: &[&str]| log.lines().any(|line| words.iter().all(|w| line.contains(w)));
    assert!(
        named(&["request cut off", "slackwater.demo.hold", "thread=\"t\"", "127.0.0.1:"]),
        "{log}"
    );
    assert!(named(&["session cut off", "slackwater.demo", "thread=\"s\""]), "{log}");
}

/// The worker of a cut session is free at once: its DISCONNECT comes, not its keepalive's end.
/// There is only one; whoever asks for it meanwhile is refused by the embedded bus, and waits on
/// Redis.
async fn the_worker_of_a_session_that_was_cut_off_is_told(site: &Site) {
    let mut gateway = gateway(site, &["--deadline", "1s"]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.connect("s").await.unwrap();
    client.call("t", 1, "echo", json!([1])).await.unwrap();
    gateway.until("executed", |status| status["executed"] == 1).await.unwrap();
    drain(&mut gateway).await.unwrap();
    let unserved = match site.bus() {
        Bus::Embedded => 503,
        Bus::Redis | Bus::Xmpp(_) => 504,
    };
    assert_eq!(client.outcome("t", 1).await.unwrap(), (unserved, vec![]), "the worker is taken");
    assert_eq!(client.closed().await.unwrap().1, "deadline");
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    gateway.control("POST", "/undrain", "").await.unwrap();
    let mut other = Client::of(&gateway).await.unwrap();
    other.call("t", 1, "echo", json!([2])).await.unwrap();
    assert_eq!(other.outcome("t", 1).await.unwrap(), (205, vec![json!(2)]));
}

async fn from_the_soft_deadline_on_requests_are_refused_and_what_was_sent_on_is_answered(
    site: &Site,
) {
    let mut gateway = gateway(site, &["--deadline", "8s"]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.call("t", 1, "wait", json!([7, "in time"])).await.unwrap();
    drain(&mut gateway).await.unwrap();
    let soft = Instant::now() + Duration::from_secs(6);
    client.call("t", 2, "echo", json!(["before"])).await.unwrap();
    assert_eq!(client.outcome("t", 2).await.unwrap(), (205, vec![json!("before")]));
    tokio::time::sleep_until((soft + Duration::from_millis(100)).into()).await;
    client.call("t", 3, "echo", json!(["after"])).await.unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.trace, answer.code), (3, 503));
    assert!(answer.text.contains("never executed"), "{}", answer.text);
    assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!("in time")]));
    client.assert_drained().await;
    let status = gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    assert_eq!((&status["lost_replies"], &status["rejected"]), (&json!(0), &json!(1)));
}

async fn the_deadline_of_a_drain_can_be_replaced(site: &Site) {
    let mut gateway = gateway(site, &["--deadline", "1h"]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.call("t", 1, "hold", json!(["x"])).await.unwrap();
    drain(&mut gateway).await.unwrap();
    let cut_off = async {
        assert_eq!(client.answer().await.unwrap().code, 504);
        assert_eq!(client.closed().await.unwrap().1, "deadline");
    };
    let wait = gateway.command(&["drain", "--wait", "--deadline", "500ms"]);
    let (output, ()) = tokio::join!(wait, cut_off);
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

async fn a_request_that_waits_behind_a_connect_was_never_executed(site: &Site) {
    let mut gateway = gateway(site, &["--deadline", "1s"]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    // Three messages in one frame go out as one: the session is over when its answer comes.
    let payload =
        json!({"__c": "osrfMethod", "__p": {"method": "slackwater.demo.hold", "params": ["h"]}});
    let all = [
        opensrf::message("CONNECT", 0, None),
        opensrf::message("REQUEST", 1, Some(&payload)),
        opensrf::message("DISCONNECT", 2, None),
    ];
    client.send(&opensrf::wrapper("slackwater.demo", "t", &all)).await.unwrap();
    assert_eq!(client.answer().await.unwrap().code, 200);
    drain(&mut gateway).await.unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.trace, answer.code), (1, 504));
    assert_eq!(client.closed().await.unwrap().1, "deadline");
}
