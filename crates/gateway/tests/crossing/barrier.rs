//! What reaches us before our Close has not crossed it: it is executed, however near it is.

use std::time::Duration;

use serde_json::json;
use slackwater_lab::caller::{Caller, DEMO, Heard};
use slackwater_lab::opensrf;
use slackwater_lab::process::Gateway;
use slackwater_lab::raw::{frame, opcode};

#[tokio::test]
async fn a_request_in_one_piece_with_the_pong_is_executed() {
    let gateway = gateway().await;
    let mut client = Caller::connect(gateway.address()).await.expect("a client");
    gateway.control("POST", "/drain", "").await.expect("a drain");
    for trace in 1..=20 {
        let mut bytes = frame(opcode::PONG, true, &ping(&mut client).await);
        bytes.extend(request(&mut client, trace));
        client.raw.send_bytes(&bytes).await.expect("sent");
        client.until_answered().await.expect("answered, not closed");
    }
    let status = gateway.status().await.expect("a status");
    assert_eq!((&status["crossed_requests"], &status["answered"]), (&json!(0), &json!(20)));
}

#[tokio::test]
async fn half_a_request_behind_the_pong_holds_the_close_back() {
    let gateway = gateway().await;
    let mut client = Caller::connect(gateway.address()).await.expect("a client");
    gateway.control("POST", "/drain", "").await.expect("a drain");
    let mut first = frame(opcode::PONG, true, &ping(&mut client).await);
    let request = request(&mut client, 1);
    let (half, rest) = request.split_at(request.len() / 2);
    first.extend(half);
    client.raw.send_bytes(&first).await.expect("sent");
    let silence = tokio::time::timeout(Duration::from_millis(300), client.hear()).await;
    assert!(silence.is_err(), "{silence:?}");
    client.raw.send_bytes(rest).await.expect("sent");
    client.until_answered().await.expect("answered, not closed");
}

/// The barrier's Ping, which must be what comes next.
async fn ping(client: &mut Caller) -> Vec<u8> {
    match client.hear().await.expect("a Ping") {
        Heard::Ping(payload) => payload,
        other @ (Heard::Answers { .. } | Heard::Close { .. }) => panic!("{other:?}"),
    }
}

/// The frame of a request that the client's ledger awaits.
fn request(client: &mut Caller, trace: u32) -> Vec<u8> {
    let value = json!(trace);
    client.expect(("t", trace), [value.clone()]);
    let method = format!("{DEMO}.echo");
    let text = opensrf::request(DEMO, "t", trace, &method, &json!([value]));
    frame(opcode::TEXT, true, text.as_bytes())
}

async fn gateway() -> Gateway {
    let options = ["--ebb-window", "0s", "--quiet-window", "1ms", "--ping-interval", "0s"];
    Gateway::start(env!("CARGO_BIN_EXE_slackwater"), &options).await.expect("a gateway")
}
