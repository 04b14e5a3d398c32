//! Many clients on a handful of connections to one Redis: nothing is lost, nothing reaches another
//! client, and nothing is left on the bus, whatever way a gateway ends. Long form: `LAB_LONG=1`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slackwater_lab::bus::redis::server::Server;
use slackwater_lab::caller::{Caller, DEMO, executed_by_bus};
use slackwater_lab::chance::{Chance, seed};
use slackwater_lab::crowd::{Crowd, LABEL, Seen};
use slackwater_lab::opensrf;
use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::proof::{length, report};
use slackwater_lab::raw::{Message, RawClient};
use slackwater_lab::site::{Bus, Services, Site, joined};

use crate::PROGRAM;

/// What one gateway may hold, however many clients it has.
const MOST_CONNECTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_of_one_host_name_on_one_bus_lose_nothing_and_mistake_nothing() {
    let Some(site) = site().await else { return };
    let calls: u64 = length(4_000, 20_000);
    let began = Instant::now();
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = &states;
    let (mut one, mut other) =
        tokio::join!(gateway(&site, first.path()), gateway(&site, second.path()));
    let (seen_by_one, seen_by_other) =
        tokio::join!(use_up(&mut one, 50, calls / 2), use_up(&mut other, 50, calls / 2));
    let executed = executed_by_bus(&one, LABEL).await.unwrap();
    let mut totals = seen_by_one.totals;
    totals += seen_by_other.totals;
    report(format_args!(
        "two gateways of one host name: {totals:?}; executed by the bus {executed}; {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    assert!(totals.answered >= calls);
    assert_eq!((totals.answered, executed), (totals.sent, totals.sent));
    for gateway in [one, other] {
        end(gateway).await;
    }
    nothing_is_left(site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_get_their_own_answers_and_leave_nothing_on_the_bus() {
    let Some(site) = site().await else { return };
    let (clients, calls) = length((200, 4_000), (1_000, 20_000));
    let began = Instant::now();
    let state = tempfile::tempdir().unwrap();
    let mut gateway = gateway(&site, state.path()).await;
    let seen = use_up(&mut gateway, clients, calls).await;
    let executed = executed_by_bus(&gateway, LABEL).await.unwrap();
    report(format_args!(
        "{clients} clients: {:?}; executed by the bus {executed}; {:.1} s",
        seen.totals,
        began.elapsed().as_secs_f64()
    ));
    assert!(seen.totals.answered >= calls);
    assert_eq!((seen.totals.answered, executed), (seen.totals.sent, seen.totals.sent));
    assert_eq!(seen.drained, clients);
    end(gateway).await;
    nothing_is_left(site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_share_a_handful_of_connections() {
    let Some(site) = site().await else { return };
    let count = length(2_000, 10_000);
    let state = tempfile::tempdir().unwrap();
    let mut gateway = gateway(&site, state.path()).await;
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = Caller::connect(gateway.address()).await.unwrap();
        // One in ten has a session, whose requests go to another domain.
        if number % 10 == 0 {
            client.raw.send_text(&opensrf::connect(DEMO, "t")).await.unwrap();
            client.hear().await.unwrap();
        }
        client.echo(("t", 1), json!(number), LABEL).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        client.until_answered().await.unwrap();
    }
    let here = |status: &Value| status["connections"] == count;
    let status = gateway.until("all are here", here).await.unwrap();
    assert_eq!((&status["answered"], &status["sessions"]), (&json!(count), &json!(count / 10)));
    let connections = connections(site.server().unwrap()).await;
    report(format_args!("{count} clients: {connections} connections to Redis"));
    assert!((2..=MOST_CONNECTIONS).contains(&connections), "{connections} connections");
    drop(clients);
    gateway.until("all are gone", |status| status["connections"] == 0).await.unwrap();
    end(gateway).await;
    nothing_is_left(site).await;
}

/// What the gateway has asked for last: where the answer is to come, and its thread there.
pub(crate) async fn asked(server: &Server) -> (String, String) {
    let (_, text): (String, String) =
        server.ask("BLPOP opensrf:router:router:127.0.0.1 10").await.unwrap();
    let envelope: Value = serde_json::from_str(&text).unwrap();
    let part = |name: &str| envelope[name].as_str().unwrap().to_owned();
    (part("from"), part("thread"))
}

/// A worker's answer to the request with this trace, without any space.
pub(crate) fn worker_says(thread: &str, trace: u32, kind: &str, payload: &Value) -> String {
    let message = json!({"threadTrace": trace.to_string(), "type": kind, "payload": payload});
    let body = json!([{"__c": "osrfMessage", "__p": message}]);
    let from = "opensrf:client:opensrf:127.0.0.1:h:1:2";
    json!({"to": "x", "from": from, "thread": thread, "osrf_xid": "x", "body": body}).to_string()
}

pub(crate) fn complete() -> Value {
    json!({"__c": "osrfConnectStatus", "__p": {"status": "Complete", "statusCode": "205"}})
}

/// Whoever waits for nothing has his answers come to another inbox than one that is behind; whoever
/// waits keeps to his, where order is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_client_is_sent_at_once_holds_up_no_other() {
    const RESULTS: usize = 3_000;
    let Some(server) = Server::start().await.unwrap() else { return };
    let state = tempfile::tempdir().unwrap();
    let options = joined(server.port(), state.path());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let gateway = Gateway::start(PROGRAM, &options).await.unwrap();
    let request = |trace| opensrf::request("a.service", "t", trace, "m", &json!([]));
    let [mut flooded, mut waiting, mut idle] = [
        gateway.connect().await.unwrap(),
        gateway.connect().await.unwrap(),
        gateway.connect().await.unwrap(),
    ];
    flooded.send_text(&request(1)).await.unwrap();
    let (first, thread) = asked(&server).await;
    waiting.send_text(&request(1)).await.unwrap();
    assert_eq!(asked(&server).await.0, first);

    gateway.signal(Signal::STOP).unwrap();
    let content = json!({"status": "OK", "statusCode": "200", "content": "x".repeat(20_000)});
    let result = json!({"__c": "osrfResult", "__p": content});
    let mut flood = format!("RPUSH {first}");
    for _ in 0..RESULTS {
        flood.push(' ');
        flood.push_str(&worker_says(&thread, 1, "RESULT", &result));
    }
    flood.push(' ');
    flood.push_str(&worker_says(&thread, 1, "STATUS", &complete()));
    let _length: usize = server.ask(&flood).await.unwrap();
    let reading = tokio::spawn(async move {
        let (mut results, mut is_over) = (0, false);
        while !is_over {
            let Message::Text(text) = flooded.read_message().await.unwrap() else { panic!() };
            for answer in opensrf::answers(&text) {
                results += usize::from(!answer.is_status);
                is_over = answer.is_final();
            }
        }
        results
    });
    gateway.signal(Signal::CONT).unwrap();
    let waits = async || server.ask::<usize>(&format!("LLEN {first}")).await.unwrap();
    while waits().await > RESULTS - 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    idle.send_text(&request(1)).await.unwrap();
    let (another, thread) = asked(&server).await;
    waiting.send_text(&request(2)).await.unwrap();
    let (same, _) = asked(&server).await;
    let answer = worker_says(&thread, 1, "STATUS", &complete());
    let _length: usize = server.ask(&format!("RPUSH {another} {answer}")).await.unwrap();
    assert!(matches!(idle.read_message().await.unwrap(), Message::Text(_)));
    assert!(waits().await > 0, "all has been read meanwhile");
    assert_ne!(another, first);
    assert_eq!(same, first);
    assert_eq!(reading.await.unwrap(), RESULTS);
    gateway.signal(Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_on_the_bus_of_a_gateway_that_was_killed() {
    let Some(site) = site().await else { return };
    let (state, another) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let helper = gateway(&site, another.path()).await;
    let mut helping = helper.connect().await.unwrap();
    let mut killed = gateway(&site, state.path()).await;
    let mut client = Caller::connect(killed.address()).await.unwrap();
    for (trace, label) in [(1, "before"), (2, "after")] {
        client.call(("t", trace), "hold", &json!([label]), []).await.unwrap();
    }
    killed.until("both are held", |status| status["executed"] == 2).await.unwrap();
    killed.signal(Signal::KILL).unwrap();
    killed.exit().await.unwrap();
    let server = site.server().unwrap();
    server.until_lists("opensrf:client:gateway:*", 0).await.unwrap();

    // An answer that comes while nobody is there makes the list anew; the next start deletes it.
    release(&mut helping, "before").await;
    server.until_lists("opensrf:client:gateway:*", 1).await.unwrap();
    let next = gateway(&site, state.path()).await;
    server.until_lists("opensrf:client:gateway:*", 0).await.unwrap();
    // One that comes later still is deleted at its end, at the latest.
    release(&mut helping, "after").await;
    server.until_lists("opensrf:client:gateway:*", 1).await.unwrap();
    end(next).await;
    drop(helping);
    end(helper).await;
    nothing_is_left(site).await;
}

async fn site() -> Option<Site> {
    // No session ends by itself, however long ten thousand clients take to come.
    let services = Services { keepalive: Duration::from_secs(600), ..Services::default() };
    Site::start(Bus::Redis, services).await.unwrap()
}

async fn gateway(site: &Site, state: &Path) -> Gateway {
    let mut options = joined(site.server().unwrap().port(), state);
    options.extend(["--ebb-window", "0s", "--quiet-window", "1ms"].map(str::to_owned));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Gateway::start(PROGRAM, &options).await.unwrap()
}

/// Has a crowd use it until so many requests are answered, and then drains it; it serves again.
async fn use_up(gateway: &mut Gateway, clients: u64, calls: u64) -> Seen {
    let seed = seed();
    report(format_args!("{clients} clients, seed {seed}"));
    let crowd = Crowd::enter(gateway.address(), clients, &mut Chance::new(seed));
    let whistle = crowd.whistle();
    let driving = async {
        let enough = |status: &Value| status["answered"].as_u64() >= Some(calls);
        gateway.until_within(Duration::from_secs(120), "enough calls", enough).await?;
        whistle.blow().await;
        gateway.control("POST", "/drain", "").await
    };
    let (_, seen) = crowd.during(driving).await.unwrap();
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
    gateway.control("POST", "/undrain", "").await.unwrap();
    seen
}

/// The orderly end.
pub(crate) async fn end(mut gateway: Gateway) {
    gateway.signal(Signal::TERM).unwrap();
    let status = gateway.exit().await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
}

async fn nothing_is_left(site: Site) {
    let lists = site.server().unwrap().lists().await.unwrap();
    assert_eq!(lists, Vec::<String>::new());
    site.stop().await.unwrap();
}

/// Lets the request go that is held under this label, as soon as its worker holds it.
async fn release(helping: &mut RawClient, label: &str) {
    let mut released = Vec::new();
    while released != [json!(1)] {
        let method = format!("{DEMO}.release");
        let request = opensrf::request(DEMO, "h", 1, &method, &json!([label, "go"]));
        helping.send_text(&request).await.unwrap();
        released.clear();
        let mut answered = false;
        while !answered {
            let Message::Text(text) = helping.read_message().await.unwrap() else { panic!() };
            for answer in opensrf::answers(&text) {
                answered |= answer.is_final();
                released.extend((!answer.is_status).then_some(answer.content));
            }
        }
    }
}

/// Connections of gateways to the server.
async fn connections(server: &Server) -> usize {
    server.connections("gateway").await.unwrap().len()
}
