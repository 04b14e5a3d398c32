//! The control socket's interface, spoken by hand as curl would.

use std::sync::Arc;
use std::time::Duration;

use slackwater::operate::control::{Key, Progress, Server};
use slackwater::operate::status::{Deadline, DrainRequest, Operations, Phase, Verdict};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use crate::fake::{Fake, Place, ask, ask_with, status};

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn status_has_the_names_that_scripts_rely_on() {
    let place = Place::new();
    let reply = place.ask("GET", "/status", "").await;
    assert_eq!(reply.code, 200);
    assert!(reply.head.contains("content-type: application/json"), "{}", reply.head);
    let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    for name in [
        "phase",
        "connections",
        "pending_requests",
        "sessions",
        "received",
        "executed",
        "answered",
        "rejected",
        "crossed_requests",
        "lost_replies",
        "cut_off",
        "client_gone",
        "service_gone",
        "bus_lost",
        "closed",
        "uptime_seconds",
        "version",
        "pid",
        "listen",
        "tls",
        "services",
        "bus",
        "drain",
    ] {
        assert!(json.get(name).is_some(), "{name} is missing in {json}");
    }
    assert_eq!(json["phase"], "serving");
    assert_eq!(json["received"], 9);
    assert_eq!(json["closed"]["client"], 4);
    assert_eq!(json["bus"]["healthy"], true);
    assert_eq!(
        serde_json::from_str::<slackwater::operate::status::Status>(&reply.body).unwrap(),
        status()
    );
}

