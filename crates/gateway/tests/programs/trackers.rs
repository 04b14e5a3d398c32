//! What each tracker takes for pending, by the gateway's own books.

use serde_json::json;

use crate::{script, text};

/// A program that answers each line when the file named like it is there.
const HELD: &str = "cd \"$DIR\"; while read -r line; do while [ ! -e \"$line\" ]; do sleep 0.02; \
                    done; echo \"$line\"; done";

#[tokio::test]
async fn lines_awaits_a_line_for_each() {
    let directory = tempfile::tempdir().unwrap();
    let held = HELD.replace("$DIR", directory.path().to_str().unwrap());
    let mut gateway = script(&["--track", "lines"], &held).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    client.send_text("one\ntwo").await.unwrap();
    client.send_text("three").await.unwrap();
    gateway.until("three", |status| status["pending_requests"] == 3).await.unwrap();
    for (name, left) in [("one", 2), ("two", 1), ("three", 0)] {
        std::fs::write(directory.path().join(name), "").unwrap();
        assert_eq!(text(&mut client).await.unwrap(), name);
        let pending = |status: &serde_json::Value| status["pending_requests"] == left;
        gateway.until("one less", pending).await.unwrap();
    }
    let status = gateway.status().await.unwrap();
    assert_eq!((&status["executed"], &status["answered"]), (&json!(3), &json!(3)));
}

#[tokio::test]
async fn jsonrpc_awaits_the_response_of_each_id() {
    let program = r#"read -r one; read -r two; read -r three
        echo '{"jsonrpc":"2.0","id":"b","result":2}'
        echo '{"jsonrpc":"2.0","method":"tick"}'
        echo '{"jsonrpc":"2.0","method":"ask","id":9}'
        read -r answer
        echo '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}'
        cat > /dev/null"#;
    let mut gateway = script(&["--track", "jsonrpc"], program).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    client.send_text(r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#).await.unwrap();
    client.send_text(r#"{"jsonrpc":"2.0","id":"b","method":"b"}"#).await.unwrap();
    client.send_text(r#"{"jsonrpc":"2.0","method":"n"}"#).await.unwrap();
    for _ in 0..3 {
        text(&mut client).await.unwrap();
    }
    let status = gateway.until("one left", |status| status["answered"] == 1).await.unwrap();
    assert_eq!(status["pending_requests"], 1, "{status}");
    let held = gateway.control("GET", "/connections", "").await.unwrap();
    assert_eq!(held[0]["pending"][0]["method"], "a", "{held}");
    client.send_text(r#"{"jsonrpc":"2.0","id":9,"result":0}"#).await.unwrap();
    text(&mut client).await.unwrap();
    let status = gateway.until("none left", |status| status["answered"] == 2).await.unwrap();
    assert_eq!((&status["received"], &status["pending_requests"]), (&json!(2), &json!(0)));
}

#[tokio::test]
async fn quiet_awaits_silence() {
    let options = ["--track-idle", "300ms"];
    let mut gateway = script(&options, "read -r line; sleep 0.2; echo answer; cat").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    client.send_text("question").await.unwrap();
    gateway.until("pending", |status| status["pending_requests"] == 1).await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "answer");
    let status = gateway.status().await.unwrap();
    assert_eq!(status["pending_requests"], 1, "not at once: {status}");
    gateway.until("quiet", |status| status["answered"] == 1).await.unwrap();
}

#[tokio::test]
async fn osrf_awaits_final_statuses_and_the_ends_of_sessions() {
    let program = r#"read -r connect
        echo '{"thread":"t","osrf_msg":[{"__c":"osrfMessage","__p":{"threadTrace":"1","type":"STATUS","payload":{"__c":"osrfConnectStatus","__p":{"status":"OK","statusCode":"200"}}}}]}'
        read -r request
        echo '{"thread":"t","osrf_msg":[{"__c":"osrfMessage","__p":{"threadTrace":"2","type":"STATUS","payload":{"__c":"osrfConnectStatus","__p":{"status":"done","statusCode":"205"}}}}]}'
        cat > /dev/null"#;
    let mut gateway = script(&["--track", "osrf"], program).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let message = |kind: &str, trace: u32, payload: serde_json::Value| {
        json!({"service": "opensrf.math", "thread": "t", "osrf_msg": [{"__c": "osrfMessage", "__p":
            {"threadTrace": trace, "type": kind, "locale": "en-US", "payload": payload}}]})
        .to_string()
    };
    client.send_text(&message("CONNECT", 1, json!(null))).await.unwrap();
    text(&mut client).await.unwrap();
    let method = json!({"__c": "osrfMethod", "__p": {"method": "add", "params": [1, 2]}});
    gateway.until("a session", |status| status["sessions"] == 1).await.unwrap();
    client.send_text(&message("REQUEST", 2, method)).await.unwrap();
    text(&mut client).await.unwrap();
    let status = gateway.until("answered", |status| status["answered"] == 1).await.unwrap();
    assert_eq!((&status["sessions"], &status["pending_requests"]), (&json!(1), &json!(0)));
    client.send_text(&message("DISCONNECT", 3, json!(null))).await.unwrap();
    gateway.until("no session", |status| status["sessions"] == 0).await.unwrap();
}
