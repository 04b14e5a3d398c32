//! One client on stdin and stdout, in the place of `osrf-websocket-stdio`: by itself, behind Debian's
//! websocketd, and behind our own.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use slackwater_lab::kernel;
use slackwater_lab::opensrf::{self, Answer};
use slackwater_lab::process::Gateway;
use slackwater_lab::proof::{report, skipped};
use slackwater_lab::raw::{Message, RawClient};
use slackwater_lab::site::{Bus, Services, Site};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");
const DEMO: &str = "slackwater.demo";

/// A process for one client.
struct Stdio1 {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Stdio1 {
    fn start(site: &Site, options: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("osrf-stdio").args(site.options()).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take(), output, child }
    }

    async fn send(&mut self, text: &str) {
        let line = format!("{text}\n");
        self.input.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(Duration::from_secs(20), self.output.next_line());
        line.await.expect("a line in time").unwrap()
    }

    async fn answers(&mut self) -> Vec<Answer> {
        opensrf::answers(&self.line().await.expect("a line"))
    }

    /// Reads to the final answer of a request.
    async fn until_final(&mut self, thread: &str, trace: u32) -> Answer {
        loop {
            let is_it = |a: &Answer| a.thread == thread && a.trace == trace && a.is_final();
            if let Some(answer) = self.answers().await.into_iter().find(is_it) {
                return answer;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn exit(mut self) -> Option<i32> {
        drop(self.input.take());
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait());
        ended.await.expect("it ends").unwrap().code()
    }
}

fn call(thread: &str, trace: u32, method: &str, params: &Value) -> String {
    opensrf::request(DEMO, thread, trace, &format!("{DEMO}.{method}"), params)
}

async fn redis() -> Option<Site> {
    Site::start(Bus::Redis, Services::default()).await.unwrap()
}

#[tokio::test]
async fn requests_are_answered_each_when_it_is_done() {
    let Some(site) = redis().await else { return };
    let mut client = Stdio1::start(&site, &[]);
    // The slow one does not hold the quick one up.
    client.send(&call("a", 1, "wait", &json!([1.0, "slow"]))).await;
    client.send(&call("b", 1, "echo", &json!(["quick"]))).await;
    let began = Instant::now();
    assert_eq!(client.until_final("b", 1).await.code, 205);
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    assert_eq!(client.until_final("a", 1).await.code, 205);
    assert_eq!(client.exit().await, Some(0));
    site.stop().await.unwrap();
}

#[tokio::test]
async fn no_line_is_too_long_to_survive_and_none_is_met_with_silence() {
    let Some(site) = redis().await else { return };
    let mut client = Stdio1::start(&site, &["--max-message-size", "100KiB"]);
    client.send("not JSON").await;
    assert!(client.line().await.unwrap().contains("invalid_json"));
    client.send(&format!("\"{}\"", "x".repeat(5_000_000))).await;
    let told = client.line().await.unwrap();
    assert!(told.contains("message_too_big"), "{told}");
    client.send(&call("a", 1, "echo", &json!(["x".repeat(90_000)]))).await;
    assert_eq!(client.until_final("a", 1).await.code, 205);
    assert_eq!(client.exit().await, Some(0));
    site.stop().await.unwrap();
}

#[tokio::test]
async fn usr1_drains_it() {
    let Some(site) = redis().await else { return };
    let mut client = Stdio1::start(&site, &[]);
    client.send(&call("a", 1, "wait", &json!([0.7, "done"]))).await;
    client.send(&call("b", 1, "echo", &json!(["executed"]))).await;
    client.until_final("b", 1).await;
    client.signal(Signal::USR1);
    // Normal service goes on.
    client.send(&call("b", 2, "echo", &json!(["more"]))).await;
    assert_eq!(client.until_final("b", 2).await.code, 205);
    assert_eq!(client.until_final("a", 1).await.code, 205);
    assert_eq!(client.line().await, None, "then it ends");
    assert_eq!(client.exit().await, Some(0));
    site.stop().await.unwrap();
}

#[tokio::test]
async fn an_open_session_holds_its_drain_and_the_end_of_its_input_disconnects_it() {
    // One worker, which keeps a session for a minute unless it is told that it is over.
    let services = Services { max_workers: 1, ..Services::default() };
    let Some(site) = Site::start(Bus::Redis, services).await.unwrap() else { return };
    let mut client = Stdio1::start(&site, &[]);
    client.send(&opensrf::connect(DEMO, "s")).await;
    assert_eq!(client.answers().await[0].code, 200);
    client.signal(Signal::USR1);
    client.send(&call("s", 2, "echo", &json!(["within"]))).await;
    assert_eq!(client.until_final("s", 2).await.code, 205);
    let stays = tokio::time::timeout(Duration::from_secs(1), client.output.next_line()).await;
    assert!(stays.is_err(), "it waits for the session: {stays:?}");
    assert_eq!(client.exit().await, Some(0));
    // Its worker is free: the next session is opened, and nothing is left in Redis.
    let mut next = Stdio1::start(&site, &[]);
    next.send(&opensrf::connect(DEMO, "s")).await;
    assert_eq!(next.answers().await[0].code, 200);
    assert_eq!(next.exit().await, Some(0));
    let server = site.server().unwrap();
    let left: Vec<String> = server.ask("KEYS opensrf:client:*").await.unwrap();
    let ours = left.iter().filter(|key| key.contains(":gateway:")).count();
    assert_eq!(ours, 0, "{left:?}");
    site.stop().await.unwrap();
}

#[tokio::test]
async fn sigint_cuts_off_what_is_pending_and_says_so() {
    let Some(site) = redis().await else { return };
    let mut client = Stdio1::start(&site, &[]);
    client.send(&call("a", 1, "wait", &json!([20.0, "never"]))).await;
    client.send(&call("b", 1, "echo", &json!(["executed"]))).await;
    client.until_final("b", 1).await;
    client.signal(Signal::INT);
    assert_eq!(client.until_final("a", 1).await.code, 504);
    assert_eq!(client.exit().await, Some(0));
    site.stop().await.unwrap();
}

/// Somebody who asks through whichever gateway listens here.
async fn asks(client: &mut RawClient, thread: &str, trace: u32) -> io::Result<u16> {
    client.send_text(&call(thread, trace, "echo", &json!(["through"]))).await?;
    loop {
        let Message::Text(text) = client.read_message().await? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let answers = opensrf::answers(&text);
        if let Some(last) = answers.into_iter().find(|answer| answer.is_final()) {
            return Ok(last.code);
        }
    }
}

#[tokio::test]
async fn behind_debians_websocketd_it_takes_the_place_of_the_old_one() {
    if Command::new("websocketd").arg("--version").output().await.is_err() {
        return skipped("osrf-stdio behind websocketd", "websocketd is not installed");
    }
    let Some(site) = redis().await else { return };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = site.options();
    let mut command = Command::new("websocketd");
    command.args(["--address=127.0.0.1", &format!("--port={}", free.port())]);
    command.args([PROGRAM, "osrf-stdio"]).args(&options);
    let websocketd = command.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut client = connected(free).await;
    for trace in 0..20 {
        assert_eq!(asks(&mut client, "t", trace).await.unwrap(), 205);
    }
    client.close(1000).await.unwrap();
    drop(client);
    // Told to drain, each process ends when it falls idle; websocketd itself knows nothing of it.
    let mut client = connected(free).await;
    assert_eq!(asks(&mut client, "t", 1).await.unwrap(), 205);
    for child in kernel::children(websocketd.id().unwrap()).unwrap() {
        kill_process(child, Signal::USR1).unwrap();
    }
    assert!(client.read_message().await.is_err(), "no Close frame, by websocketd");
    site.stop().await.unwrap();
}

#[tokio::test]
async fn behind_our_own_run_it_is_drained_without_losing_an_answer() {
    let Some(site) = redis().await else { return };
    let options = site.options();
    let behind: Vec<&str> =
        [PROGRAM, "osrf-stdio"].into_iter().chain(options.iter().map(String::as_str)).collect();
    for tracked in [&["--track", "osrf"][..], &["--track", "program"]] {
        let options = [tracked, &["--ebb-window", "0s"]].concat();
        let mut gateway = Gateway::run(PROGRAM, &options, &behind).await.unwrap();
        let mut client = gateway.connect().await.unwrap();
        assert_eq!(asks(&mut client, "t", 1).await.unwrap(), 205);
        client.send_text(&call("w", 1, "wait", &json!([0.7, "done"]))).await.unwrap();
        assert_eq!(asks(&mut client, "t", 2).await.unwrap(), 205, "{tracked:?}");
        gateway.signal(Signal::TERM).unwrap();
        let Message::Text(text) = client.read_message().await.unwrap() else { panic!("closed") };
        assert_eq!(opensrf::answers(&text).last().unwrap().code, 205, "{tracked:?}: {text}");
        let (code, reason, _) = client.closed().await.unwrap();
        assert_eq!((code, &*reason), (Some(1012), "drained"), "{tracked:?}");
        assert_eq!(gateway.exit().await.unwrap().code(), Some(0), "{tracked:?}");
    }
    site.stop().await.unwrap();
}

#[tokio::test]
async fn usr1_to_the_whole_control_group_drains_it_behind_run() {
    let Some(site) = redis().await else { return };
    let options = site.options();
    let behind: Vec<&str> =
        [PROGRAM, "osrf-stdio"].into_iter().chain(options.iter().map(String::as_str)).collect();
    // The default: programs are started with SIGUSR1 ignored, and this one hears it all the same.
    let mut gateway = Gateway::run(PROGRAM, &["--ebb-window", "0s"], &behind).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    client.send_text(&call("w", 1, "wait", &json!([0.7, "done"]))).await.unwrap();
    assert_eq!(asks(&mut client, "t", 1).await.unwrap(), 205);
    for child in kernel::children(gateway.pid()).unwrap() {
        kill_process(child, Signal::USR1).unwrap();
    }
    gateway.signal(Signal::USR1).unwrap();
    let Message::Text(text) = client.read_message().await.unwrap() else { panic!("closed") };
    assert_eq!(opensrf::answers(&text).last().unwrap().code, 205, "{text}");
    let (code, reason, _) = client.closed().await.unwrap();
    assert_eq!((code, &*reason), (Some(1012), "drained"));
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    site.stop().await.unwrap();
}

#[tokio::test]
async fn it_starts_and_answers_soon() {
    let Some(site) = redis().await else { return };
    let mut times = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let mut client = Stdio1::start(&site, &[]);
        client.send(&call("a", 1, "echo", &json!(["first"]))).await;
        client.until_final("a", 1).await;
        times.push(began.elapsed());
        assert_eq!(client.exit().await, Some(0));
    }
    times.sort();
    report(format_args!("osrf-stdio, start to first answer on Redis: p50 {:?}", times[10]));
    // A build for tests, on a machine that does other things, too: far from what it is to be.
    assert!(times[10] < Duration::from_millis(300), "{times:?}");
    site.stop().await.unwrap();
}

async fn connected(address: std::net::SocketAddr) -> RawClient {
    for _ in 0..400 {
        if let Ok(client) = RawClient::connect(address, "/").await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("nobody listens at {address}");
}
