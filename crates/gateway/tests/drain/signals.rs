//! The table of signals.

use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::on_each_bus;
use slackwater_lab::process::Signal;
use slackwater_lab::site::Site;

use crate::client::Client;
use crate::gateway;

on_each_bus!(
    usr1_drains_and_the_process_stays,
    a_second_usr1_does_not_start_the_deadline_again,
    term_drains_and_exits_the_instant_the_last_client_has_gone,
    term_during_a_usr1_drain_is_the_same_drain_and_then_exits,
    a_drained_process_exits_on_term_at_once,
    a_second_term_hurries,
    a_second_term_with_nothing_pending_exits_0,
    hup_harms_nothing,
);

async fn usr1_drains_and_the_process_stays(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    gateway.signal(Signal::USR1).unwrap();
    client.assert_drained().await;
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    let output = gateway.command(&["undrain"]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    Client::of(&gateway).await.unwrap();
}

async fn a_second_usr1_does_not_start_the_deadline_again(site: &Site) {
    let mut gateway = gateway(site, &["--deadline", "3s"]).await.unwrap();
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

async fn term_drains_and_exits_the_instant_the_last_client_has_gone(site: &Site) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = gateway(site, &[]).await.unwrap();
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

async fn term_during_a_usr1_drain_is_the_same_drain_and_then_exits(site: &Site) {
    let mut gateway = gateway(site, &["--deadline", "3s"]).await.unwrap();
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

async fn a_drained_process_exits_on_term_at_once(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    gateway.signal(Signal::USR1).unwrap();
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
}

async fn a_second_term_hurries(site: &Site) {
    let mut gateway = gateway(site, &["--deadline", "1h"]).await.unwrap();
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

async fn a_second_term_with_nothing_pending_exits_0(site: &Site) {
    let mut gateway = gateway(site, &["--deadline", "1h", "--ebb-window", "30m"]).await.unwrap();
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

async fn hup_harms_nothing(site: &Site) {
    let mut gateway = gateway(site, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await.unwrap();
    gateway.signal(Signal::HUP).unwrap();
    client.call("t", 1, "echo", json!([1])).await.unwrap();
    assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!(1)]));
    gateway.until("serving", |status| status["phase"] == "serving").await.unwrap();
}
