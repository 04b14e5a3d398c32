//! Bounds for one client address.

use serde_json::Value;
use slackwater_lab::process::Gateway;
use slackwater_lab::raw::{RawClient, exchange, handshake};

use crate::PROGRAM;

async fn refused(gateway: &Gateway) -> String {
    let error = gateway.connect().await.unwrap_err().to_string();
    assert!(error.contains("429"), "{error}");
    error
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_others_have_theirs() {
    let options = ["--max-connections-per-address", "3", "--trusted-proxy", "127.0.0.1/32"];
    let mut gateway = Gateway::start(PROGRAM, &options).await.unwrap();
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(gateway.connect().await.unwrap());
    }
    let said = refused(&gateway).await;
    assert!(said.to_ascii_lowercase().contains("retry-after"), "{said}");
    // Others, as the proxy names them; what a client has written before that is nothing.
    for other in ["192.0.2.1", "192.0.2.1", "192.0.2.1", "2001:db8::1"] {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let mut client = RawClient::without_handshake(stream).unwrap();
        let header = format!("X-Forwarded-For: 127.0.0.1, {other}\r\n");
        client.send_bytes(handshake("/", &header).as_bytes()).await.unwrap();
        client.finish_handshake().await.unwrap();
        own.push(client);
    }
    let header = "X-Forwarded-For: 198.51.100.9, 192.0.2.1\r\n";
    let answer = exchange(gateway.address(), handshake("/", header).as_bytes()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    // Who leaves makes room.
    drop(own.remove(0));
    let six = |status: &Value| status["connections"] == 6;
    gateway.until("one has gone", six).await.unwrap();
    gateway.connect().await.unwrap();
}

#[tokio::test]
async fn one_address_may_come_so_often() {
    let gateway = Gateway::start(PROGRAM, &["--max-handshakes-per-address", "5"]).await.unwrap();
    let began = std::time::Instant::now();
    let (mut let_in, mut turned_away) = (0, 0);
    while began.elapsed().as_millis() < 2_000 {
        match gateway.connect().await {
            Ok(_) => let_in += 1,
            Err(error) => {
                assert!(error.to_string().contains("429"), "{error}");
                turned_away += 1;
            }
        }
    }
    // Five at once, and five a second; the last second may have just begun.
    assert!((13..=16).contains(&let_in), "{let_in}");
    assert!(turned_away > 20, "{turned_away}");
}
