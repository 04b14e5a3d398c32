//! The rows of the table of losses: what loses an answer on today's gateways, and must not here.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slackwater_lab::raw::{End, Message, RawClient};
use slackwater_lab::site::{Services, Site};
use slackwater_lab::{on_each_bus, opensrf};
use tokio::net::TcpSocket;

use crate::client::{Client, DEMO, Keeper};
use crate::{drain, gateway};

/// How long a connection that must stay open is watched.
const WATCH: Duration = Duration::from_millis(600);

on_each_bus!(
    two_requests_on_one_thread_are_both_answered_and_then_it_closes,
    two_pipelined_requests_in_a_session_are_both_answered,
    an_idle_open_session_stays_until_its_disconnect,
    connect_and_disconnect_without_a_request_hold_nothing,
    one_slow_request_is_answered,
    a_request_after_an_earlier_404_does_not_hold_the_drain,
    a_slow_reader_that_goes_on_sending_gets_every_byte_and_then_the_close,
    a_slow_reader_that_is_silent_gets_every_byte_and_then_the_close,
);
on_each_bus!(
    Services { keepalive: Duration::from_secs(1), ..Services::default() };
    an_idle_open_session_stays_until_its_408,
);

async fn two_requests_on_one_thread_are_both_answered_and_then_it_closes(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut keeper = Keeper::of(&gateway).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.call("t", 1, "echo", json!(["fast"])).await.unwrap();
    client.call("t", 2, "hold", json!(["slow"])).await.unwrap();
    assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!("fast")]));
    drain(&mut gateway).await.unwrap();
    assert!(client.is_left_alone(WATCH).await);
    keeper.release("slow").await;
    assert_eq!(client.outcome("t", 2).await.unwrap(), (205, vec![json!("let go")]));
    client.assert_drained().await;
    keeper.leave().await;
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
}

async fn two_pipelined_requests_in_a_session_are_both_answered(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut keeper = Keeper::of(&gateway).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.connect("t").await.unwrap();
    client.call("t", 1, "hold", json!(["first"])).await.unwrap();
    client.call("t", 2, "hold", json!(["second"])).await.unwrap();
    drain(&mut gateway).await.unwrap();
    keeper.release("first").await;
    assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!("let go")]));
    assert!(client.is_left_alone(WATCH).await);
    keeper.release("second").await;
    assert_eq!(client.outcome("t", 2).await.unwrap(), (205, vec![json!("let go")]));
    assert!(client.is_left_alone(WATCH).await, "its session is still open");
    client.send(&opensrf::disconnect("t")).await.unwrap();
    client.assert_drained().await;
    keeper.leave().await;
}

async fn an_idle_open_session_stays_until_its_disconnect(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.connect("t").await.unwrap();
    drain(&mut gateway).await.unwrap();
    assert!(client.is_left_alone(WATCH).await);
    // Between the calls of a transaction nothing is in flight, and the next one still works.
    client.call("t", 1, "echo", json!(["still here"])).await.unwrap();
    assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!("still here")]));
    assert!(client.is_left_alone(WATCH).await);
    client.send(&opensrf::disconnect("t")).await.unwrap();
    client.assert_drained().await;
}

async fn an_idle_open_session_stays_until_its_408(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.connect("t").await.unwrap();
    drain(&mut gateway).await.unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.code, answer.thread.as_str()), (408, "t"));
    client.assert_drained().await;
}

async fn connect_and_disconnect_without_a_request_hold_nothing(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.connect("t").await.unwrap();
    client.send(&opensrf::disconnect("t")).await.unwrap();
    // An answer to what was sent later: the DISCONNECT has been dealt with.
    client.call("u", 1, "echo", json!([1])).await.unwrap();
    client.outcome("u", 1).await.unwrap();
    let slack = Instant::now();
    drain(&mut gateway).await.unwrap();
    client.assert_drained().await;
    let took = slack.elapsed();
    assert!(took < Duration::from_millis(500), "closed {took:?} after its slack water");
}

