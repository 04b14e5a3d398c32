//! What a service manager is told, on its notification socket.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::process::{Gateway, Signal};

use crate::client::Client;

/// In systemd's place.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<(Instant, String)>,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, heard: Vec::new(), directory }
    }

    async fn gateway(&self, environment: &[(&str, &str)], options: &[&str]) -> Gateway {
        let path = self.directory.path().join("notify").display().to_string();
        let mut environment = environment.to_vec();
        environment.push(("NOTIFY_SOCKET", &path));
        let program = env!("CARGO_BIN_EXE_slackwater");
        Gateway::start_in(program, &environment, options).await.unwrap()
    }

    /// Takes what has come.
    fn listen(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let text = str::from_utf8(&bytes[..length]).unwrap();
            let now = Instant::now();
            self.heard.extend(text.lines().map(|line| (now, line.to_owned())));
        }
    }

    /// Waits for a line with this in it, and gives it.
    async fn hears(&mut self, wanted: &str) -> String {
        let began = Instant::now();
        loop {
            self.listen();
            if let Some((_, line)) = self.heard.iter().find(|(_, line)| line.contains(wanted)) {
                return line.clone();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{wanted}: {:?}", self.heard);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn systemd_is_told_how_far_a_drain_is_and_to_wait_for_it() {
    let mut manager = Manager::new();
    let mut gateway = manager.gateway(&[], &["--ebb-window", "0s", "--deadline", "1h"]).await;
    manager.hears("READY=1").await;
    assert_eq!(manager.hears("STATUS=").await, "STATUS=serving");
    let mut client = Client::of(&gateway).await.unwrap();
    client.call("t", 1, "wait", json!([2.5, "done"])).await.unwrap();
    gateway.until("executed", |status| status["executed"] == 1).await.unwrap();

    gateway.signal(Signal::USR1).unwrap();
    let line = manager.hears("STATUS=draining (ebb)").await;
    assert!(line.contains("connections left: 1, pending requests: 1, sessions: 0"), "{line}");
    assert!(line.contains("to the deadline"), "{line}");
    let until_now = |manager: &Manager, wanted: &str| {
        manager.heard.iter().filter(|(_, line)| line.starts_with(wanted)).count()
    };
    assert_eq!(until_now(&manager, "EXTEND_TIMEOUT_USEC"), 0, "it stays: nobody waits for its end");

    gateway.signal(Signal::TERM).unwrap();
    manager.hears("STOPPING=1").await;
    manager.hears("EXTEND_TIMEOUT_USEC=15000000").await;
    assert_eq!(client.outcome("t", 1).await.unwrap(), (205, vec![json!("done")]));
    client.assert_drained().await;
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
    manager.listen();
    let lines: Vec<Instant> = manager
        .heard
        .iter()
        .filter(|(_, line)| line.starts_with("STATUS=draining"))
        .map(|(at, _)| *at)
        .collect();
    let lasted = lines[lines.len() - 1].duration_since(lines[0]).as_secs() + 2;
    assert!(lines.len() as u64 <= lasted, "once a second: {:?}", manager.heard);
}

#[tokio::test]
async fn the_watchdog_hears_of_a_gateway_and_not_of_one_that_hangs() {
    let mut manager = Manager::new();
    let watchdog = [("WATCHDOG_USEC", "300000")];
    let gateway = manager.gateway(&watchdog, &[]).await;
    let mut before = 0;
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
        manager.heard.clear();
        before += 1;
    }
    assert_eq!(before, 3);
    gateway.signal(Signal::STOP).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    manager.listen();
    manager.heard.clear();
    tokio::time::sleep(Duration::from_secs(1)).await;
    manager.listen();
    assert_eq!(manager.heard, []);
    gateway.signal(Signal::CONT).unwrap();
    manager.hears("WATCHDOG=1").await;
}

#[tokio::test]
async fn systemd_is_told_when_a_reload_begins_and_when_it_is_over() {
    let mut manager = Manager::new();
    let gateway = manager.gateway(&[], &[]).await;
    manager.hears("READY=1").await;
    manager.heard.clear();
    gateway.signal(Signal::HUP).unwrap();
    manager.hears("READY=1").await;
    let lines: Vec<&str> = manager.heard.iter().map(|(_, line)| line.as_str()).collect();
    let [began, since, over] = lines[..] else { panic!("{lines:?}") };
    assert_eq!((began, over), ("RELOADING=1", "READY=1"));
    // systemd takes it for an old one otherwise.
    let since = since.strip_prefix("MONOTONIC_USEC=").expect("when it began");
    assert!(since.parse::<u64>().unwrap() > 0, "{since}");
}

#[tokio::test]
async fn a_gateway_without_a_watchdog_feeds_none() {
    let mut manager = Manager::new();
    let _gateway = manager.gateway(&[], &[]).await;
    manager.hears("READY=1").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    manager.listen();
    assert!(
        !manager.heard.iter().any(|(_, line)| line.contains("WATCHDOG")),
        "{:?}",
        manager.heard
    );
}
