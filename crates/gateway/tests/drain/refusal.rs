//! How a gateway that leaves turns new clients away, and takes them again.

use std::time::Duration;

use slackwater_lab::process::Signal;
use slackwater_lab::raw::{exchange, handshake};
use slackwater_lab::site::Site;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Client, Keeper};
use crate::{drain, gateway};

/// The process is stopped, so that nobody accepts while the queue fills and the signal comes.
#[tokio::test]
async fn whoever_waits_in_the_queue_gets_a_503_and_then_connects_are_refused() {
    let mut gateway = gateway(&Site::embedded(), &[]).await.unwrap();
    let keeper = Keeper::of(&gateway).await.unwrap();
    gateway.signal(Signal::STOP).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(handshake("/", "").as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    gateway.signal(Signal::USR1).unwrap();
    gateway.signal(Signal::CONT).unwrap();
    let (mut unavailable, mut served) = (0, 0);
    for mut stream in waiting {
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer));
        let length = read.await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        if answer.starts_with("HTTP/1.1 503 ") && answer.to_lowercase().contains("retry-after:") {
            unavailable += 1;
        } else if answer.starts_with("HTTP/1.1 101 ") {
            served += 1;
        } else {
            panic!("neither 503 nor 101: {answer}");
        }
    }
    // Which of signal and queue is seen first is the kernel's choice; nobody is left without an
    // answer either way.
    assert_eq!(unavailable + served, 64);
    gateway.until("refusing", |status| status["phase"] == "ebb").await.unwrap();
    let refused = TcpStream::connect(gateway.address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    gateway.command(&["undrain"]).await.unwrap();
    Client::of(&gateway).await.unwrap();
    drop(keeper);
}

#[tokio::test]
async fn a_handshake_that_is_half_read_gets_a_503() {
    let mut gateway = gateway(&Site::embedded(), &[]).await.unwrap();
    let mut half = TcpStream::connect(gateway.address()).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpg").await.unwrap();
    // A later connection was accepted: so was the one before.
    Client::of(&gateway).await.unwrap();
    drain(&mut gateway).await.unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn refuse_503_keeps_answering() {
    let mut gateway = gateway(&Site::embedded(), &["--refuse", "503"]).await.unwrap();
    drain(&mut gateway).await.ok();
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    for _ in 0..3 {
        let answer = exchange(gateway.address(), handshake("/", "").as_bytes()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    gateway.command(&["undrain"]).await.unwrap();
    Client::of(&gateway).await.unwrap();
}

#[tokio::test]
async fn during_the_announcement_new_clients_are_served_but_it_is_not_ready() {
    // A port that is free now may be taken a moment later: then another is tried.
    let (mut gateway, admin) = loop {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = free.local_addr().unwrap();
        drop(free);
        let listen = admin.to_string();
        let options = [
            "--announce",
            "1h",
            "--deadline",
            "0s",
            "--admin-listen",
            &listen,
            "--health-path",
            "/health/",
            "--drain-status",
            "404",
        ];
        match gateway(&Site::embedded(), &options).await {
            Ok(gateway) => break (gateway, admin),
            Err(error) => assert!(error.to_string().contains("in use"), "{error}"),
        }
    };
    let get = |path: &'static str| async move {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        exchange(admin, request.as_bytes()).await.unwrap()
    };
    assert!(get("/readyz").await.starts_with("HTTP/1.1 200 "));
    gateway.control("POST", "/drain", "").await.unwrap();
    gateway.until("announced", |status| status["phase"] == "announce").await.unwrap();
    assert!(get("/readyz").await.starts_with("HTTP/1.1 404 "));
    assert!(get("/livez").await.starts_with("HTTP/1.1 200 "));
    let clients = gateway.address();
    let public = |path: &'static str| async move {
        let request = format!("GET /health{path} HTTP/1.1\r\nHost: x\r\n\r\n");
        exchange(clients, request.as_bytes()).await.unwrap()
    };
    let ready = public("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 404 ") && ready.ends_with("\r\n\r\ndraining\n"), "{ready}");
    assert!(public("/livez").await.starts_with("HTTP/1.1 200 "));
    Client::of(&gateway).await.unwrap();
}