async fn one_slow_request_is_answered(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.call("t", 7, "wait", json!([1.5, "at last"])).await.unwrap();
    drain(&mut gateway).await.unwrap();
    assert_eq!(client.outcome("t", 7).await.unwrap(), (205, vec![json!("at last")]));
    client.assert_drained().await;
}

async fn a_request_after_an_earlier_404_does_not_hold_the_drain(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.send(&opensrf::request("no.such.service", "t", 7, "m", &json!([]))).await.unwrap();
    assert_eq!(client.outcome("t", 7).await.unwrap(), (404, vec![]));
    client.send(&opensrf::request(DEMO, "t", 8, "no.such.method", &json!([]))).await.unwrap();
    assert_eq!(client.outcome("t", 8).await.unwrap(), (404, vec![]));
    client.call("t", 9, "echo", json!([9])).await.unwrap();
    assert_eq!(client.outcome("t", 9).await.unwrap(), (205, vec![json!(9)]));
    let slack = Instant::now();
    drain(&mut gateway).await.unwrap();
    client.assert_drained().await;
    assert!(slack.elapsed() < Duration::from_secs(5));
}

async fn a_slow_reader_that_goes_on_sending_gets_every_byte_and_then_the_close(site: &Site) {
    let (sent, status) = read_slowly(site, true).await;
    assert_eq!((&status["executed"], &status["crossed_requests"]), (&json!(1), &json!(sent)));
}

async fn a_slow_reader_that_is_silent_gets_every_byte_and_then_the_close(site: &Site) {
    read_slowly(site, false).await;
}

/// Nothing is read until our Close is out, so that all of the answer lies before it in the kernel;
/// then it is read more slowly than `close_timeout`. Gives the requests that were sent meanwhile,
/// and the status at the end.
async fn read_slowly(site: &Site, goes_on_sending: bool) -> (u32, Value) {
    const SIZE: usize = 3_000_000;
    let mut gateway = gateway(site, &["--close-timeout", "1s"]).await.unwrap();
    // The answer waits at the gateway's end, not at the client's.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let stream = socket.connect(gateway.address()).await.unwrap();
    let mut client = RawClient::over(stream, "/").await.unwrap();
    let bytes = opensrf::request(DEMO, "t", 1, "slackwater.demo.bytes", &json!([SIZE]));
    client.send_text(&bytes).await.unwrap();
    gateway.until("the kernel has it all", |status| status["answered"] == 1).await.unwrap();
    drain(&mut gateway).await.unwrap();
    let waited = Instant::now();
    while gateway.control("GET", "/connections", "").await.unwrap()[0]["phase"] != "closing" {
        assert!(waited.elapsed() < Duration::from_secs(20), "{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let began = Instant::now();
    let (mut got, mut sent) = (0, 0);
    let end = loop {
        match client.read_message().await.unwrap() {
            Message::Text(text) => {
                for answer in opensrf::answers(&text) {
                    got += answer.content.as_str().map_or(0, str::len);
                }
                if goes_on_sending {
                    sent += 1;
                    let method = "slackwater.demo.echo";
                    let late = opensrf::request(DEMO, "late", sent, method, &json!([]));
                    client.send_text(&late).await.unwrap();
                }
                // About a frame of 50 kB each 50 ms: three seconds for the whole.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Message::Close { code, reason } => break (code, reason),
            Message::Binary(_) => panic!("binary"),
        }
    };
    // Chunks are slices of the JSON text: the string and its two quotes.
    assert_eq!(got, SIZE + 2);
    assert_eq!(end, (Some(1012), "drained".to_owned()));
    assert!(began.elapsed() > Duration::from_secs(2), "read slower than the close timeout");
    let status = gateway.status().await.unwrap();
    assert_eq!(status["connections"], 1, "it is waited for as long as bytes move: {status}");
    client.close(1012).await.unwrap();
    assert_eq!(client.end().await.unwrap(), End::Fin);
    client.shutdown().await.unwrap();
    let status = gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    assert_eq!(status["lost_replies"], 0, "{status}");
    (sent, status)
}
