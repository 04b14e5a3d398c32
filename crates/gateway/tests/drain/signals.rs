//! The table of signals.

use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::process::Signal;

use crate::client::Client;
use crate::gateway;

#[tokio::test]
async fn usr1_drains_and_the_process_stays() {
    let mut gateway = gateway(&[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    gateway.signal(Signal::USR1).unwrap();
    client.assert_drained().await;
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    let output = gateway.command(&["undrain"]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    Client::of(&gateway).await.unwrap();
}

#[tokio::test]
async fn a_second_usr1_does_not_start_the_deadline_again() {
    let mut gateway = gateway(&["--deadline", "3s"]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.call("t", 1, "hold", json!(["x"])).await.unwrap();
    let began = Instant::now();
    gateway.signal(Signal::USR1).unwrap();
    gateway.until("draining", |status| status["phase"] == "ebb").await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        gateway.signal(Signal::USR1).unwrap();
    }
    assert_eq!(client.answer().await.unwrap().code, 504);
    assert!(began.elapsed() < Duration::from_millis(4_500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn term_drains_and_exits_the_instant_the_last_client_has_gone() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = gateway(&[]).await.unwrap();
        let mut client = Client::of(&gateway).await.unwrap();
        client.call("t", 1, "wait", json!([0.5, "done"])).await.unwrap();
        gateway.until("executed", |status| status["executed"] == 1).await.unwrap();
        gateway.signal(signal).unwrap();
        assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!("done")]));
        client.assert_drained().await;
        let gone = Instant::now();
        assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
        assert!(gone.elapsed() < Duration::from_secs(1), "{:?}", gone.elapsed());
    }
}

#[tokio::test]
async fn term_during_a_usr1_drain_is_the_same_drain_and_then_exits() {
    let mut gateway = gateway(&["--deadline", "3s"]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.call("t", 1, "hold", json!(["x"])).await.unwrap();
    let began = Instant::now();
    gateway.signal(Signal::USR1).unwrap();
    gateway.until("draining", |status| status["phase"] == "ebb").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.signal(Signal::TERM).unwrap();
    let output = gateway.command(&["undrain"]).await.unwrap();
    assert!(!output.status.success(), "a gateway that was told to stop cannot be called back");
    assert_eq!(client.answer().await.unwrap().code, 504);
    assert_eq!(client.closed().await.unwrap().1, "deadline");
    assert_eq!(gateway.exit().await.unwrap().code(), Some(3));
    assert!(began.elapsed() < Duration::from_millis(4_500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_drained_process_exits_on_term_at_once() {
    let mut gateway = gateway(&[]).await.unwrap();
    gateway.signal(Signal::USR1).unwrap();
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_second_term_hurries() {
    let mut gateway = gateway(&["--deadline", "1h"]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    client.call("t", 1, "hold", json!(["x"])).await.unwrap();
    gateway.until("executed", |status| status["executed"] == 1).await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    gateway.until("draining", |status| status["phase"] == "ebb").await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(client.answer().await.unwrap().code, 504);
    assert_eq!(client.closed().await.unwrap().1, "deadline");
    assert_eq!(gateway.exit().await.unwrap().code(), Some(3));
}

#[tokio::test]
async fn a_second_term_with_nothing_pending_exits_0() {
    let mut gateway = gateway(&["--deadline", "1h", "--ebb-window", "30m"]).await.unwrap();
    // With two, one is not the first to go: it waits for its slot.
    let mut clients = [Client::of(&gateway).await.unwrap(), Client::of(&gateway).await.unwrap()];
    gateway.signal(Signal::INT).unwrap();
    gateway.until("one left", |status| status["phase"] == "ebb").await.unwrap();
    gateway.signal(Signal::INT).unwrap();
    for client in &mut clients {
        assert_eq!(client.closed().await.unwrap().0, Some(1012));
    }
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn hup_harms_nothing() {
    let mut gateway = gateway(&[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    gateway.signal(Signal::HUP).unwrap();
    client.call("t", 1, "echo", json!([1])).await.unwrap();
    assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!(1)]));
    gateway.until("serving", |status| status["phase"] == "serving").await.unwrap();
}
