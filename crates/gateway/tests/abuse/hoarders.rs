//! Attacks on memory: clients that do not read, and messages that are never whole.

use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::opensrf;
use slackwater_lab::proof::length;
use slackwater_lab::raw::{RawClient, opcode};
use tokio::task::JoinSet;

use crate::{DEMO, Ground, floor_beside_bulk};

/// A request for an answer of so many bytes.
fn asks(bytes: usize) -> String {
    opensrf::request(DEMO, "t", 1, "slackwater.demo.bytes", &json!([bytes]))
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
        client.send_text(&asks(8 << 20)).await.unwrap();
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
    ground.endured_within(floor_beside_bulk(), what, taken).await;
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
            if client.send_text(&asks(10 << 20)).await.is_err() {
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
    // 256 MiB of texts.
    let bound = (64 << 20) + (256 << 20);
    assert!(most < bound, "{most} bytes");
    let what = format!(
        "{many} × 10 MiB at once: {whole} whole, {refused} refused with 503, {closed} closed"
    );
    ground.endured_within(floor_beside_bulk(), &what, most).await;
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
    assert!(most < 256 << 20, "{most} bytes");
    ground.endured("60 × 8 MiB that are never whole", most).await;
}
