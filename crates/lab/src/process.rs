//! A gateway under test: the real binary, in a directory of its own, seen and steered only from
//! outside: its ports, its control socket, signals, its exit status.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::raw::RawClient;

pub use rustix::process::Signal;

/// How long anything is waited for that should come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell's part of starting a program with a socket, which it has as its stdin.
const PASS_STDIN_ON: &str = "exec 3<&0 </dev/null; \
                             export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=test; exec \"$@\"";

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    program: PathBuf,
    child: Child,
    directory: tempfile::TempDir,
    listen: SocketAddr,
    log: Arc<Mutex<String>>,
    log_reader: JoinHandle<()>,
}

impl Gateway {
    /// Starts `program serve` with these options on a port that the kernel chooses (or
    /// on the options' own `--listen`), and waits until it serves.
    ///
    /// # Errors
    /// It ended, or did not serve in time; the error's text is its log.
    pub async fn start(program: impl AsRef<Path>, options: &[&str]) -> io::Result<Self> {
        let command = on_some_port(program.as_ref(), "serve", options);
        Self::start_as(program.as_ref(), command, options, &[]).await
    }

    /// The same of `program run`, which runs `behind` for each client.
    ///
    /// # Errors
    /// See [`Gateway::start`].
    pub async fn run(
        program: impl AsRef<Path>,
        options: &[&str],
        behind: &[&str],
    ) -> io::Result<Self> {
        let command = on_some_port(program.as_ref(), "run", options);
        let behind = [&["--"], behind].concat();
        Self::start_as(program.as_ref(), command, options, &behind).await
    }

    /// The same with more in its environment.
    ///
    /// # Errors
    /// See [`Gateway::start`].
    pub async fn start_in(
        program: impl AsRef<Path>,
        environment: &[(&str, &str)],
        options: &[&str],
    ) -> io::Result<Self> {
        let mut command = Command::new(program.as_ref());
        command.arg("serve").args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        command.envs(environment.iter().copied());
        Self::start_as(program.as_ref(), command, options, &[]).await
    }

    /// Starts it as systemd does with a socket unit: the socket is descriptor 3 of the process,
    /// whose id is in `LISTEN_PID`.
    ///
    /// # Errors
    /// See [`Gateway::start`].
    pub async fn start_with_socket(
        program: impl AsRef<Path>,
        socket: impl Into<OwnedFd>,
        options: &[&str],
    ) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", PASS_STDIN_ON, "sh"]).arg(program.as_ref()).arg("serve");
        command.stdin(Stdio::from(socket.into()));
        Self::start_as(program.as_ref(), command, options, &[]).await
    }

    async fn start_as(
        program: &Path,
        mut command: Command,
        options: &[&str],
        behind: &[&str],
    ) -> io::Result<Self> {
        let program = program.to_owned();
        let directory = tempfile::tempdir()?;
        command.arg("--control").arg(directory.path().join("control"));
        command.args(options).args(behind).stdout(Stdio::null()).stderr(Stdio::piped());
        forget_settings(&mut command);
        let mut child = command.kill_on_drop(true).spawn()?;
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let log_reader = tokio::spawn(keep(stderr, Arc::clone(&log)));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Self { program, child, directory, listen, log, log_reader };
        let status = gateway.until("it serves", |_| true).await?;
        let listen = status["listen"][0].as_str().and_then(|listen| listen.parse().ok());
        gateway.listen = listen.unwrap_or(gateway.listen);
        Ok(gateway)
    }

    /// Where clients connect; of a gateway that listens on a unix socket, nothing.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// A directory for the test's files, as old as the gateway.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A client of it.
    ///
    /// # Errors
    /// It does not accept one.
    pub async fn connect(&self) -> io::Result<RawClient> {
        RawClient::connect(self.listen, "/").await
    }

    /// `GET /status` of the control socket.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status(&self) -> io::Result<Value> {
        self.control("GET", "/status", "").await
    }

    /// A request to the control socket; gives the JSON body of the answer.
    ///
    /// # Errors
    /// It does not answer, or not with JSON.
    pub async fn control(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let answer = self.ask(method, path, body).await?;
        serde_json::from_str(&answer).map_err(|_| io::Error::other(answer))
    }

    /// `GET /metrics` of the control socket.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn metrics(&self) -> io::Result<String> {
        self.ask("GET", "/metrics", "").await
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let exchange = async {
            let mut stream = UnixStream::connect(self.control_path()).await?;
            let length = body.len();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await??;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Ok(body.to_owned())
    }

    /// Asks for the status again and again until it is as `wanted`, and gives it.
    ///
    /// # Errors
    /// It never was; the text says what was waited for, the last status and the log.
    pub async fn until(
        &mut self,
        what: &str,
        wanted: impl FnMut(&Value) -> bool,
    ) -> io::Result<Value> {
        self.until_within(PATIENCE, what, wanted).await
    }

    /// The same for what takes long.
    ///
    /// # Errors
    /// See [`Gateway::until`].
    pub async fn until_within(
        &mut self,
        patience: Duration,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> io::Result<Value> {
        let began = Instant::now();
        let mut last = Value::Null;
        while began.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                self.whole_log().await;
                let text = format!("waiting until {what}, it ended: {status}\n{}", self.log());
                return Err(io::Error::other(text));
            }
            if let Ok(status) = self.status().await {
                if wanted(&status) {
                    return Ok(status);
                }
                last = status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(io::Error::other(format!("not in time: {what}; {last}\n{}", self.log())))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended in time.
    pub async fn exit(&mut self) -> io::Result<ExitStatus> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        self.whole_log().await;
        Ok(status)
    }

    /// Runs one of its commands against it, to the end: `slackwater ARGUMENTS --control …`.
    ///
    /// # Errors
    /// It could not be run, or did not end in time.
    pub async fn command(&self, arguments: &[&str]) -> io::Result<std::process::Output> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--control").arg(self.control_path());
        forget_settings(&mut command);
        tokio::time::timeout(PATIENCE, command.stdin(Stdio::null()).output()).await?
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has logged these words, and gives what it has logged by then: lines come in their
    /// order, but by and by.
    ///
    /// # Errors
    /// It has not logged them in time; the error's text is its log.
    pub async fn logged(&self, words: &str) -> io::Result<String> {
        let began = Instant::now();
        loop {
            let log = self.log();
            if log.contains(words) {
                return Ok(log);
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("no {words:?} in:\n{log}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Once the process has ended: waits for the last of its log.
    async fn whole_log(&mut self) {
        if !self.log_reader.is_finished() {
            tokio::time::timeout(PATIENCE, &mut self.log_reader).await.ok();
        }
    }

    fn control_path(&self) -> PathBuf {
        self.directory.path().join("control")
    }
}

/// A gateway on a port that the kernel chooses, if the options name no address.
fn on_some_port(program: &Path, mode: &str, options: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg(mode).stdin(Stdio::null());
    if !options.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command
}

/// Settings in the tester's own environment are not the test's.
fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLACKWATER_") {
            command.env_remove(name);
        }
    }
}

async fn keep(stderr: tokio::process::ChildStderr, log: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&line);
        log.push('\n');
    }
}
