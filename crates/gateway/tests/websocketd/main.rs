//! websocketd's command line on the real program: a test for each row of what websocketd does, by
//! option, environment, behaviour, log line and exit code; and for the holes that stay closed.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod environment;
mod http;
mod lines;
mod options;
mod running;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use slackwater_lab::raw::{Message, RawClient};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");

/// A `websocketd` that runs.
pub(crate) struct Websocketd {
    child: Child,
    log: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
    pub(crate) directory: tempfile::TempDir,
}

impl Websocketd {
    /// Starts it on a port that the kernel chooses.
    pub(crate) async fn start(words: &[&str]) -> Self {
        Self::start_in(words, &[]).await
    }

    /// The same with more in its environment.
    pub(crate) async fn start_in(words: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Under the name of websocketd: nothing else says what it is to do.
        let name = directory.path().join("websocketd");
        std::os::unix::fs::symlink(PROGRAM, &name).unwrap();
        let mut command = Command::new(name);
        command.args(["--port=0", "--address=127.0.0.1"]).args(words);
        command.envs(environment.iter().copied());
        command.env("SLACKWATER_CONTROL", directory.path().join("control"));
        command.env("SLACKWATER_EBB_WINDOW", "0s");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut running = Self { child, log, address: ([127, 0, 0, 1], 0).into(), directory };
        let line = running.until_logged("WebSocket server   : ws").await;
        let (_, rest) = line.split_once("://").unwrap_or_else(|| panic!("no address: {line}"));
        running.address = rest.trim_end_matches('/').parse().unwrap();
        running
    }

    /// Waits for a line with these words in it.
    pub(crate) async fn until_logged(&self, words: &str) -> String {
        for _ in 0..2_000 {
            if let Some(line) = self.log().lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{words} was not logged: {}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    pub(crate) async fn connect(&self, path: &str) -> RawClient {
        RawClient::connect(self.address, path).await.unwrap()
    }

    /// A handshake with these headers, and the answer's head, or all of it if it is no upgrade.
    pub(crate) async fn handshake(&self, path: &str, headers: &str) -> String {
        let request = slackwater_lab::raw::handshake(path, headers);
        self.answer(&request).await
    }

    /// The same of a handshake that is written out.
    pub(crate) async fn answer(&self, handshake: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(handshake.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = async {
            while !answer.starts_with(b"HTTP/1.1 101 ") || !answer.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut answer).await.unwrap() == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n\r\n")).await
    }

    pub(crate) async fn exchange(&self, request: &str) -> String {
        slackwater_lab::raw::exchange(self.address, request.as_bytes()).await.unwrap()
    }

    pub(crate) async fn stop(mut self) -> (ExitStatus, String) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        let waits = tokio::time::timeout(Duration::from_secs(20), self.child.wait());
        let status = waits.await.unwrap().unwrap();
        (status, self.log())
    }
}

/// Runs it to its end.
pub(crate) async fn ends(words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("websocketd").args(words).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(Duration::from_secs(20), command.output()).await.unwrap().unwrap()
}

/// The next message, which must be text.
pub(crate) async fn text(client: &mut RawClient) -> io::Result<String> {
    match client.read_message().await? {
        Message::Text(text) => Ok(text),
        other @ (Message::Binary(_) | Message::Close { .. }) => {
            Err(io::Error::other(format!("{other:?} in place of a text")))
        }
    }
}

/// Every line until the program's end.
pub(crate) async fn all_lines(client: &mut RawClient) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(line) = text(client).await {
        lines.push(line);
    }
    lines
}

/// Writes a program.
pub(crate) fn program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
