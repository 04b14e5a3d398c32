//! A gateway without clients: its status is what the test set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use slackwater::config::Surroundings;
use slackwater::operate::control::{ControlSocket, Server};
use slackwater::operate::metrics::{Census, Figures};
use slackwater::operate::status::{
    Answer, Bus, Connection, Counts, Drain, DrainRequest, OpenSession, Operations, PendingRequest,
    Phase, Refused, Reloaded, Selection, Status, Verdict,
};
use slackwater_core::tally::Services;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// What the control socket asks, answered from what the test set.
#[derive(Debug)]
pub(crate) struct Fake {
    status: Mutex<Status>,
    phase: watch::Sender<Phase>,
    /// What was asked of it.
    pub(crate) drains: Mutex<Vec<DrainRequest>>,
    /// Why it refuses to drain and undrain, if it does.
    pub(crate) refuses: OnceLock<&'static str>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            status: Mutex::new(status()),
            phase: watch::Sender::new(Phase::Serving),
            drains: Mutex::default(),
            refuses: OnceLock::new(),
        })
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Status)) {
        let phase = {
            let mut status = self.status.lock().unwrap();
            change(&mut status);
            status.phase
        };
        self.phase.send_if_modified(|known| std::mem::replace(known, phase) != phase);
    }

    /// Goes to a phase, with a drain that fits it.
    pub(crate) fn enter(&self, phase: Phase, verdict: Option<Verdict>) {
        self.change(|status| {
            status.phase = phase;
            status.drain = (phase != Phase::Serving).then_some(Drain {
                since_seconds: 1.5,
                deadline_seconds_left: Some(118.5),
                soft_deadline_seconds_left: Some(88.5),
                total_at_start: 2,
                closed_so_far: 1,
                verdict,
            });
        });
    }

    /// How it stands.
    pub(crate) fn now(&self) -> Status {
        self.status.lock().unwrap().clone()
    }

    fn outcome(&self) -> Result<(), Refused> {
        match self.refuses.get() {
            Some(reason) => Err(Refused((*reason).to_owned())),
            None => Ok(()),
        }
    }
}

impl Operations for Fake {
    fn status(&self) -> Answer<'_, Status> {
        Box::pin(async { self.now() })
    }

    fn connections(&self, which: Selection) -> Answer<'_, Vec<Connection>> {
        let most = match which {
            Selection::All => usize::MAX,
            Selection::Some { at_most } | Selection::Holding { at_most } => at_most,
        };
        Box::pin(async move { vec![connection(1), connection(2)].into_iter().take(most).collect() })
    }

    fn drain(&self, request: DrainRequest) -> Answer<'_, Result<(), Refused>> {
        Box::pin(async move {
            self.outcome()?;
            self.drains.lock().unwrap().push(request);
            self.enter(Phase::Ebb, None);
            Ok(())
        })
    }

    fn undrain(&self) -> Answer<'_, Result<(), Refused>> {
        Box::pin(async {
            self.outcome()?;
            self.enter(Phase::Serving, None);
            Ok(())
        })
    }

    fn reload(&self) -> Answer<'_, Result<Reloaded, Refused>> {
        Box::pin(async {
            self.outcome()?;
            let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
            let (changed, at_next_start) = (keys(&["deadline", "origin"]), keys(&["listen"]));
            Ok(Reloaded { changed, at_next_start })
        })
    }

    fn figures(&self) -> Figures {
        Figures {
            status: self.now(),
            services: Services::default(),
            recalled: 0,
            bus_losses: 0,
            census: Census::default(),
            received_bytes: 0,
            sent_bytes: 0,
        }
    }

    fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

/// A fake behind a real control socket.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) fake: Arc<Fake>,
    pub(crate) server: Option<Server>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fake = Fake::new();
        let socket =
            ControlSocket::bind(Some(&path(directory.path())), &Surroundings::default(), &[]);
        let operations = Arc::clone(&fake) as Arc<dyn Operations>;
        let server = Some(Server::control(socket.unwrap(), operations, None));
        Self { directory, fake, server }
    }

    pub(crate) fn path(&self) -> PathBuf {
        path(self.directory.path())
    }

    pub(crate) async fn finish(&mut self) {
        self.server.take().expect("finished once").finish().await;
    }

    /// Sends a request and reads to the end of the connection.
    pub(crate) async fn ask(&self, method: &str, target: &str, body: &str) -> Reply {
        let stream = UnixStream::connect(self.path()).await.unwrap();
        ask(stream, method, target, body).await
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) async fn ask(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    method: &str,
    target: &str,
    body: &str,
) -> Reply {
    ask_with(stream, method, target, "Host: x", body).await
}

/// The same with these headers.
pub(crate) async fn ask_with(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Reply {
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("an end").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect(head);
    Reply { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub(crate) fn status() -> Status {
    Status {
        phase: Phase::Serving,
        connections: 2,
        pending_requests: 1,
        sessions: 1,
        counts: Counts { received: 9, executed: 7, answered: 6, rejected: 2, ..Counts::default() },
        closed: [("client".to_owned(), 4)].into(),
        services: BTreeMap::new(),
        uptime_seconds: 61.0,
        version: "0.1.0".to_owned(),
        pid: 1,
        listen: vec!["127.0.0.1:7682".to_owned()],
        tls: false,
        bus: Some(Bus { url: "embedded:".to_owned(), healthy: true, reason: None }),
        program: None,
        drain: None,
    }
}

fn connection(id: u64) -> Connection {
    Connection {
        id,
        client: format!("10.0.0.{id}:5000"),
        phase: "draining".to_owned(),
        age_seconds: 60.0,
        idle_seconds: 1.0,
        pending: vec![PendingRequest {
            service: Some("opensrf.math".to_owned()),
            method: "add".to_owned(),
            thread: "t".to_owned(),
            trace: "1".to_owned(),
            age_seconds: 3.0,
        }],
        sessions: vec![OpenSession {
            service: None,
            thread: "s".to_owned(),
            worker: None,
            age_seconds: 4.0,
        }],
        queued_bytes: 0,
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("7682.sock")
}
