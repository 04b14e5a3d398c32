//! What only an XMPP bus can do to a gateway, on a stock Prosody and a stock ejabberd.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slackwater_bus::xmpp::stanza::{self, Head, Message as Stanza};
use slackwater_lab::bus::xmpp::server::{DOMAIN, OTHER_DOMAIN, Server};
use slackwater_lab::bus::xmpp::stream::Stream;
use slackwater_lab::opensrf::{self, Answer};
use slackwater_lab::process::Gateway;
use slackwater_lab::raw::{Message, RawClient};
use slackwater_lab::site::{EJABBERD, PROSODY, Services, Site};
use tokio::time::timeout;

use crate::{DEMO, PROGRAM};

macro_rules! on_each_server {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn prosody() {
                let site = Site::start(PROSODY, Services::default()).await.unwrap();
                let Some(site) = site else { return };
                super::$test(&site).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn ejabberd() {
                let site = Site::start(EJABBERD, Services::default()).await.unwrap();
                let Some(site) = site else { return };
                super::$test(&site).await;
            }
        }
    )+ };
}

on_each_server!(
    whatever_a_client_writes_stays_text,
    what_nobody_serves_and_what_is_too_large_is_told_and_harms_nobody,
    a_session_whose_worker_is_gone_is_over_and_its_thread_begins_afresh,
    the_parts_of_an_answer_do_not_wait_for_each_other,
);

/// The frames of a client, read one by one.
struct Client(RawClient);

impl Client {
    async fn of(gateway: &Gateway) -> Self {
        Self(gateway.connect().await.unwrap())
    }

    async fn frame(&mut self) -> Value {
        let Message::Text(text) = self.0.read_message().await.unwrap() else { panic!("no text") };
        serde_json::from_str(&text).unwrap()
    }

    async fn asks(&mut self, frame: &Value) -> Value {
        self.0.send_text(&frame.to_string()).await.unwrap();
        self.frame().await
    }
}

fn ask(trace: u32, method: &str, params: &Value) -> Value {
    let call = json!({"__c": "osrfMethod", "__p": {"method": method, "params": params}});
    opensrf::message("REQUEST", trace, Some(&call))
}

fn codes(frame: &Value) -> Vec<(u32, u16)> {
    let answers: Vec<Answer> = opensrf::answers(&frame.to_string());
    answers.iter().map(|answer| (answer.trace, answer.code)).collect()
}

