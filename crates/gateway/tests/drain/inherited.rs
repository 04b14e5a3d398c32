//! Sockets that somebody else owns, as with a socket unit of systemd: nobody is refused while one
//! gateway takes the place of another.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use slackwater_lab::opensrf;
use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::raw::{Message, RawClient};
use tokio::net::TcpStream;

use crate::client::{Client, DEMO};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");

async fn gateway(owner: &TcpListener, options: &[&str]) -> Gateway {
    let mut all = vec!["--ebb-window", "0s", "--log-level", "debug"];
    all.extend(options);
    Gateway::start_with_socket(PROGRAM, owner.try_clone().unwrap(), &all).await.unwrap()
}

fn owner() -> (TcpListener, SocketAddr) {
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = owner.local_addr().unwrap();
    (owner, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_behind_an_inherited_socket_refuses_nobody_and_loses_nothing() {
    let (owner, address) = owner();
    let mut old = gateway(&owner, &[]).await;
    assert_eq!(old.address(), address);
    let mut busy = Client::of(&old).await.unwrap();
    busy.call("t", 1, "wait", json!([1.5, "done"])).await.unwrap();
    old.until("executed", |status| status["executed"] == 1).await.unwrap();

    let enough = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> =
        (0..8).map(|_| tokio::spawn(call_until(address, Arc::clone(&enough)))).collect();
    old.until("they call", |status| status["answered"].as_u64() > Some(20)).await.unwrap();
    old.signal(Signal::TERM).unwrap();
    assert_eq!(busy.outcome("t", 1).await.unwrap(), (205, vec![json!("done")]));
    busy.assert_drained().await;
    assert_eq!(old.exit().await.unwrap().code(), Some(0));

    // Meanwhile whoever came waits in the queue.
    let mut new = gateway(&owner, &[]).await;
    new.until("they call again", |status| status["answered"].as_u64() > Some(20)).await.unwrap();
    enough.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
}

/// Calls, and comes again whenever the gateway has closed the connection at slack water. Fails if
/// it is refused, answered other than 101, or cut off before its answer.
async fn call_until(address: SocketAddr, enough: Arc<AtomicBool>) {
    while !enough.load(Ordering::SeqCst) {
        let mut client = RawClient::connect(address, "/").await.unwrap();
        for trace in 1..=20 {
            let method = format!("{DEMO}.echo");
            let request = opensrf::request(DEMO, "t", trace, &method, &json!([trace]));
            if client.send_text(&request).await.is_err() {
                break;
            }
            let mut answered = false;
            while !answered {
                match client.read_message().await {
                    Ok(Message::Text(text)) => {
                        answered = opensrf::answers(&text).iter().any(opensrf::Answer::is_final);
                    }
                    // This request crossed the Close: it was never executed, and may be sent again.
                    Ok(Message::Close { code, .. }) => {
                        assert_eq!(code, Some(1012));
                        client.close(1012).await.ok();
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            if !answered {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_gateway_that_stays_answers_503_on_an_inherited_socket_and_serves_again() {
    let (owner, address) = owner();
    let mut gateway = gateway(&owner, &[]).await;
    gateway.signal(Signal::USR1).unwrap();
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    let refused = RawClient::connect(address, "/").await.unwrap_err().to_string();
    assert!(refused.contains("503"), "{refused}");
    assert!(gateway.command(&["undrain"]).await.unwrap().status.success());
    Client::of(&gateway).await.unwrap();
}

#[tokio::test]
async fn a_drained_gateway_that_is_stopped_leaves_the_queue_to_its_successor() {
    let (owner, address) = owner();
    let mut old = gateway(&owner, &[]).await;
    let mut client = Client::of(&old).await.unwrap();
    client.call("t", 1, "wait", json!([1.0, "done"])).await.unwrap();
    old.until("executed", |status| status["executed"] == 1).await.unwrap();
    old.signal(Signal::USR1).unwrap();
    old.until("draining", |status| status["phase"] == "ebb").await.unwrap();
    old.signal(Signal::TERM).unwrap();
    let is_final = |log: &str| log.contains("no longer accepting");
    while !is_final(&old.log()) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let waiting = TcpStream::connect(address).await.unwrap();
    assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!("done")]));
    client.assert_drained().await;
    assert_eq!(old.exit().await.unwrap().code(), Some(0));
    let _new = gateway(&owner, &[]).await;
    RawClient::over(waiting, "/").await.expect("served by the successor");
}

#[tokio::test]
async fn addresses_that_are_named_beside_inherited_sockets_are_bound_too() {
    let (owner, address) = owner();
    let named = address.to_string();
    let options = ["--listen", &named, "--listen", "127.0.0.1:0"];
    let gateway = gateway(&owner, &options).await;
    let status = gateway.status().await.unwrap();
    let listen = status["listen"].as_array().unwrap();
    assert_eq!((listen.len(), &listen[0]), (2, &json!(named)), "the one that is there once");
    let other = listen[1].as_str().unwrap().parse().unwrap();
    for server in [address, other] {
        RawClient::connect(server, "/").await.unwrap();
    }
}

#[tokio::test]
async fn sockets_that_were_passed_to_another_process_are_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("control");
    let (owner, _) = owner();
    let mut gateway = std::process::Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--control"])
        .arg(&control)
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .stdin(std::os::fd::OwnedFd::from(owner))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let served = std::time::Instant::now();
    while !control.exists() {
        assert!(served.elapsed() < std::time::Duration::from_secs(20), "it does not serve");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}
