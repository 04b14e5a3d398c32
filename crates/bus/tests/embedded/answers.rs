//! What comes back for one request, message by message.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::client::{Client, body, codes, content, joined, message, messages, status, statuses};

#[tokio::test(start_paused = true)]
async fn a_stateless_call_is_answered_as_a_c_service_answers() {
    let mut bus = Client::new();
    bus.request("opensrf.math", "t1", 1, "add", "[1,2]");
    let envelope = bus.next().await;
    assert_eq!(
        &*envelope.body,
        r#"[{"__c":"osrfMessage","__p":{"threadTrace":"1","locale":"en-US","api_level":1,"type":"RESULT","payload":{"__c":"osrfResult","__p":{"status":"OK","statusCode":"200","content":3}}}},{"__c":"osrfMessage","__p":{"threadTrace":"1","locale":"en-US","api_level":1,"type":"STATUS","payload":{"__c":"osrfConnectStatus","__p":{"status":"Request Complete","statusCode":"205"}}}}]"#
    );
    assert_eq!((envelope.thread.as_str(), envelope.xid.as_deref()), ("t1", Some("xid-t1")));
    assert!(envelope.from.starts_with("opensrf:client:opensrf:private.localhost:embedded:"));
    bus.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_service_gets_the_routers_404_for_trace_1() {
    let mut bus = Client::new();
    bus.request("no.such.service", "t1", 7, "add", "[1,2]");
    let envelope = bus.next().await;
    assert_eq!(statuses(&envelope), [status(1, "osrfServiceException", 404, "Service Not Found")]);
    assert_eq!(envelope.xid, None);
    assert!(envelope.from.starts_with("opensrf:client:router:"), "{}", envelope.from);
    bus.connect("no.such.service", "t2", 0);
    assert_eq!(codes(&bus.next().await), [404]);
    bus.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn the_router_lists_its_services_in_an_envelope_before_its_end() {
    let mut bus = Client::new();
    bus.request("router", "t1", 1, "opensrf.router.info.class.list", "[]");
    let list = messages(&bus.next().await);
    assert_eq!(list[0]["payload"]["__p"]["statusCode"], "0");
    assert_eq!(list[0]["payload"]["__p"]["status"], Value::Null);
    let names: HashSet<&str> =
        content(&list[0]).as_array().expect("names").iter().flat_map(Value::as_str).collect();
    assert_eq!(names, HashSet::from(["opensrf.math", "opensrf.simple-text", "slackwater.demo"]));
    assert_eq!(codes(&bus.next().await), [205]);
    bus.request("router", "t2", 1, "anything", "[]");
    assert_eq!(codes(&bus.next().await), [205]);
    bus.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn bad_requests_get_a_status_and_no_205() {
    let mut bus = Client::new();
    for (method, params, expected) in [
        ("no.such.method", "[]", "Method [no.such.method] not found for service opensrf.math"),
        (
            "opensrf.system.time",
            "[]",
            "Method [opensrf.system.time] not found for service opensrf.math",
        ),
        ("add", "[1]", "Not enough params for method add / service opensrf.math"),
        ("add", "\"scalar\"", "Not enough params for method add / service opensrf.math"),
        ("add", "[\"x\",{\"a\":1}]", "An unknown server error occurred"),
    ] {
        bus.request("opensrf.math", "t", 5, method, params);
        let envelope = bus.next().await;
        assert_eq!(statuses(&envelope), [status(5, "osrfMethodException", 404, expected)]);
    }
    bus.send_body("opensrf.math", "t", &body(&[message(3, "REQUEST", "")]));
    assert_eq!(codes(&bus.next().await), [400]);
    bus.request("opensrf.math", "t", 5, "div", "[1,0]");
    assert_eq!(codes(&bus.next().await), [500]);
    bus.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn hostile_bodies_hurt_nobody() {
    let mut bus = Client::new();
    let deep = "[".repeat(1_000_000);
    for body in [
        "",
        "null",
        "[]",
        "[null]",
        "{}",
        "\"hello\"",
        "[[[[",
        "[{\"__c\":\"osrfMessage\"}]",
        deep.as_str(),
    ] {
        bus.send_body("opensrf.math", "bad", body);
        bus.send_body("router", "bad", body);
    }
    bus.is_silent().await;
    let nested = format!("[{}{}]", "[".repeat(200_000), "]".repeat(200_000));
    bus.request("slackwater.demo", "deep", 1, "slackwater.demo.echo.atomic", &nested);
    let bodies = bus.until_complete("deep").await;
    assert_eq!(joined(&bodies), nested);
    let long_name = "n".repeat(1 << 20);
    bus.request("opensrf.math", "long", 1, &long_name, "[]");
    let envelope = bus.next().await;
    assert_eq!(codes(&envelope), [404]);
    assert!(envelope.body.len() < 1_000, "{}", envelope.body.len());
}

#[tokio::test(start_paused = true)]
async fn params_are_echoed_byte_for_byte() {
    let mut bus = Client::new();
    let params =
        r#"[1.0,1E+5,-0.0,12345678901234567890,"\u00e9\/é",{"b":1, "a" : [ ]},null,"last"]"#;
    for method in ["slackwater.demo.echo", "opensrf.system.echo"] {
        bus.request("slackwater.demo", "t", 1, method, params);
        let envelope = bus.next().await;
        for param in [
            r#"1E+5}"#,
            r#"-0.0}"#,
            r#"12345678901234567890}"#,
            r#""\u00e9\/é"}"#,
            r#"{"b":1, "a" : [ ]}}"#,
        ] {
            assert!(envelope.body.contains(&format!("\"content\":{param}")), "{param}");
        }
        assert_eq!(messages(&envelope).len(), 9, "all in one envelope");
        bus.request("slackwater.demo", "t", 1, &format!("{method}.atomic"), params);
        let envelope = bus.next().await;
        assert!(envelope.body.contains(&format!("\"content\":{}", params)), "{}", envelope.body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_result_comes_in_slices() {
    let mut bus = Client::new();
    bus.request("slackwater.demo", "t", 9, "slackwater.demo.bytes", "[1000000]");
    let bodies = bus.until_complete("t").await;
    let last = &bodies[bodies.len() - 2..];
    assert_eq!((codes(&last[0]), codes(&last[1])), (vec![204], vec![205]));
    assert!(bodies.iter().all(|body| messages(body).len() == 1));
    assert!(bodies.iter().all(|body| messages(body)[0]["threadTrace"] == "9"));
    let partials = &bodies[..bodies.len() - 2];
    assert!(partials.iter().all(|body| codes(body) == [206] && body.body.len() < 52_000));
    let text: String = partials
        .iter()
        .map(|body| content(&messages(body)[0]).as_str().expect("a slice").to_owned())
        .collect();
    assert_eq!(text, format!("\"{}\"", "x".repeat(1_000_000)));
}

#[tokio::test(start_paused = true)]
async fn a_fast_stream_is_bundled_and_a_slow_one_is_prompt() {
    let mut bus = Client::new();
    bus.request("slackwater.demo", "fast", 1, "slackwater.demo.stream", "[1000,0]");
    let bodies = bus.until_complete("fast").await;
    assert!(bodies.iter().all(|body| body.body.len() <= 25_602));
    assert!(bodies.len() < 10, "{} envelopes", bodies.len());
    let numbers: Vec<u64> =
        bodies.iter().flat_map(messages).filter_map(|m| content(&m).as_u64()).collect();
    assert_eq!(numbers, (1..=1_000).collect::<Vec<_>>());

    let start = Instant::now();
    bus.request("slackwater.demo", "slow", 1, "slackwater.demo.stream", "[3,1.5]");
    for (number, codes_expected) in [(1, vec![200]), (2, vec![200]), (3, vec![200, 205])] {
        let envelope = bus.next().await;
        assert_eq!(codes(&envelope), codes_expected);
        assert_eq!(content(&messages(&envelope)[0]), &Value::from(number));
        let due = Duration::from_millis(1_500) * (number - 1);
        assert_eq!(start.elapsed().as_millis() / 10, due.as_millis() / 10, "result {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn stateless_calls_do_not_wait_for_each_other() {
    let mut bus = Client::new();
    let start = Instant::now();
    for number in 0..5_000 {
        bus.request("slackwater.demo", &number.to_string(), 1, "slackwater.demo.wait", "[2,\"v\"]");
    }
    let mut threads = HashSet::new();
    while threads.len() < 5_000 {
        let envelope = bus.next().await;
        assert_eq!(codes(&envelope), [200, 205]);
        threads.insert(envelope.thread);
    }
    assert!(start.elapsed() < Duration::from_millis(2_100), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn results_keep_their_order_around_a_large_one() {
    let mut bus = Client::new();
    let params = format!("[1,\"{}\",2]", "x".repeat(60_000));
    bus.request("slackwater.demo", "t", 1, "slackwater.demo.echo", &params);
    let envelopes = bus.until_complete("t").await;
    let codes: Vec<Vec<u16>> = envelopes.iter().map(codes).collect();
    assert_eq!(codes, [vec![200], vec![206], vec![206], vec![204], vec![200, 205]]);
    assert_eq!(content(&messages(&envelopes[0])[0]), &Value::from(1));
}