/// OPENSRF-XMPP §10.5 and 6, and everything else that a client can choose.
async fn whatever_a_client_writes_stays_text(site: &Site) {
    let gateway = site.gateway(PROGRAM, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await;
    let evil = [
        "'/><router_from='x",
        "\"/><opensrf router_from=\"opensrf@private.localhost/x\"/>",
        "</body></message><message to='x'>",
        "<![CDATA[]]>&lt;&#0;]]>",
        "\u{1}\u{8}\u{b}\u{1f}\u{7f}\u{85}",
        "\u{FFFE}\u{FFFF}\u{FFFD}\u{2028}𝄞",
        "\r\n\t ",
    ];
    for (place, text) in evil.iter().enumerate() {
        // As thread, log trace id and parameter: it comes back as it was.
        let asked = json!({
            "service": DEMO, "thread": text, "log_xid": text,
            "osrf_msg": [ask(1, &format!("{DEMO}.echo"), &json!([text, {*text: text}]))],
        });
        let frame = client.asks(&asked).await;
        assert_eq!(frame["thread"], *text, "{place}");
        let results: Vec<&Value> = frame["osrf_msg"].as_array().unwrap().iter().collect();
        assert_eq!(results[0]["__p"]["payload"]["__p"]["content"], *text, "{place}: {frame}");
        assert_ne!(frame["log_xid"], *text, "no such thing reaches the bus");
        // As method: there is none.
        let asked = json!({
            "service": DEMO, "thread": "m",
            "osrf_msg": [ask(2, text, &json!([]))],
        });
        assert_eq!(codes(&client.asks(&asked).await), [(2, 404)], "{place}");
        // As service: nobody is asked.
        let asked = json!({
            "service": text, "thread": "s",
            "osrf_msg": [ask(3, "m", &json!([]))],
        });
        assert_eq!(codes(&client.asks(&asked).await), [(3, 400)], "{place}");
    }
    let status = gateway.status().await.unwrap();
    assert_eq!((&status["bus_lost"], &status["bus"]["healthy"]), (&json!(0), &json!(true)));
}

async fn what_nobody_serves_and_what_is_too_large_is_told_and_harms_nobody(site: &Site) {
    let gateway = site.gateway(PROGRAM, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await;
    let mut other = Client::of(&gateway).await;
    let wait = opensrf::request(DEMO, "w", 1, &format!("{DEMO}.wait"), &json!([1, "done"]));
    other.0.send_text(&wait).await.unwrap();

    let asked = json!({
        "service": "opensrf.nope", "thread": "t",
        "osrf_msg": [opensrf::message("CONNECT", 1, None), ask(2, "m", &json!([]))],
    });
    let frame = client.asks(&asked).await;
    assert_eq!(
        (codes(&frame), &frame["transport_error"]),
        (vec![(1, 404), (2, 404)], &json!(true))
    );
    let large =
        opensrf::request(DEMO, "t", 3, &format!("{DEMO}.echo"), &json!(["x".repeat(270_000)]));
    let frame = client.asks(&serde_json::from_str(&large).unwrap()).await;
    assert_eq!(codes(&frame), [(3, 413)]);
    let status =
        frame["osrf_msg"][0]["__p"]["payload"]["__p"]["status"].as_str().unwrap().to_owned();
    assert!(status.contains("too large for the message bus"), "{status}");

    let frame = other.frame().await;
    assert!(frame.to_string().contains("done"), "{frame}");
    let status = gateway.status().await.unwrap();
    assert_eq!(
        (&status["sessions"], &status["pending_requests"]),
        (&json!(0), &json!(0)),
        "{status}"
    );
    assert_eq!((&status["bus_lost"], &status["connections"]), (&json!(0), &json!(2)), "{status}");
}

/// A service made by hand, with one worker that is its own listener.
struct Service {
    stream: Stream,
}

impl Service {
    async fn register(server: &Server, name: &str, resource: &str) -> Self {
        let account = server.account("opensrf", OTHER_DOMAIN);
        let mut stream = Stream::open(&account, resource).await.unwrap();
        let to = format!("router@{DOMAIN}/router");
        let head =
            Head { to: &to, router_class: name, router_command: "register", ..Head::default() };
        stream.send(&stanza::write(&head, "registering")).await.unwrap();
        Self { stream }
    }

    async fn answer(&mut self, asked: &Stanza, body: &str) {
        let head = Head { to: &asked.from, thread: &asked.thread, ..Head::default() };
        self.stream.send(&stanza::write(&head, body)).await.unwrap();
    }

    /// Ends it without a word, and waits until the server knows: before, what is sent to it is lost.
    async fn vanish(self, server: &Server) {
        let address = self.stream.address.clone();
        drop(self);
        let mut prober = Stream::open(&server.account("opensrf", OTHER_DOMAIN), "p").await.unwrap();
        let probe = stanza::write(&Head { to: &address, ..Head::default() }, "still there?");
        loop {
            prober.send(&probe).await.unwrap();
            let bounce = timeout(Duration::from_millis(100), prober.next()).await;
            if bounce.is_ok_and(|bounce| bounce.unwrap().failure.is_some()) {
                return;
            }
        }
    }
}

async fn a_session_whose_worker_is_gone_is_over_and_its_thread_begins_afresh(site: &Site) {
    let mut gateway = site.gateway(PROGRAM, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await;
    let name = "opensrf.fake";
    let mut service = Service::register(site.xmpp().unwrap(), name, "one").await;
    let connect =
        json!({"service": name, "thread": "t", "osrf_msg": [opensrf::message("CONNECT", 0, None)]});
    let request = |trace| {
        json!({"service": name, "thread": "t",
               "osrf_msg": [ask(trace, "m", &json!([]))]})
    };
    // The router may not have heard of it yet.
    let asked = loop {
        client.0.send_text(&connect.to_string()).await.unwrap();
        tokio::select! {
            asked = service.stream.next() => break asked.unwrap(),
            frame = client.frame() => assert_eq!(codes(&frame), [(0, 404)]),
        }
    };
    let connected = r#"[{"__c":"osrfMessage","__p":{"threadTrace":"0","type":"STATUS","payload":{"__c":"osrfConnectStatus","__p":{"status":"Connection Successful","statusCode":"200"}}}}]"#;
    service.answer(&asked, connected).await;
    assert_eq!(codes(&client.frame().await), [(0, 200)]);
    // A body that is no JSON is passed on as nothing (xmpp `odd_replies`).
    service.answer(&asked, "no JSON").await;
    assert_eq!(client.frame().await["osrf_msg"], Value::Null);

    service.vanish(site.xmpp().unwrap()).await;
    gateway.until("a session", |status| status["sessions"] == 1).await.unwrap();
    let frame = client.asks(&request(1)).await;
    assert_eq!(
        (codes(&frame), &frame["transport_error"]),
        (vec![(1, 504), (0, 408)], &json!(true))
    );
    let status = gateway.status().await.unwrap();
    assert_eq!((&status["sessions"], &status["service_gone"]), (&json!(0), &json!(1)), "{status}");

    // Not to the worker that is gone, but by the router to whoever serves it now.
    let mut another = Service::register(site.xmpp().unwrap(), name, "two").await;
    loop {
        client.0.send_text(&request(2).to_string()).await.unwrap();
        tokio::select! {
            asked = another.stream.next() => break drop(asked.unwrap()),
            frame = client.frame() => assert_eq!(codes(&frame), [(2, 404)]),
        }
    }
}

/// A server that gathers what is small (Nagle's algorithm, as Prosody by default) sends the second
/// part when the first is acknowledged; half of these answers took 40 ms when nobody hurried.
async fn the_parts_of_an_answer_do_not_wait_for_each_other(site: &Site) {
    const ANSWERS: usize = 60;
    const LATE: Duration = Duration::from_millis(35);
    let gateway = site.gateway(PROGRAM, &[]).await.unwrap();
    let mut client = Client::of(&gateway).await;
    let asked = json!({
        "service": DEMO, "thread": "parts",
        "osrf_msg": [ask(1, &format!("{DEMO}.stream"), &json!([2, 0.001]))],
    });
    let mut late = Vec::new();
    for _ in 0..ANSWERS {
        let began = Instant::now();
        let mut told = codes(&client.asks(&asked).await);
        while told.last() != Some(&(1, 205)) {
            told.extend(codes(&client.frame().await));
        }
        assert_eq!(told.len(), 3, "{told:?}");
        late.extend(Some(began.elapsed()).filter(|took| *took > LATE));
    }
    // A busy machine is late now and then.
    assert!(late.len() < ANSWERS / 5, "{late:?}");
}

/// The port of the file is none of the usual ones: the server is asked what it is.
#[tokio::test]
async fn a_sites_own_file_is_enough_and_a_wrong_password_is_one_clear_line() {
    let Some(site) = Site::start(PROSODY, Services::default()).await.unwrap() else { return };
    let port = site.port().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("opensrf_core.xml");
    let write = |password: &str| {
        let text = format!(
            "<config><gateway><router_name>router</router_name><domain>localhost</domain>\
             <username>opensrf</username><passwd>{password}</passwd><port>{port}</port>\
             <logfile>stderr</logfile><loglevel>3</loglevel></gateway></config>"
        );
        std::fs::write(&file, text).unwrap();
    };
    let options = ["--opensrf-config", file.to_str().unwrap()];
    write("opensrfpw");
    let gateway = Gateway::start(PROGRAM, &options).await.unwrap();
    assert!(gateway.log().contains("transport"), "{}", gateway.log());
    let asked = opensrf::request("opensrf.math", "t", 1, "add", &json!([1, 2]));
    let frame = Client::of(&gateway).await.asks(&serde_json::from_str(&asked).unwrap()).await;
    // There is no router in this domain.
    assert_eq!(codes(&frame), [(1, 404)]);
    write("wrongpw");
    let error = Gateway::start(PROGRAM, &options).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 2") && !error.contains("wrongpw"), "{error}");
    assert!(error.contains("refuses user \"opensrf\" with the password given"), "{error}");
}
