//! What goes out and what comes in.

use slackwater_bus::Event;
use slackwater_bus::xmpp::stanza::{self, Head, Message};
use slackwater_core::osrf::envelope::{Recipient, Refusal};
use slackwater_lab::bus::xmpp::server::Server;

use crate::client::{Client, Worker, options};
use crate::on_each_server;

/// What servers take but for a block, see `Stream`.
const LIMIT: usize = 262_144 - 2_048;

on_each_server!(
    envelopes_come_as_they_were_sent,
    what_nobody_takes_comes_back_to_its_conversation,
    a_stanza_as_large_as_the_servers_limit_passes_and_a_larger_one_harms_nobody,
    what_has_come_is_read_before_the_end,
);

async fn envelopes_come_as_they_were_sent(server: &mut Server) {
    let mut client = Client::join(options(server)).await;
    let mut worker = Worker::join(server).await;
    let body = "[\"<é>&'\u{FFFE}𝄞\",\n1e+100]";
    client.ask(&worker, "t", body);
    let asked = worker.next().await;
    assert_eq!(asked.body, "[\"<é>&'\\ufffe𝄞\",\n1e+100]");
    assert_eq!(asked.xid.as_deref(), Some("x1"));
    assert!(asked.from.starts_with("opensrf@public.localhost/gateway_"), "{}", asked.from);

    // What comes is JSON or nothing, whoever has passed it on.
    for (body, came) in
        [("[1, 2]", "[1, 2]"), ("{\"a\":1}", "{\"a\":1}"), ("", "null"), ("<", "null")]
    {
        worker.answer(&asked, body).await;
        assert_eq!(&*client.envelope().await.body, came);
    }
    let head = Head { to: &asked.from, thread: "t", xid: "x2", ..Head::default() };
    let routed = Head { router_from: "opensrf@private.localhost/other", ..head };
    worker.stream.send(&stanza::write(&routed, "[]")).await.unwrap();
    let envelope = client.envelope().await;
    assert_eq!(envelope.from, "opensrf@private.localhost/other");
    assert_eq!(envelope.xid.as_deref(), Some("x2"));
    // Without any OpenSRF in it, and with children that nobody knows.
    let bare = format!("<message to='{}'><x><y/></x><body>[]</body></message>", asked.from);
    worker.stream.send(&bare).await.unwrap();
    let envelope = client.envelope().await;
    assert_eq!((envelope.thread.as_str(), envelope.xid), ("", None));
}

async fn what_nobody_takes_comes_back_to_its_conversation(server: &mut Server) {
    let mut client = Client::join(options(server)).await;
    let worker = Worker::join(server).await;
    let gone = Recipient::Worker("opensrf@private.localhost/gone".to_owned());
    let nowhere = Recipient::Worker("opensrf@nowhere.example/x".to_owned());
    let service = Recipient::Service("opensrf.nope".to_owned());
    for (to, thread) in [(service, "a.1"), (gone, "a.2"), (nowhere, "a.3")] {
        client.send(to, thread, "[]");
        let event = client.event().await;
        let Event::Bounced(bounce) = event else { panic!("{event:?}") };
        assert_eq!(bounce.thread, thread);
        assert!(!bounce.reason.is_empty());
    }
    // As OpenSRF's router says it: without a type, and with an id that is its own.
    let address = worker.stream.address.clone();
    client.ask(&worker, "a.4", "[]");
    let mut worker = worker;
    let asked = worker.next().await;
    let text = format!(
        "<message to='{}'><error type='cancel' code='501'/><opensrf/><thread>a.4</thread></message>",
        asked.from
    );
    worker.stream.send(&text).await.unwrap();
    let event = client.event().await;
    let Event::Bounced(bounce) = event else { panic!("{event:?}") };
    assert_eq!((bounce.thread.as_str(), bounce.reason.as_str()), ("a.4", "error 501"));
    // An address that is none goes nowhere.
    client.send(Recipient::Worker("x".to_owned()), "a.5", "[]");
    let event = client.event().await;
    assert!(
        matches!(&event, Event::Refused { envelope, .. } if envelope.thread == "a.5"),
        "{event:?}"
    );
    assert!(!address.is_empty());
}

async fn a_stanza_as_large_as_the_servers_limit_passes_and_a_larger_one_harms_nobody(
    server: &mut Server,
) {
    let mut client = Client::join(options(server)).await;
    let mut worker = Worker::join(server).await;
    client.ask(&worker, "t", &"x".repeat(300_000));
    let event = client.event().await;
    let Event::Refused { why: Refusal::TooLarge { size, limit: LIMIT }, .. } = event else {
        panic!("{event:?}")
    };
    let around = size - 300_000;
    // Characters count as they are on the wire; what follows at once does no harm.
    // Numbers of stanzas grow.
    let most = LIMIT - around - "[\"\"]".len() - 3;
    for body in [format!("[\"{}\"]", "x".repeat(most)), format!("[\"{}\"]", "&".repeat(most / 5))] {
        client.ask(&worker, "t", &body);
        for _ in 0..100 {
            client.ask(&worker, "t", &format!("[\"{}\"]", "y".repeat(1_000)));
        }
        tokio::select! {
            asked = worker.next() => assert_eq!(asked.body, body),
            event = client.event() => panic!("{event:?}"),
        }
        for _ in 0..100 {
            worker.next().await;
        }
    }
    client.ask(&worker, "t", &format!("[\"{}\"]", "x".repeat(most + 4)));
    assert!(matches!(client.event().await, Event::Refused { .. }));
    client.works(&mut worker, "u").await;
}

async fn what_has_come_is_read_before_the_end(server: &mut Server) {
    let client = Client::join(options(server)).await;
    let mut worker = Worker::join(server).await;
    client.ask(&worker, "first", "[]");
    let asked = worker.next().await;
    // More than is ever read at once.
    for _ in 0..20 {
        worker.answer(&asked, &format!("[\"{}\"]", "x".repeat(50_000))).await;
    }
    // A server takes what comes in one stream in its order: once this is back, it has taken the
    // others, too.
    let own = Message { from: worker.stream.address.clone(), ..Message::default() };
    worker.answer(&own, "[]").await;
    assert_eq!(worker.next().await.from, own.from);
    let late = client.close().await;
    assert_eq!(late, ["first"; 20]);
}
