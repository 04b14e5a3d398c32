//! The exit statuses of `drain`, `undrain`, `reload` and `status`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use slackwater::cli::{ClientCommand, DrainOptions, StatusOptions, Target};
use slackwater::command;
use slackwater::config::Surroundings;
use slackwater::operate::control::Progress;
use slackwater::operate::status::{Deadline, DrainRequest, Phase, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::fake::{Fake, Place, status};

const NOTHING_CUT_OFF: u8 = 0;
const REFUSED: u8 = 1;
const UNREACHABLE: u8 = 2;
const CUT_OFF: u8 = 3;

#[tokio::test]
async fn drain_without_wait_begins_it_and_ends() {
    let place = Place::new();
    let options = DrainOptions { deadline: Some("90s".parse().unwrap()), ..drain(place.path()) };
    let code = run(ClientCommand::Drain(DrainOptions { wait: false, ..options })).await;
    assert_eq!(code, ExitCode::from(NOTHING_CUT_OFF));
    let deadline = Some(Deadline::After(Duration::from_secs(90)));
    assert_eq!(*place.fake.drains.lock().unwrap(), [DrainRequest { deadline }]);
}

#[tokio::test]
async fn drain_with_wait_tells_the_verdict() {
    for (verdict, code) in [(Verdict::Clean, NOTHING_CUT_OFF), (Verdict::CutOff, CUT_OFF)] {
        let place = Place::new();
        end_when_asked(&place.fake, move |fake| fake.enter(Phase::Drained, Some(verdict)));
        let ended = run(ClientCommand::Drain(drain(place.path()))).await;
        assert_eq!(ended, ExitCode::from(code));
        assert_eq!(place.fake.drains.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn drain_with_wait_tells_the_verdict_of_a_gateway_that_exits() {
    for (verdict, code) in [(Verdict::Clean, NOTHING_CUT_OFF), (Verdict::CutOff, CUT_OFF)] {
        let mut place = Place::new();
        let path = place.path();
        let waiting = tokio::spawn(async move { run(ClientCommand::Drain(drain(path))).await });
        asked(&place.fake).await;
        place.fake.enter(Phase::Drained, Some(verdict));
        place.finish().await;
        assert_eq!(waiting.await.unwrap(), ExitCode::from(code));
    }
}

#[tokio::test]
async fn a_drain_that_is_over_is_told_at_once() {
    let gateway = Canned::new(canned(&[(Phase::Drained, Some(Verdict::CutOff))]), true);
    assert_eq!(run(ClientCommand::Drain(drain(gateway.path()))).await, ExitCode::from(CUT_OFF));
}

#[tokio::test]
async fn a_drain_that_is_called_off_is_no_success() {
    let place = Place::new();
    end_when_asked(&place.fake, |fake| fake.enter(Phase::Serving, None));
    assert_eq!(run(ClientCommand::Drain(drain(place.path()))).await, ExitCode::from(REFUSED));
}

#[tokio::test]
async fn a_refused_drain_is_no_success() {
    let place = Place::new();
    place.fake.refuses.set("no").unwrap();
    for wait in [true, false] {
        let options = DrainOptions { wait, ..drain(place.path()) };
        assert_eq!(run(ClientCommand::Drain(options)).await, ExitCode::from(REFUSED));
    }
}

#[tokio::test]
async fn a_gateway_that_dies_during_its_drain_was_not_drained() {
    let gateway = Canned::new(canned(&[(Phase::Serving, None), (Phase::Ebb, None)]), true);
    assert_eq!(run(ClientCommand::Drain(drain(gateway.path()))).await, ExitCode::from(UNREACHABLE));
}

#[tokio::test]
async fn a_verdict_counts_even_if_the_gateway_was_gone_before_it_was_asked() {
    let events = canned(&[(Phase::Ebb, None), (Phase::Drained, Some(Verdict::Clean))]);
    let gateway = Canned::new(events, false);
    let code = run(ClientCommand::Drain(drain(gateway.path()))).await;
    assert_eq!(code, ExitCode::from(NOTHING_CUT_OFF));
}

#[tokio::test]
async fn without_a_gateway_every_command_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.sock");
    let target = || Target { control: Some(path.clone()), listen: None };
    for command in [
        ClientCommand::Drain(drain(path.clone())),
        ClientCommand::Drain(DrainOptions { wait: false, ..drain(path.clone()) }),
        ClientCommand::Undrain(target()),
        ClientCommand::Status(StatusOptions { target: target(), ..StatusOptions::default() }),
        ClientCommand::Status(StatusOptions { target: target(), watch: true, json: true }),
    ] {
        let shown = format!("{command:?}");
        assert_eq!(run(command).await, ExitCode::from(UNREACHABLE), "{shown}");
    }
}

#[tokio::test]
async fn undrain_reload_and_status_succeed() {
    let place = Place::new();
    place.fake.enter(Phase::Ebb, None);
    let target = || Target { control: Some(place.path()), listen: None };
    for json in [true, false] {
        let options = StatusOptions { target: target(), watch: false, json };
        assert_eq!(run(ClientCommand::Status(options)).await, ExitCode::SUCCESS);
    }
    assert_eq!(run(ClientCommand::Undrain(target())).await, ExitCode::SUCCESS);
    let body = place.ask("GET", "/status", "").await.body;
    assert!(body.contains(r#""phase":"serving""#), "{body}");
    assert_eq!(run(ClientCommand::Reload(target())).await, ExitCode::SUCCESS);
    place.fake.refuses.set("no").unwrap();
    for command in [ClientCommand::Undrain(target()), ClientCommand::Reload(target())] {
        assert_eq!(run(command).await, ExitCode::from(REFUSED));
    }
}

async fn run(command: ClientCommand) -> ExitCode {
    let surroundings = Surroundings::default();
    let running = command::run(command, &surroundings);
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("an end")
}

fn drain(control: PathBuf) -> DrainOptions {
    let target = Target { control: Some(control), listen: None };
    DrainOptions { target, wait: true, deadline: None }
}

/// Waits until a drain was asked for.
async fn asked(fake: &Fake) {
    let mut phase = slackwater::operate::status::Operations::phase(fake);
    phase.wait_for(|phase| *phase == Phase::Ebb).await.expect("the fake lives");
}

fn end_when_asked(fake: &Arc<Fake>, end: impl FnOnce(&Fake) + Send + 'static) {
    let fake = Arc::clone(fake);
    tokio::spawn(async move {
        asked(&fake).await;
        end(&fake);
    });
}

/// A gateway that answers `GET /events` with these events and an end, and anything else with
/// its status, or by hanging up.
struct Canned {
    directory: tempfile::TempDir,
}

impl Canned {
    fn new(events: String, answers_drain: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("a.sock")).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_canned(stream, events.clone(), answers_drain));
            }
        });
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("a.sock")
    }
}

async fn serve_canned(mut stream: UnixStream, events: String, answers_drain: bool) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let mut draining = status();
    draining.phase = Phase::Ebb;
    let body = match request.starts_with(b"GET /events") {
        true => events,
        false if answers_drain => serde_json::to_string(&draining).unwrap(),
        false => return,
    };
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap_or_default();
}

fn canned(phases: &[(Phase, Option<Verdict>)]) -> String {
    let fake = Fake::new();
    let mut events = String::new();
    for (phase, verdict) in phases {
        fake.enter(*phase, *verdict);
        let progress = Progress { status: fake.now(), holding: Vec::new() };
        events += &format!("data: {}\n\n", serde_json::to_string(&progress).unwrap());
    }
    events
}
