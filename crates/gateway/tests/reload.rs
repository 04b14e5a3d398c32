//! The configuration read again while clients are connected: what is right holds at once and for
//! everyone, what is wrong changes nothing, and nobody loses anything either way.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::opensrf::{answers, connect, request};
use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::raw::{End, Message, RawClient, exchange, handshake};

const DEMO: &str = "slackwater.demo";

/// A gateway with a configuration file, on the bus inside the process.
struct Host {
    directory: tempfile::TempDir,
    gateway: Gateway,
}

impl Host {
    async fn start(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("slackwater.toml");
        let log = directory.path().join("log");
        let text = configuration.replace("LOG", &log.display().to_string());
        std::fs::write(&file, text).unwrap();
        let options = ["--config", file.to_str().unwrap()];
        let gateway = Gateway::start(env!("CARGO_BIN_EXE_slackwater"), &options).await.unwrap();
        Self { directory, gateway }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn write(&self, configuration: &str) {
        let text = configuration.replace("LOG", &self.log().display().to_string());
        std::fs::write(self.directory.path().join("slackwater.toml"), text).unwrap();
    }

    /// `slackwater reload` with this in the file.
    async fn reload(&self, configuration: &str) -> Output {
        self.write(configuration);
        self.gateway.command(&["reload"]).await.unwrap()
    }

    /// The same, which must succeed; gives what was printed.
    async fn reloaded(&self, configuration: &str) -> String {
        let output = self.reload(configuration).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The status line of a handshake with this header.
    async fn knock(&self, header: &str) -> String {
        let shake = handshake("/", &format!("{header}Connection: close\r\n"));
        let mut stream = tokio::net::TcpStream::connect(self.gateway.address()).await.unwrap();
        let mut line = String::new();
        tokio::io::AsyncWriteExt::write_all(&mut stream, shake.as_bytes()).await.unwrap();
        let mut reader = tokio::io::BufReader::new(stream);
        tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut line).await.unwrap();
        line.trim_end().to_owned()
    }
}

async fn call(client: &mut RawClient, trace: u32, method: &str, params: serde_json::Value) {
    let method = format!("{DEMO}.{method}");
    client.send_text(&request(DEMO, "t", trace, &method, &params)).await.unwrap();
}

/// The code of the final answer.
async fn code(client: &mut RawClient) -> u16 {
    loop {
        let Message::Text(text) = client.read_message().await.unwrap() else {
            panic!("no answer");
        };
        if let Some(last) = answers(&text).iter().find(|answer| answer.is_final()) {
            return last.code;
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn new_clients_are_let_in_by_what_was_read_and_those_within_lose_nothing() {
    let host = Host::start("origin = 'https://a.example'\n").await;
    let (a, b) = ("Origin: https://a.example\r\n", "Origin: https://b.example\r\n");
    assert!(host.knock(a).await.contains(" 101 ") && host.knock(b).await.contains(" 403 "));
    let mut client = host.gateway.connect().await.unwrap();
    call(&mut client, 1, "hold", json!(["x"])).await;

    let told = host.reloaded("origin = 'https://b.example'\nhealth_path = '/h'\n").await;
    assert_eq!(told, "changed: health_path, origin\n");
    assert!(host.knock(a).await.contains(" 403 ") && host.knock(b).await.contains(" 101 "));
    let health = exchange(host.gateway.address(), b"GET /h/readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(health.await.unwrap().starts_with("HTTP/1.1 200 "));

    call(&mut client, 2, "release", json!(["x"])).await;
    assert_eq!((code(&mut client).await, code(&mut client).await), (205, 205));
    assert_eq!(
        host.reloaded("origin = 'https://b.example'\nhealth_path = '/h'\n").await,
        "nothing has changed\n"
    );
}

#[tokio::test]
async fn clients_that_are_there_go_by_it_too() {
    let mut host = Host::start("max_sessions = 2\n").await;
    let mut client = host.gateway.connect().await.unwrap();
    let mut open = async |thread: &str| {
        client.send_text(&connect(DEMO, thread)).await.unwrap();
        let Message::Text(text) = client.read_message().await.unwrap() else { panic!("{thread}") };
        answers(&text)[0].code
    };
    assert_eq!(open("one").await, 200);
    assert_eq!(
        host.reloaded("max_sessions = 1\nclose_code = 1001\n").await,
        "changed: close_code, max_sessions\n"
    );
    assert_eq!(open("two").await, 503);
    assert_eq!(
        host.reloaded("max_sessions = 2\nclose_code = 1001\nebb_window = 0\n").await,
        "changed: ebb_window, max_sessions\n"
    );
    assert_eq!(open("two").await, 200);
    // The sessions end by themselves, and the drain goes by the new settings.
    host.gateway.control("POST", "/drain", "").await.unwrap();
    loop {
        match client.read_message().await.unwrap() {
            Message::Close { code, reason } => {
                assert_eq!((code, reason.as_str()), (Some(1001), "drained"));
                break;
            }
            Message::Text(_) | Message::Binary(_) => {}
        }
    }
    client.close(1001).await.unwrap();
    assert_eq!(client.end().await.unwrap(), End::Fin);
    client.shutdown().await.unwrap();
    host.gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
}

#[tokio::test]
async fn a_deadline_that_was_read_is_that_of_the_next_drain() {
    let mut host = Host::start("deadline = '1h'\nebb_window = 0\n").await;
    let mut client = host.gateway.connect().await.unwrap();
    call(&mut client, 1, "hold", json!(["x"])).await;
    host.gateway.control("POST", "/drain", "").await.unwrap();
    assert_eq!(host.reloaded("deadline = '1s'\nebb_window = 0\n").await, "changed: deadline\n");
    let status = host.gateway.status().await.unwrap();
    let left = status["drain"]["deadline_seconds_left"].as_f64().unwrap();
    assert!(left > 3_000.0, "the drain that runs keeps its own: {status}");
    host.gateway.control("POST", "/undrain", "").await.unwrap();
    host.gateway.control("POST", "/drain", "").await.unwrap();
    assert_eq!(code(&mut client).await, 504);
    let Message::Close { reason, .. } = client.read_message().await.unwrap() else { panic!() };
    assert_eq!(reason, "deadline");
    drop(client);
    let cut_off = |status: &serde_json::Value| status["drain"]["verdict"] == "cut_off";
    host.gateway.until("cut off", cut_off).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_said() {
    let host = Host::start("max_sessions = 2\norigin = 'https://a.example'\n").await;
    let path = host.directory.path().join("slackwater.toml");
    for (wrong, expected) in [
        ("max_sessions = 1\norigin = 5\n", "2: origin: invalid type: integer"),
        ("max_sessions = 1\nlisen = 'x'\n", "2: lisen: no such key; did you mean listen?"),
        ("max_sessions = 1\nannounce = '5m'\n", "announce: expected less than the deadline"),
        ("max_sessions = \n", "1: "),
    ] {
        let output = host.reload(wrong).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(expected) && told.contains("(nothing has changed)"), "{told}");
        // The gateway's stderr comes by another way than its answer.
        let began = Instant::now();
        while !host.gateway.log().contains(expected) {
            assert!(began.elapsed() < Duration::from_secs(10), "{}", host.gateway.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(host.knock("Origin: https://b.example\r\n").await.contains(" 403 "));
    }
    std::fs::remove_file(&path).unwrap();
    let output = host.gateway.command(&["reload"]).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let right = host.reloaded("max_sessions = 2\norigin = 'https://a.example'\n").await;
    assert_eq!(right, "nothing has changed\n", "what was wrong has left no trace");
}

#[tokio::test]
async fn what_only_a_start_can_change_is_named_and_the_rest_holds() {
    let host = Host::start("").await;
    let told = host.reloaded("bus = 'redis://u@127.0.0.1:1/'\nrefuse = 503\npath = '/x'\n").await;
    assert_eq!(told, "changed: path\nchanges with the next start: bus, refuse\n");
    assert!(host.knock("").await.contains(" 404 "), "the path");
    let status = host.gateway.status().await.unwrap();
    assert_eq!(status["bus"]["url"], "embedded:");
    // It is said again for as long as it is so.
    let told = host.reloaded("bus = 'redis://u@127.0.0.1:1/'\nrefuse = 503\npath = '/x'\n").await;
    assert_eq!(told, "nothing has changed\nchanges with the next start: bus, refuse\n");
}

#[tokio::test]
async fn hup_reads_it_again_and_follows_the_log_at_once() {
    let file = "log_to = 'LOG'\nlog_level = 'warn'\n";
    let mut host = Host::start(file).await;
    let mut client = host.gateway.connect().await.unwrap();
    assert_eq!(read(&host.log()), "");
    let old = host.log().with_extension("1");
    std::fs::rename(host.log(), &old).unwrap();
    host.write(
        &format!("{file}activity_log = true\nlog_protect = 'slackwater.demo.ec'\n")
            .replace("warn", "info"),
    );
    host.gateway.signal(Signal::HUP).unwrap();
    until(|| read(&host.log()).contains("changed=\"log_level activity_log log_protect\"")).await;
    call(&mut client, 1, "echo", json!(["secret"])).await;
    assert_eq!(code(&mut client).await, 205);
    until(|| read(&host.log()).contains("slackwater.demo.echo")).await;
    assert!(!read(&host.log()).contains("secret"), "{}", read(&host.log()));
    assert_eq!(read(&old), "", "every line since stands in the new file");
    let phase = host.gateway.status().await.unwrap()["phase"].clone();
    assert_eq!(phase, "serving");
    // The process that is told to stop meanwhile stops.
    host.gateway.signal(Signal::HUP).unwrap();
    host.gateway.signal(Signal::TERM).unwrap();
    drop(client);
    assert_eq!(host.gateway.exit().await.unwrap().code(), Some(0));
}

/// Waits for what must come.
async fn until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came to hold");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
