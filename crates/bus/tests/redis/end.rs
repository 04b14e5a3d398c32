//! The end: what came last is read, nothing is left behind; and after an end that was not
//! orderly, the next start clears up.

use slackwater_bus::Endpoint;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use slackwater_bus::redis as redis_bus;
use slackwater_core::osrf::envelope::Recipient;
use slackwater_lab::bus::Process as _;
use slackwater_lab::bus::redis::server::Server;

use crate::client::{Client, Others, ROUTER, answer};

/// Where the process that is to be killed finds its server and its state directory.
const PORT: &str = "TEST_REDIS_PORT";
const STATE: &str = "TEST_REDIS_STATE";

#[tokio::test]
async fn at_the_end_all_is_sent_the_list_is_read_dry_and_deleted() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let (address, expected) = (client.address.clone(), (0..2_000).map(|n| n.to_string()));
    let expected: Vec<String> = expected.collect();
    for thread in &expected {
        client.ask(thread);
    }
    others.push(&address, &expected.iter().map(|thread| answer(thread)).collect::<Vec<_>>()).await;
    assert_eq!(client.close().await, expected);
    let sent = others.all_of(ROUTER).await;
    assert_eq!(crate::client::threads_of(&sent), expected);
    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new());
    assert_eq!(server.denials().await.expect("a log"), 0);
}

#[tokio::test]
async fn an_idle_bus_ends_at_once_though_it_waits_ahead() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let client = Client::new(&server).await;
    let began = Instant::now();
    assert!(client.close().await.is_empty());
    // Each wait would take a second.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new());
}

#[tokio::test]
async fn what_redis_refuses_last_is_still_given_back() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let mut client = Client::new(&server).await;
    // No list, and so no place for an envelope.
    let worker = "opensrf:client:opensrf:127.0.0.1:h:1:7";
    let _ok: String = server.ask(&format!("SET {worker} text")).await.expect("set");
    for number in 0..3 {
        client.send(Recipient::Worker(worker.to_owned()), &number.to_string());
    }
    let sender = client.bus.sender.clone();
    let closing = tokio::spawn(async move { sender.close().await });
    for number in 0..3 {
        let (envelope, why) = client.refused().await;
        assert_eq!(envelope.thread, number.to_string());
        assert!(why.contains("WRONGTYPE"), "{why}");
    }
    assert!(client.bus.events.recv().await.is_none(), "and then the end");
    closing.await.expect("closed");
}

#[tokio::test]
async fn nothing_is_left_when_nobody_listens_any_more() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let Client { bus, address, state } = client;
    // More than is read ahead of the gateway: the rest is in the list when it ends.
    let answers: Vec<String> = (0..50_000).map(|number| answer(&number.to_string())).collect();
    others.push(&address, &answers).await;
    let waiting: u64 = server.ask(&format!("LLEN {address}")).await.expect("a length");
    assert!(waiting > 10_000, "{waiting}");
    drop(bus.events);
    bus.sender.close().await;
    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new());
    others.push(&address, &[answer("late")]).await;
    assert_eq!(server.lists().await.expect("lists"), [address]);
    // Too late for the one that has ended: the next one clears up.
    let next = redis_bus::connect(server.gateway(state.path())).await.expect("a bus");
    server.until_lists("opensrf:client:*", 0).await.expect("deleted");
    drop(next.events);
    next.sender.close().await;
}

#[tokio::test]
async fn after_kill_9_the_next_start_deletes_and_its_end_deletes_again() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let mut others = Others::new(&server).await;
    let state = tempfile::tempdir().expect("a directory");
    let mut dying = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "end::a_process_that_is_killed", "--ignored", "--nocapture"])
        .env(PORT, server.port().to_string())
        .env(STATE, state.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let address = others.next().await["from"].as_str().expect("an address").to_owned();
    others.push(&address, &[answer("pending")]).await;
    server.until_lists(&address, 0).await.expect("it reads");

    // Another process, with the same state directory, leaves the living one alone.
    let living = redis_bus::connect(server.gateway(state.path())).await.expect("a bus");
    server.signal(slackwater_lab::process::Signal::STOP).expect("nothing is popped now");
    dying.kill().expect("killed");
    dying.wait().expect("ended");
    server.signal(slackwater_lab::process::Signal::CONT).expect("goes on");
    // Until then, a BLPOP of the dead process may still be served.
    while server.connections("gateway").await.expect("connections").len() > 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    others.push(&address, &[answer("late")]).await;
    assert_eq!(server.lists().await.expect("lists"), std::slice::from_ref(&address));

    let next = redis_bus::connect(server.gateway(state.path())).await.expect("a bus");
    server.until_lists(&address, 0).await.expect("deleted at the start");
    others.push(&address, &[answer("later")]).await;
    drop(next.events);
    next.sender.close().await;
    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new(), "deleted at its end");
    drop(living.events);
    living.sender.close().await;
    assert_eq!(server.denials().await.expect("a log"), 0);
}

/// Not a test: the process that `after_kill_9…` kills.
#[tokio::test]
#[ignore = "is started by another test"]
async fn a_process_that_is_killed() {
    let (Ok(port), Ok(state)) = (std::env::var(PORT), std::env::var(STATE)) else { return };
    let options = redis_bus::Options {
        endpoint: Endpoint::Tcp {
            host: "127.0.0.1".to_owned(),
            port: port.parse().expect("a port"),
        },
        username: "gateway".to_owned(),
        password: Some("gatewaypw".to_owned()),
        domain: "127.0.0.1".to_owned(),
        router_name: "router".to_owned(),
        max_message_size: 10 << 20,
        size_warning: None,
        state_directory: state.into(),
        sweeps_after: Duration::ZERO,
        queue: slackwater_bus::QueueLimits::default(),
    };
    let mut bus = redis_bus::connect(options).await.expect("a bus");
    let to = Recipient::Service("hello".to_owned());
    bus.sender.send(crate::client::outgoing(to, "hello")).expect("room");
    loop {
        tokio::time::timeout(Duration::from_secs(60), bus.events.recv()).await.expect("killed");
    }
}