#[tokio::test]
async fn each_phase_has_its_name() {
    let place = Place::new();
    for (phase, name) in [
        (Phase::Serving, "serving"),
        (Phase::Announce, "announce"),
        (Phase::Refuse, "refuse"),
        (Phase::Ebb, "ebb"),
        (Phase::Drained, "drained"),
    ] {
        place.fake.enter(phase, None);
        let body = place.ask("GET", "/status", "").await.body;
        assert!(body.starts_with(&format!(r#"{{"phase":"{name}","#)), "{body}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error_in_json() {
    let place = Place::new();
    for (method, target, code) in [
        ("GET", "/", 404),
        ("GET", "/statusx", 404),
        ("POST", "/status", 405),
        ("PUT", "/drain", 405),
        ("GET", "/drain", 405),
        ("GET", "/undrain", 405),
        ("GET", "/reload", 405),
        ("POST", "/events", 405),
        ("DELETE", "/connections", 405),
        ("POST", "/livez", 405),
        ("GET", "/connections?holding=x", 400),
        ("GET", "/connections?few=1", 400),
        ("GET", "/connections?all", 400),
    ] {
        let reply = place.ask(method, target, "").await;
        assert_eq!(reply.code, code, "{method} {target}");
        let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert!(json["error"].is_string(), "{json}");
        assert_eq!(reply.head.contains("\r\nallow: "), code == 405, "{}", reply.head);
    }
    assert_eq!(place.fake.drains.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn connections_are_all_or_those_that_hold_the_drain() {
    let place = Place::new();
    let some = [("/connections", 2), ("/connections?holding=1", 1), ("/connections?most=1", 1)];
    for (target, number) in some {
        let body = place.ask("GET", target, "").await.body;
        let json: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        assert_eq!(json.len(), number);
        assert_eq!(json[0]["client"], "10.0.0.1:5000");
        assert_eq!(json[0]["pending"][0]["method"], "add");
        assert_eq!(json[0]["sessions"][0]["age_seconds"], 4.0);
    }
}

#[tokio::test]
async fn a_drain_may_name_its_deadline() {
    let place = Place::new();
    for (body, deadline) in [
        ("", None),
        ("{}", None),
        (r#"{"deadline":"90s"}"#, Some(Deadline::After(Duration::from_secs(90)))),
        (r#"{"deadline":90}"#, Some(Deadline::After(Duration::from_secs(90)))),
        (r#"{"deadline":"0s"}"#, Some(Deadline::Never)),
    ] {
        let reply = place.ask("POST", "/drain", body).await;
        assert_eq!(reply.code, 200, "{body}: {reply:?}");
        assert!(reply.body.contains(r#""phase":"ebb""#), "{}", reply.body);
        assert_eq!(place.fake.drains.lock().unwrap().pop(), Some(DrainRequest { deadline }));
    }
    let reply = place.ask("POST", "/undrain", "").await;
    assert_eq!(reply.code, 200);
    assert!(reply.body.contains(r#""phase":"serving""#), "{}", reply.body);
}

#[tokio::test]
async fn a_wrong_body_drains_nothing() {
    let place = Place::new();
    // Sound but for its length.
    let long = format!(r#"{{"deadline":"5s"}}{}"#, " ".repeat(5_000));
    for body in
        ["x", "[]x", r#"{"deadline":"soon"}"#, r#"{"dedline":"5s"}"#, r#"{"deadline":null"#, &long]
    {
        let reply = place.ask("POST", "/drain", body).await;
        assert_eq!(reply.code, 400, "{body}: {reply:?}");
    }
    assert_eq!(place.fake.drains.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_refusal_says_why() {
    let place = Place::new();
    place.fake.refuses.set("the gateway is stopping").unwrap();
    for target in ["/drain", "/undrain", "/reload"] {
        let reply = place.ask("POST", target, "").await;
        assert_eq!(reply.code, 409);
        assert_eq!(reply.body, "{\"error\":\"the gateway is stopping\"}\n");
    }
}

#[tokio::test]
async fn readiness_says_what_is_wrong_and_liveness_does_not_care() {
    let place = Place::new();
    let expect = async |code: u16, text: &str| {
        let ready = place.ask("GET", "/readyz", "").await;
        assert_eq!((ready.code, ready.body.trim_end()), (code, text));
        let live = place.ask("GET", "/livez", "").await;
        assert_eq!((live.code, live.body.trim_end()), (200, "ok"));
    };
    expect(200, "ok").await;
    for phase in [Phase::Announce, Phase::Refuse, Phase::Ebb] {
        place.fake.enter(phase, None);
        expect(503, "draining").await;
    }
    place.fake.enter(Phase::Drained, Some(Verdict::Clean));
    expect(503, "drained").await;
    place.fake.enter(Phase::Serving, None);
    place.fake.change(|status| {
        let bus = status.bus.as_mut().unwrap();
        bus.healthy = false;
        bus.reason = Some("connection refused".to_owned());
    });
    expect(503, "bus lost: connection refused").await;
}

#[tokio::test]
async fn at_the_admin_port_everybody_may_look_and_who_has_the_key_may_do_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fake = Fake::new();
    let key = Key::random().unwrap();
    let server = Server::admin(listener, Arc::clone(&fake) as Arc<dyn Operations>, key.clone());
    for (method, target, code) in [
        ("GET", "/livez", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/status", 200),
        ("GET", "/metrics", 200),
        ("GET", "/", 200),
        ("GET", "/events", 404),
        ("GET", "/page", 404),
        ("POST", "/reload", 404),
        // Asked as a name that is none of ours, by somebody without the key.
        ("GET", "/connections", 421),
        ("POST", "/drain", 421),
        ("POST", "/undrain", 421),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(stream, method, target, "").await.code, code, "{method} {target}");
    }
    let with = async |method: &str, target: &str, key: &str| {
        let headers = format!("Host: {address}\r\nAuthorization: Bearer {key}");
        let stream = TcpStream::connect(address).await.unwrap();
        ask_with(stream, method, target, &headers, "").await.code
    };
    for (method, target) in [("GET", "/connections"), ("POST", "/drain"), ("POST", "/undrain")] {
        assert_eq!(with(method, target, "0123").await, 401, "{method} {target}");
    }
    assert_eq!(fake.drains.lock().unwrap().len(), 0);
    for (method, target) in [("GET", "/connections"), ("POST", "/drain"), ("POST", "/undrain")] {
        assert_eq!(with(method, target, key.reveal()).await, 200, "{method} {target}");
    }
    assert_eq!(fake.drains.lock().unwrap().len(), 1);
    server.finish().await;
    assert!(TcpStream::connect(address).await.is_err(), "still listening");
}

#[tokio::test]
async fn events_come_at_once_at_changes_each_second_of_a_drain_and_at_the_end() {
    let mut place = Place::new();
    let mut events = Events::follow(&place).await;
    assert_eq!(events.next().await.unwrap().status.phase, Phase::Serving);

    let before = Instant::now();
    place.fake.enter(Phase::Ebb, None);
    let change = events.next().await.unwrap();
    assert_eq!(change.status.phase, Phase::Ebb);
    assert_eq!(change.holding.len(), 2);
    assert_eq!(change.holding[0].pending[0].service.as_deref(), Some("opensrf.math"));
    assert_eq!(events.next().await.unwrap().status.phase, Phase::Ebb);
    assert_eq!(events.next().await.unwrap().status.phase, Phase::Ebb);
    assert!(before.elapsed() >= Duration::from_millis(1_900), "{:?}", before.elapsed());

    place.fake.enter(Phase::Drained, Some(Verdict::CutOff));
    let (last, ()) = tokio::join!(events.rest(), place.finish());
    let verdicts: Vec<_> =
        last.iter().map(|event| event.status.drain.as_ref().unwrap().verdict).collect();
    assert_eq!(verdicts.last(), Some(&Some(Verdict::CutOff)));
    assert!(!place.path().exists(), "the socket is left behind");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_hung_up_on() {
    let place = Place::new();
    for half in ["", "GET /sta", "POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"] {
        let mut stream = UnixStream::connect(place.path()).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an end").unwrap();
    }
    assert_eq!(place.fake.drains.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_the_events_is_hung_up_on() {
    let place = Place::new();
    // An event that soon fills any socket's buffer.
    place.fake.change(|status| status.version = "x".repeat(500_000));
    place.fake.enter(Phase::Ebb, None);
    let mut stream = UnixStream::connect(place.path()).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(LONG).await;
    let gone = stream.write_all(b"anybody?").await.unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_waits_for_its_turn() {
    let place = Place::new();
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(UnixStream::connect(place.path()).await.unwrap());
        // Let it be accepted: the kernel's queue is short.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = Instant::now();
    assert_eq!(place.ask("GET", "/livez", "").await.code, 200);
    assert!(before.elapsed() > Duration::from_secs(5), "33 were served at a time");
}

/// A reader of `/events`.
struct Events(BufReader<UnixStream>);

impl Events {
    async fn follow(place: &Place) -> Self {
        let mut stream = UnixStream::connect(place.path()).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        Self(BufReader::new(stream))
    }

    async fn next(&mut self) -> Option<Progress> {
        loop {
            let mut line = String::new();
            if timeout(LONG, self.0.read_line(&mut line)).await.expect("an event").unwrap() == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).expect(data));
            }
        }
    }

    async fn rest(&mut self) -> Vec<Progress> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}
