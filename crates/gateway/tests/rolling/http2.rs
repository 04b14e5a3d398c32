//! WebSockets over HTTP/2 (RFC 8441): what HAProxy makes of them for a gateway, which speaks
//! HTTP/1.1 alone, and that nginx offers none.

use bytes::Bytes;
use h2::client;
use h2::ext::Protocol;
use http::{Method, Request};
use serde_json::json;
use slackwater_lab::caller::{DEMO, PATH};
use slackwater_lab::opensrf;
use slackwater_lab::process::Gateway;
use slackwater_lab::proof::skipped;
use slackwater_lab::proxy::{Kind, PlainProxy};
use slackwater_lab::raw::{frame, opcode};
use tokio::net::TcpStream;

use super::PROGRAM;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_turns_a_websocket_of_http2_into_one_that_is_served_and_drained() {
    let mut gateway = Gateway::start(PROGRAM, &["--ebb-window", "0s"]).await.expect("a gateway");
    let haproxy = PlainProxy::http2(Kind::Haproxy, gateway.address()).await.expect("haproxy");
    let Some(haproxy) = haproxy else {
        return skipped("WebSockets over HTTP/2", "no haproxy");
    };
    let stream = TcpStream::connect(haproxy.address()).await.expect("connected");
    let (mut h2, connection) = client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    // Its SETTINGS say so, with or behind the first frames.
    while !h2.is_extended_connect_protocol_enabled() {
        h2 = h2.ready().await.expect("a connection");
        tokio::task::yield_now().await;
    }
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://gateway{PATH}"))
        .extension(Protocol::from("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .expect("a request");
    let (answer, mut sending) = h2.send_request(request, false).expect("sent");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200, "{answer:?}");

    let text = opensrf::request(DEMO, "t", 1, &format!("{DEMO}.wait"), &json!([0, "over HTTP/2"]));
    let message = frame(opcode::TEXT, true, text.as_bytes());
    sending.send_data(Bytes::from(message), false).expect("sent");
    let mut body = answer.into_body();
    let mut heard = Vec::new();
    let holds = |heard: &[u8], wanted: &str| String::from_utf8_lossy(heard).contains(wanted);
    while !holds(&heard, "Request Complete") {
        heard.extend(body.data().await.expect("an answer").expect("bytes"));
    }
    assert!(holds(&heard, "over HTTP/2"));

    heard.clear();
    gateway.control("POST", "/drain", "").await.expect("a drain");
    while !holds(&heard, "drained") {
        let more = body.data().await.expect("a Close").expect("bytes");
        // Pings are answered: slack water is confirmed by one.
        if more.first() == Some(&(0x80 | opcode::PING)) {
            let pong = frame(opcode::PONG, true, &more[2..10]);
            sending.send_data(Bytes::from(pong), false).expect("sent");
        }
        heard.extend(more);
    }
    let close = frame(opcode::CLOSE, true, &1012_u16.to_be_bytes());
    sending.send_data(Bytes::from(close), true).expect("sent");
    let drained = gateway.until("drained", |status| status["phase"] == "drained").await;
    assert_eq!(drained.expect("drained")["closed"]["drained"], 1);
}

/// A browser then opens its WebSockets over HTTP/1.1 (RFC 8441 §3): see docs/behind-nginx.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_offers_no_websockets_over_http2() {
    let gateway = Gateway::start(PROGRAM, &[]).await.expect("a gateway");
    let nginx = PlainProxy::http2(Kind::Nginx, gateway.address()).await.expect("nginx");
    let Some(nginx) = nginx else {
        return skipped("HTTP/2 through nginx", "no nginx");
    };
    let stream = TcpStream::connect(nginx.address()).await.expect("connected");
    let (mut h2, connection) = client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    // Its SETTINGS have come when something has been answered.
    let request = Request::builder().uri("http://gateway/").body(()).expect("a request");
    let (answer, _) = h2.send_request(request, true).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    assert!(!h2.is_extended_connect_protocol_enabled());
}
