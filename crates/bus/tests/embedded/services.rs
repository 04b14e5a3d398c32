//! What the services answer.

use serde_json::Value;

use crate::client::{Client, codes, content, messages, status, statuses};

#[tokio::test(start_paused = true)]
async fn what_is_held_waits_for_its_release() {
    let mut bus = Client::new();
    for thread in ["a", "b"] {
        bus.request("slackwater.demo", thread, 1, "slackwater.demo.hold", "[\"gate\"]");
    }
    bus.is_silent().await;
    assert_eq!(bus.call("slackwater.demo.count", "[\"gate\",0]").await, Value::from(2));
    bus.request("slackwater.demo", "r", 1, "slackwater.demo.release", "[\"gate\",{\"k\":1.0}]");
    let mut contents = Vec::new();
    for _ in 0..3 {
        let envelope = bus.next().await;
        contents.push((envelope.thread.clone(), content(&messages(&envelope)[0]).to_string()));
    }
    contents.sort();
    let expected = [("a", "{\"k\":1.0}"), ("b", "{\"k\":1.0}"), ("r", "2")];
    assert_eq!(contents, expected.map(|(thread, content)| (thread.to_owned(), content.to_owned())));
    assert_eq!(bus.call("slackwater.demo.release", "[\"gate\"]").await, Value::from(0));
}

#[tokio::test(start_paused = true)]
async fn demo_methods_refuse_what_they_cannot_do() {
    let mut bus = Client::new();
    for (method, params) in [
        ("wait", "[-1]"),
        ("wait", "[86401]"),
        ("wait", "[\"soon\"]"),
        ("wait", "[1e400]"),
        ("stream", "[1000001,0]"),
        ("stream", "[1.5,0]"),
        ("bytes", "[67108865]"),
        ("count", "[{}]"),
        ("hold", "[null]"),
        ("fail", "[200,\"x\"]"),
        ("fail", "[70000,\"x\"]"),
    ] {
        bus.request("slackwater.demo", "t", 1, &format!("slackwater.demo.{method}"), params);
        assert_eq!(codes(&bus.next().await), [400], "{method} {params}");
    }
    bus.request("slackwater.demo", "t", 1, "slackwater.demo.fail", "[409,\"as \\\"told\\\"\"]");
    let expected = [status(1, "osrfMethodException", 409, "as \"told\"")];
    assert_eq!(statuses(&bus.next().await), expected);
}

#[tokio::test(start_paused = true)]
async fn simple_text_answers_as_in_perl() {
    let mut bus = Client::new();
    for (method, params, expected) in [
        ("reverse", "[\"hello\"]", vec!["olleh"]),
        ("reverse", "[\"né\"]", vec!["én"]),
        ("reverse", "[120]", vec!["021"]),
        ("substring", "[\"foobar\",3]", vec!["bar"]),
        ("substring", "[\"foobar\",1,2]", vec!["oo"]),
        ("substring", "[\"foobar\",9]", vec![]),
        ("split", "[\"one two three four\",\" \"]", vec!["one", "two", "three", "four"]),
    ] {
        bus.request(
            "opensrf.simple-text",
            "t",
            1,
            &format!("opensrf.simple-text.{method}"),
            params,
        );
        let answers = messages(&bus.next().await);
        let (end, results) = answers.split_last().expect("an end");
        assert_eq!(end["payload"]["__p"]["statusCode"], "205");
        let texts: Vec<&str> = results.iter().flat_map(|m| content(m).as_str()).collect();
        assert_eq!(texts, expected, "{method} {params}");
    }
    bus.request("opensrf.simple-text", "t", 1, "opensrf.simple-text.reverse", "[{}]");
    assert_eq!(codes(&bus.next().await), [500]);
    bus.request("opensrf.simple-text", "t", 1, "opensrf.system.time", "[]");
    let answer = messages(&bus.next().await);
    assert!(
        content(&answer[0]).as_str().expect("a string").parse::<u64>().expect("seconds")
            > 1_000_000_000
    );
}

#[tokio::test(start_paused = true)]
async fn methods_can_be_listed() {
    let mut bus = Client::new();
    bus.request("opensrf.math", "t", 1, "opensrf.system.method.all", "[]");
    let envelope = bus.next().await;
    let add = r#""content":{"api_name":"add","method":"osrfMathRun","service":"opensrf.math","notes":"Adds two numbers","argc":2,"sysmethod":0,"atomic":0,"cachable":0}}"#;
    assert!(envelope.body.contains(add), "{}", envelope.body);
    let listed = messages(&envelope);
    let names: Vec<&str> = listed.iter().filter_map(|m| content(m)["api_name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "add",
            "sub",
            "mult",
            "div",
            "opensrf.system.method",
            "opensrf.system.method.atomic",
            "opensrf.system.method.all",
            "opensrf.system.method.all.atomic",
            "opensrf.system.echo",
            "opensrf.system.echo.atomic",
        ]
    );
    bus.request("opensrf.math", "t", 1, "opensrf.system.method.atomic", "[\"mu\"]");
    let listed = messages(&bus.next().await);
    assert_eq!(content(&listed[0])[0]["api_name"], "mult");
    assert_eq!(content(&listed[0]).as_array().map(Vec::len), Some(1));
}
