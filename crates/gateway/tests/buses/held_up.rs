//! A gateway that does not run for a while, as when its machine was asleep or moved to another host:
//! nobody suffers for what he has said in time.

use std::time::Duration;

use serde_json::json;
use slackwater_lab::bus::redis::server::Server;
use slackwater_lab::opensrf;
use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::raw::{Message, opcode};
use slackwater_lab::site::joined;

use crate::PROGRAM;
use crate::load::{asked, complete, end, worker_says};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_is_not_taken_for_lost() {
    let Some(server) = Server::start().await.unwrap() else { return };
    let state = tempfile::tempdir().unwrap();
    let options = joined(server.port(), state.path());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let gateway = Gateway::start(PROGRAM, &options).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let request = opensrf::request("a.service", "t", 1, "m", &json!([]));
    client.send_text(&request).await.unwrap();
    let (address, thread) = asked(&server).await;
    gateway.signal(Signal::STOP).unwrap();
    let answer = worker_says(&thread, 1, "STATUS", &complete());
    let _length: usize = server.ask(&format!("RPUSH {address} {answer}")).await.unwrap();
    // Longer than Redis may be silent.
    tokio::time::sleep(Duration::from_secs(4)).await;
    gateway.signal(Signal::CONT).unwrap();
    let Message::Text(text) = client.read_message().await.unwrap() else { panic!("no answer") };
    assert_eq!(opensrf::answers(&text)[0].code, 205, "{text}");
    // The next look would find it lost.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!gateway.log().contains("bus lost"), "{}", gateway.log());
    drop(client);
    end(gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_answered_the_ping_is_not_given_up() {
    let gateway = Gateway::start(PROGRAM, &["--ping-interval", "1s"]).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(gateway.connect().await.unwrap());
    }
    let mut pings = Vec::new();
    for client in &mut clients {
        let ping = client.read_frame().await.unwrap();
        assert_eq!(ping.opcode, opcode::PING);
        pings.push(ping.payload);
    }
    gateway.signal(Signal::STOP).unwrap();
    for (client, ping) in clients.iter_mut().zip(&pings) {
        client.send_frame(opcode::PONG, true, ping).await.unwrap();
    }
    // Longer than a client may be silent.
    tokio::time::sleep(Duration::from_secs(3)).await;
    gateway.signal(Signal::CONT).unwrap();
    for client in &mut clients {
        assert_eq!(client.read_frame().await.unwrap().opcode, opcode::PING, "and no Close");
    }
    drop(clients);
    end(gateway).await;
}
