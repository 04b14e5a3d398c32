//! Payloads pass byte for byte, and what the gateway adds is always the same.

use slackwater_core::event::Event;
use slackwater_core::osrf::activity::Activity;
use slackwater_core::osrf::envelope::{Outgoing, Recipient};
use slackwater_core::osrf::is_plain_id;

use crate::bench::Bench;
use crate::words::{
    SERVICE, WORKER, bus_thread, complete, connect, connected, disconnect, request, request_to,
    result,
};

const ODD: &str = r#"{"__c":"osrfMessage","__p":{"threadTrace":1,"tz":"Europe/Zürich", "locale":"fr-CA","api_level":2,"ingress":"opensrf.js","type":"REQUEST","payload":{"__c":"osrfMethod","__p":{"method":"add","params":[1.0,1e5,12345678901234567890,{"b":1,"a":"\u00e9\/"}],"odd":null}}}}"#;

#[test]
fn a_request_changes_in_nothing_but_its_ingress() {
    let mut bench = Bench::new();
    bench.text(format!(
        "{{\"service\":\"{SERVICE}\",\"thread\":\"t\",\"log_xid\":\"x-1\",\n\"osrf_msg\":[{ODD}\r\n]}}"
    ));
    assert_eq!(
        bench.sent,
        [Outgoing {
            to: Recipient::Service(SERVICE.into()),
            thread: bus_thread(1),
            xid: "x-1".into(),
            body: format!("[{}]", ODD.replace("opensrf.js", "gateway")),
        }]
    );
}

#[test]
fn an_answer_comes_as_it_was_sent() {
    let mut bench = Bench::new();
    bench.text(format!(
        r#"{{"service":"{SERVICE}","thread":"t \"1\"","log_xid":"x-1","osrf_msg":[{ODD}]}}"#
    ));
    let odd = r#"{"__p":{"type":"RESULT","tz":null,"threadTrace":1,"payload":{"__p":{"content":[1.0, "\u20ac€"],"statusCode":200},"__c":"osrfResult"}},"__c":"osrfMessage"}"#;
    bench.answer(1, &[odd.to_owned(), complete(1)]);
    let expected =
        format!(r#"{{"thread":"t \"1\"","log_xid":"x-1","osrf_msg":[{odd},{}]}}"#, complete(1));
    assert_eq!(bench.replies, [expected]);
}

#[test]
fn an_answer_that_is_no_array_still_reaches_its_client() {
    let mut bench = Bench::new();
    bench.say("t", &[request(1)]);
    bench.envelope(WORKER, bus_thread(1), r#"{"odd":1.0}"#);
    bench.envelope(WORKER, bus_thread(1), "[]");
    let bodies: Vec<_> =
        bench.replies.iter().map(|text| text.split_once(r#""osrf_msg":"#).unwrap().1).collect();
    assert_eq!(bodies, [r#"{"odd":1.0}}"#, "[]}"]);
    assert_eq!(bench.session.ledger().pending(), 1);
}

#[test]
fn an_answer_carries_the_xid_of_the_request_it_answers() {
    let mut bench = Bench::new();
    bench.say("t", &[connect(0)]);
    bench.answer(1, &[connected(0)]);
    for (xid, trace) in [("first", 1), ("second", 2)] {
        let message = request(trace);
        bench.text(format!(r#"{{"thread":"t","log_xid":"{xid}","osrf_msg":[{message}]}}"#));
    }
    bench.take_replies();
    bench.answer(1, &[result(1), complete(1)]);
    bench.answer(1, &[result(2)]);
    let xids: Vec<_> = bench.take_replies().into_iter().map(|r| r["log_xid"].clone()).collect();
    assert_eq!(xids, ["first", "second"]);
}

#[test]
fn an_absent_xid_is_made_and_a_dangerous_one_replaced() {
    let mut bench = Bench::new();
    let message = request(1);
    for xid in ["", r#""log_xid":"a b","#, r#""log_xid":{},"#, r#""log_xid":"","#] {
        bench
            .text(format!(r#"{{"service":"{SERVICE}","thread":"t",{xid}"osrf_msg":[{message}]}}"#));
    }
    let mut xids: Vec<_> = bench.sent.iter().map(|envelope| envelope.xid.clone()).collect();
    assert!(xids.iter().all(|xid| is_plain_id(xid)), "{xids:?}");
    xids.dedup();
    assert_eq!(xids.len(), 4, "each message has its own");
    let replaced = Event::XidReplaced;
    assert_eq!(bench.events.iter().filter(|event| **event == replaced).count(), 3);
}

#[test]
fn whatever_threads_clients_choose_the_bus_sees_the_gateways_own() {
    let mut bench = Bench::new();
    for thread in ["", "0.1", &bus_thread(2), "a b", "ü", &"t".repeat(256)] {
        bench.say(thread, &[request(1)]);
    }
    let threads: Vec<_> = bench.sent.iter().map(|envelope| envelope.thread.clone()).collect();
    assert_eq!(threads, (1..=6).map(bus_thread).collect::<Vec<_>>());
    bench.answer(5, &[complete(1)]);
    assert!(bench.replies[0].starts_with(r#"{"thread":"ü","#));
}

#[test]
fn the_activity_of_a_request_is_told_when_it_is_executed_and_only_then() {
    let mut bench = Bench::with(|config| {
        let protect = vec!["secret.".to_owned()];
        config.activity = Some(Activity { protect, max_length: 100 });
        config.max_requests_in_flight = 4;
    });
    let told = |bench: &mut Bench| -> Vec<(String, Option<String>)> {
        let events = std::mem::take(&mut bench.events).into_iter();
        let executed = events.filter_map(|event| {
            let Event::Executed { method, params, .. } = event else { return None };
            Some((method, params))
        });
        executed.collect()
    };
    let line = |method: &str, params: &str| (method.to_owned(), Some(params.to_owned()));
    bench.say("t", &[request_to(1, "add"), request_to(2, "secret.add")]);
    assert_eq!(told(&mut bench), [line("add", "1"), line("secret.add", "**PARAMS REDACTED**")]);
    bench.say("s", &[connect(0)]);
    bench.say("s", &[request_to(3, "held"), request_to(4, "held.too"), disconnect(5)]);
    bench.say("t", &[request_to(6, "one.too.many")]);
    assert_eq!(told(&mut bench), []);
    bench.answer(2, &[connected(0)]);
    assert_eq!(told(&mut bench), [line("held", "1"), line("held.too", "1")]);
}
