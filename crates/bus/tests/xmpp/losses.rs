//! The bus goes away and comes back.

use std::time::{Duration, Instant};

use slackwater_bus::Event;
use slackwater_core::osrf::envelope::Recipient;
use slackwater_lab::bus::Process as _;
use slackwater_lab::bus::xmpp::server::{Brand, DOMAIN, Server};
use slackwater_lab::bus::xmpp::stream::Stream;
use slackwater_lab::process::Signal;

use crate::client::{Client, Worker, options};
use crate::on_each_server;

on_each_server!(
    a_server_that_is_gone_is_known_at_once_and_its_return_too,
    a_stream_that_the_server_ends_is_replaced,
);

/// What the promise of two seconds is held to, from when the server lets clients in.
const SOON: Duration = Duration::from_secs(2);

async fn lost(client: &mut Client) -> String {
    loop {
        match client.event().await {
            Event::Lost { reason } => return reason,
            Event::Refused { .. } | Event::Received(_) => {}
            other @ (Event::Bounced(_) | Event::Uncertain { .. } | Event::Restored) => {
                panic!("{other:?}")
            }
        }
    }
}

async fn restored(client: &mut Client) {
    loop {
        match client.event().await {
            Event::Restored => return,
            Event::Refused { .. } => {}
            other @ (Event::Received(_)
            | Event::Bounced(_)
            | Event::Uncertain { .. }
            | Event::Lost { .. }) => panic!("{other:?}"),
        }
    }
}

async fn a_server_that_is_gone_is_known_at_once_and_its_return_too(server: &mut Server) {
    let mut client = Client::join(options(server)).await;
    client.works(&mut Worker::join(server).await, "before").await;
    let began = Instant::now();
    server.kill().unwrap();
    let reason = lost(&mut client).await;
    assert!(began.elapsed() < SOON && !reason.contains("opensrfpw"), "{reason}");
    client.send(Recipient::Service("opensrf.math".to_owned()), "meanwhile", "[]");
    let event = client.event().await;
    assert!(matches!(&event, Event::Refused { envelope, .. } if envelope.thread == "meanwhile"));
    server.start_again().await.unwrap();
    let began = Instant::now();
    restored(&mut client).await;
    assert!(began.elapsed() < SOON, "back after {:?}", began.elapsed());
    client.works(&mut Worker::join(server).await, "after").await;
}

async fn a_stream_that_the_server_ends_is_replaced(server: &mut Server) {
    let mut client = Client::join(options(server)).await;
    let mut worker = Worker::join(server).await;
    client.ask(&worker, "t", "[]");
    let address = worker.next().await.from;
    let (_, resource) = address.split_once('/').unwrap();
    // Whoever has the account can take our place (OPENSRF-XMPP §2).
    let usurper = Stream::open(&server.account("opensrf", DOMAIN), resource).await.unwrap();
    let reason = lost(&mut client).await;
    assert!(reason.contains("conflict"), "{reason}");
    restored(&mut client).await;
    drop(usurper);
    client.works(&mut worker, "u").await;
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let server = Server::start(Brand::Prosody).await.unwrap();
    let Some(server) = server else { return };
    let mut client = Client::join(options(&server)).await;
    let mut worker = Worker::join(&server).await;
    client.works(&mut worker, "before").await;
    server.signal(Signal::STOP).unwrap();
    client.ask(&worker, "t", "[]");
    let began = Instant::now();
    let reason = lost(&mut client).await;
    assert!(reason.contains("has said nothing for 1"), "{reason}");
    assert!(began.elapsed() < Duration::from_secs(13), "{:?}", began.elapsed());
    server.signal(Signal::CONT).unwrap();
    let began = Instant::now();
    restored(&mut client).await;
    assert!(began.elapsed() < SOON, "back after {:?}", began.elapsed());
}
