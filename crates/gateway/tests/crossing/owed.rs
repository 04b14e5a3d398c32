//! An answer is owed until its last byte has reached the kernel, and no Close goes out before.

use std::time::Duration;

use serde_json::json;
use slackwater_lab::caller::{Caller, Heard};
use slackwater_lab::on_each_bus;
use slackwater_lab::raw::RawClient;
use slackwater_lab::site::Site;
use tokio::net::TcpSocket;

/// More than the kernel takes for a client that does not read, less than may wait for one.
const BYTES: usize = 12_000_000;

on_each_bus!(an_answer_that_the_kernel_has_not_taken_is_pending_and_holds_the_drain);

async fn an_answer_that_the_kernel_has_not_taken_is_pending_and_holds_the_drain(site: &Site) {
    let options = ["--ebb-window", "0s", "--quiet-window", "1ms"];
    let mut gateway =
        site.gateway(env!("CARGO_BIN_EXE_slackwater"), &options).await.expect("a gateway");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("a small buffer");
    let stream = socket.connect(gateway.address()).await.expect("a connection");
    let mut client = Caller::on(RawClient::over(stream, "/").await.expect("a client"));
    let all = json!("x".repeat(BYTES));
    client.call(("t", 1), "bytes", &json!([BYTES]), [all]).await.expect("sent");
    gateway.control("POST", "/drain", "").await.expect("a drain");

    // Once the answer's end waits for the kernel, the request itself is settled.
    let waits = async {
        loop {
            let connections = gateway.control("GET", "/connections", "").await.expect("one");
            let one = &connections[0];
            if one["queued_bytes"].as_u64() > Some(0) && one["pending"] == json!([]) {
                return one["phase"].clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // ejabberd lets 500 kB of it through in a second.
    let phase = tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it waits");
    assert_eq!(phase, "draining");
    let status = gateway.status().await.expect("a status");
    assert_eq!((&status["answered"], &status["pending_requests"]), (&json!(0), &json!(1)));

    client.until_answered().await.expect("all of it");
    gateway.until("it is answered", |status| status["answered"] == 1).await.expect("answered");
    loop {
        match client.hear().await.expect("a Close") {
            Heard::Ping(payload) => client.pong(&payload).await.expect("sent"),
            Heard::Close { code, reason } => {
                assert_eq!((code, reason.as_str()), (1012, "drained"));
                break;
            }
            other @ Heard::Answers { .. } => panic!("{other:?}"),
        }
    }
    client.leave(1012).await.expect("a FIN");
}
