//! Attacks on memory: clients that do not read, and messages that are never whole.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::bus::redis::server::{DOMAIN, Server};
use slackwater_lab::kernel::resident;
use slackwater_lab::opensrf;
use slackwater_lab::process::Gateway;
use slackwater_lab::proof::length;
use slackwater_lab::raw::{End, Message, RawClient, opcode};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::{DEMO, Ground};

/// A request for an answer of so many bytes.
fn ask(trace: u32, bytes: usize) -> String {
    opensrf::request(DEMO, "t", trace, "slackwater.demo.bytes", &json!([bytes]))
}

/// The most memory taken while something is awaited.
async fn most_while<T>(ground: &Ground, awaited: impl Future<Output = T>) -> (u64, T) {
    let (mut most, mut awaited) = (0, std::pin::pin!(awaited));
    loop {
        let pause = tokio::time::sleep(Duration::from_millis(20));
        tokio::select! {
            outcome = &mut awaited => return (most, outcome),
            () = pause => most = most.max(ground.taken()),
        }
    }
}

#[tokio::test]
async fn who_never_reads_is_dropped_and_all_that_waited_for_him() {
    let mut ground = Ground::start(&["--write-stall-timeout", "1s", "--close-timeout", "1s"]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = ground.gateway.connect().await.unwrap();
        client.send_text(&ask(1, 8 << 20)).await.unwrap();
        clients.push(client);
    }
    let began = Instant::now();
    while ground.gateway.status().await.unwrap()["closed"]["slow_reader"].as_u64() != Some(20) {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{}",
            ground.gateway.status().await.unwrap()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let taken = ground.taken();
    drop(clients);
    ground.gateway.until("they have gone", |status| status["connections"] == 1).await.unwrap();
    let what = "20 clients that never read 8 MiB";
    ground.endured(what, taken).await;
}

/// A slow line is no attack: whoever reads at all gets what he has asked for, by and by.
#[tokio::test]
async fn who_is_far_behind_gets_all_that_he_has_asked_for() {
    let ground = Ground::start(&[]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let stream = socket.connect(ground.address()).await.unwrap();
    let mut client = RawClient::over(stream, "/").await.unwrap();
    for trace in 1..=3 {
        client.send_text(&ask(trace, 8 << 20)).await.unwrap();
    }
    let began = Instant::now();
    // The rest is with the kernel.
    while most_queued(&ground).await <= 16 << 20 {
        assert!(began.elapsed() < Duration::from_secs(60), "too little waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It is read when the others are.
    client.send_text(&ask(4, 1)).await.unwrap();
    let mut answered = HashSet::new();
    while answered.len() < 4 {
        let Message::Text(text) = client.read_message().await.unwrap() else { panic!("closed") };
        let finals = opensrf::answers(&text).into_iter().filter(|answer| answer.is_final());
        answered.extend(finals.map(|answer| (answer.trace, answer.code)));
    }
    assert_eq!(answered, HashSet::from([(1, 205), (2, 205), (3, 205), (4, 205)]));
    let taken = ground.taken();
    drop(client);
    ground.endured("one that reads 24 MiB late", taken).await;
}

/// The most bytes that wait for one client.
async fn most_queued(ground: &Ground) -> u64 {
    let connections = ground.gateway.control("GET", "/connections", "").await.unwrap();
    let queued = connections.as_array().unwrap().iter().map(|one| one["queued_bytes"].as_u64());
    queued.flatten().max().unwrap_or(0)
}

/// Without a router nobody answers a CONNECT, and what follows it waits.
#[tokio::test]
async fn requests_behind_a_connect_stay_within_the_bound_of_all() {
    let Some(server) = Server::start().await.unwrap() else { return };
    let url = server.account("gateway", DOMAIN).url();
    let options = ["--bus", &url, "--max-total-queued-bytes", "64MiB", "--close-timeout", "1s"];
    let gateway = Gateway::start(crate::PROGRAM, &options).await.unwrap();
    let before = resident(gateway.pid()).unwrap();
    let held = opensrf::request(DEMO, "t", 1, "echo", &json!(["x".repeat(1 << 20)]));
    let mut attackers = Vec::new();
    // 40 of 8 MiB would be 320.
    for _ in 0..40 {
        let Ok(mut client) = gateway.connect().await else { continue };
        if client.send_text(&opensrf::connect(DEMO, "t")).await.is_err() {
            continue;
        }
        for _ in 0..8 {
            if client.send_text(&held).await.is_err() {
                break;
            }
        }
        attackers.push(client);
    }
    // From half of the bound on nobody is let in.
    assert!(attackers.len() < 10, "{} hold 8 MiB each", attackers.len());
    let status = gateway.status().await.unwrap();
    assert!(status["held"].as_u64() >= Some(8), "{status}");
    let most = resident(gateway.pid()).unwrap().saturating_sub(before);
    // Beside what waits there is what was read last, and what an allocator keeps.
    assert!(most < 160 << 20, "{most} bytes");
}

#[tokio::test]
async fn a_thousand_large_answers_at_once_stay_within_the_bound_of_all() {
    let many = length(40, 1_000);
    let ground = Ground::start(&["--max-total-queued-bytes", "64MiB"]).await;
    let mut readers = JoinSet::new();
    for _ in 0..many {
        let mut client = ground.gateway.connect().await.unwrap();
        client.patience = Duration::from_secs(120);
        readers.spawn(async move {
            if client.send_text(&ask(1, 10 << 20)).await.is_err() {
                return Outcome::Closed;
            }
            answered(&mut client).await
        });
    }
    let all = async {
        let mut outcomes = [0_usize; 3];
        while let Some(outcome) = readers.join_next().await {
            outcomes[outcome.unwrap() as usize] += 1;
        }
        outcomes
    };
    let (most, [whole, refused, closed]) = most_while(&ground, all).await;
    assert_eq!(whole + refused + closed, many);
    assert!(whole > 0, "some are served");
    // What waits is bounded; beside it are the services, which are inside this process and hold at most
    // 64 MiB of texts, and what an allocator keeps.
    let bound = (64 << 20) + (64 << 20) + (64 << 20);
    assert!(most < bound, "{most} bytes");
    let what = format!(
        "{many} × 10 MiB at once: {whole} whole, {refused} refused with 503, {closed} closed"
    );
    ground.endured(&what, most).await;
}

#[derive(Clone, Copy)]
enum Outcome {
    Whole,
    Refused,
    Closed,
}

async fn answered(client: &mut RawClient) -> Outcome {
    match crate::final_code(client, 1).await {
        Ok(205) => Outcome::Whole,
        Ok(503) => Outcome::Refused,
        Ok(code) => panic!("{code}"),
        Err(_) => Outcome::Closed,
    }
}

#[tokio::test]
async fn messages_that_are_never_whole_stay_within_the_bound_of_all() {
    let ground =
        Ground::start(&["--max-total-queued-bytes", "64MiB", "--close-timeout", "1s"]).await;
    let mut attackers = JoinSet::new();
    // 60 of 8 MiB would be 480.
    for _ in 0..60 {
        let Ok(mut client) = ground.gateway.connect().await else { continue };
        attackers.spawn(async move {
            let piece = vec![b'x'; 256 * 1024];
            let mut code = opcode::TEXT;
            for _ in 0..32 {
                if client.send_frame(code, false, &piece).await.is_err() {
                    return false;
                }
                code = opcode::CONTINUATION;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // What it may keep open.
            tokio::time::timeout(Duration::from_secs(3), client.read_message()).await.is_err()
        });
    }
    let all = async {
        let mut kept = 0;
        while let Some(outcome) = attackers.join_next().await {
            kept += usize::from(outcome.unwrap());
        }
        kept
    };
    let (most, kept) = most_while(&ground, all).await;
    assert!(kept < 30, "{kept} hold 8 MiB each");
    // Beside what waits there is what an allocator keeps of messages that have grown.
    assert!(most < 160 << 20, "{most} bytes");
    ground.endured("60 × 8 MiB that are never whole", most).await;
}

/// Who is told to end goes on until he has read that; what he sends meanwhile is not kept.
#[tokio::test]
async fn of_one_who_is_told_to_end_no_more_is_kept() {
    let options = ["--max-total-queued-bytes", "1MiB", "--close-timeout", "30s"];
    let mut gateway = Gateway::start(crate::PROGRAM, &options).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    client.send_frame(opcode::TEXT, false, &vec![b'x'; 256 * 1024]).await.unwrap();
    for _ in 0..31 {
        client.send_frame(opcode::CONTINUATION, false, &vec![b'x'; 256 * 1024]).await.unwrap();
    }
    let began = Instant::now();
    while waiting(&gateway).await > 1 << 20 || !is_closing(&gateway).await {
        assert!(began.elapsed() < Duration::from_secs(10), "{} wait", waiting(&gateway).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // His message ends, and is none; his Close is found behind it.
    client.send_frame(opcode::CONTINUATION, true, b"x").await.unwrap();
    client.send_frame(opcode::CLOSE, true, &1000_u16.to_be_bytes()).await.unwrap();
    let told = client.read_message().await.unwrap();
    assert!(matches!(told, Message::Close { code: Some(1008), .. }), "{told:?}");
    assert_eq!(client.end().await.unwrap(), End::Fin);
    drop(client);
    gateway.until("he has gone", |status| status["connections"] == 0).await.unwrap();
    assert_eq!(gateway.status().await.unwrap()["executed"], 0, "it was no request");
}

/// All that waits for clients, and of their messages.
async fn waiting(gateway: &Gateway) -> u64 {
    let metrics = gateway.metrics().await.unwrap();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("slackwater_client_waiting_bytes "));
    line.unwrap().parse().unwrap()
}

async fn is_closing(gateway: &Gateway) -> bool {
    let connections = gateway.control("GET", "/connections", "").await.unwrap();
    connections[0]["phase"] == "closing"
}
