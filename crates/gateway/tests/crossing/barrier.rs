//! What reaches us before our Close has not crossed it: it is executed, however near it is. And
//! only the client's Close proves that it has ours.

use std::time::Duration;

use serde_json::json;
use slackwater_lab::caller::{Caller, DEMO, Heard};
use slackwater_lab::process::Gateway;
use slackwater_lab::raw::{frame, opcode};
use slackwater_lab::site::Site;
use slackwater_lab::{on_each_bus, opensrf};

on_each_bus!(
    a_request_in_one_piece_with_the_pong_is_executed,
    half_a_request_behind_the_pong_holds_the_close_back,
    our_fin_waits_for_the_clients_close,
);

async fn a_request_in_one_piece_with_the_pong_is_executed(site: &Site) {
    let mut gateway = gateway(site).await;
    let mut client = Caller::connect(gateway.address()).await.expect("a client");
    gateway.control("POST", "/drain", "").await.expect("a drain");
    for trace in 1..=20 {
        let mut bytes = frame(opcode::PONG, true, &ping(&mut client).await);
        bytes.extend(request(&mut client, trace));
        client.raw.send_bytes(&bytes).await.expect("sent");
        client.until_answered().await.expect("answered, not closed");
    }
    let status = gateway.until("all are answered", |status| status["answered"] == 20).await;
    assert_eq!(status.expect("a status")["crossed_requests"], 0);
}

async fn half_a_request_behind_the_pong_holds_the_close_back(site: &Site) {
    let gateway = gateway(site).await;
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

async fn our_fin_waits_for_the_clients_close(site: &Site) {
    let gateway = gateway(site).await;
    let mut client = Caller::connect(gateway.address()).await.expect("a client");
    gateway.control("POST", "/drain", "").await.expect("a drain");
    let mut heard = Heard::Ping(ping(&mut client).await);
    // A Pong that was long on its way is followed by another Ping.
    while let Heard::Ping(payload) = heard {
        client.pong(&payload).await.expect("sent");
        heard = client.hear().await.expect("a Ping or a Close");
    }
    assert_eq!(heard, Heard::Close { code: 1012, reason: "drained".to_owned() });
    let silence = tokio::time::timeout(Duration::from_millis(300), client.hear()).await;
    assert!(silence.is_err(), "{silence:?}");
    client.leave(1012).await.expect("a FIN");
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

async fn gateway(site: &Site) -> Gateway {
    let options = ["--ebb-window", "0s", "--quiet-window", "1ms", "--ping-interval", "0s"];
    site.gateway(env!("CARGO_BIN_EXE_slackwater"), &options).await.expect("a gateway")
}
