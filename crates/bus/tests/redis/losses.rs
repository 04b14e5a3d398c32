//! The bus goes away and comes back: said once, nothing sent twice, nothing that is read lost.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use slackwater_bus::Endpoint;
use slackwater_bus::Event;
use slackwater_bus::redis::Options;
use slackwater_core::osrf::envelope::Recipient;
use slackwater_lab::bus::Process as _;
use slackwater_lab::bus::cutter::Cutter;
use slackwater_lab::bus::redis::server::{DOMAIN, OTHER_DOMAIN, Server};
use slackwater_lab::process::Signal;

use crate::client::{Client, Others, answer, outgoing, threads_of};
use crate::traffic::another_inbox;

/// What the promise of one second is held to, on a machine that is busy with other things.
const SOON: Duration = Duration::from_millis(1_500);

/// Reads events until the bus is back. Gives the threads that were refused meanwhile.
async fn until_restored(client: &mut Client) -> Vec<String> {
    let (mut lost, mut refused) = (0, Vec::new());
    loop {
        match client.event().await {
            Event::Lost { reason } => {
                assert!(!reason.is_empty() && !reason.contains("gatewaypw"), "{reason}");
                lost += 1;
            }
            Event::Refused { envelope, .. } => refused.push(envelope.thread),
            Event::Restored => {
                assert_eq!(lost, 1, "said once");
                return refused;
            }
            other @ (Event::Received(_) | Event::Bounced(_) | Event::Uncertain { .. }) => {
                panic!("{other:?}")
            }
        }
    }
}

async fn is_lost(client: &mut Client) -> String {
    let event = client.event().await;
    let Event::Lost { reason } = event else { panic!("not lost: {event:?}") };
    reason
}

async fn works(client: &mut Client, others: &mut Others, thread: &str) {
    client.ask(thread);
    assert_eq!(others.next().await["thread"], thread);
    others.push(&client.address, &[answer(thread)]).await;
    assert_eq!(client.threads(1).await, [thread]);
}

#[tokio::test]
async fn a_reset_is_noticed_at_once_and_mended_at_once() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    for round in 0..5 {
        works(&mut client, &mut others, &round.to_string()).await;
        let cut = Instant::now();
        let killed: u64 = server.ask("CLIENT KILL USER gateway").await.expect("killed");
        assert_eq!(killed, 5);
        until_restored(&mut client).await;
        assert!(cut.elapsed() < SOON, "{:?}", cut.elapsed());
    }
    works(&mut client, &mut others, "after").await;
    client.close().await;
    assert_eq!(server.denials().await.expect("a log"), 0);
}

#[tokio::test]
async fn no_blpop_is_abandoned() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for round in 0..20 {
        // Only the connection that pushes is cut: the one that reads has a BLPOP under way.
        let pusher = pusher(&server).await;
        let killed: u64 = server.ask(&format!("CLIENT KILL ID {pusher}")).await.expect("killed");
        assert_eq!(killed, 1);
        client.ask("to a dead connection");
        for number in 0..10 {
            let thread = format!("{round}-{number}");
            others.push(&client.address, &[answer(&thread)]).await;
            expected.push(thread);
        }
        let (mut lost, mut restored) = (0, 0);
        while restored == 0 || got.len() < expected.len() {
            match client.event().await {
                Event::Received(envelopes) => got.extend(envelopes.into_iter().map(|e| e.thread)),
                Event::Lost { .. } => lost += 1,
                Event::Restored => restored += 1,
                // If we have heard of the cut before we sent it, it has certainly not gone.
                Event::Refused { envelope, .. } => {
                    assert_eq!(envelope.thread, "to a dead connection");
                }
                other @ (Event::Bounced(_) | Event::Uncertain { .. }) => panic!("{other:?}"),
            }
        }
        assert_eq!((lost, restored), (1, 1));
    }
    assert_eq!(got, expected, "all that was pushed was delivered, once");
    client.close().await;
}

/// The connection of the gateway that waits for nothing.
async fn pusher(server: &Server) -> String {
    let clients: String = server.ask("CLIENT LIST").await.expect("clients");
    let ours = clients.lines().filter(|line| line.contains("user=gateway"));
    let mut pushers = ours.filter(|line| !line.contains("cmd=blpop") && !line.contains("cmd=lpop"));
    let id = |line: &str| line.strip_prefix("id=")?.split(' ').next().map(str::to_owned);
    pushers.next().and_then(id).expect("a pusher")
}

#[tokio::test]
async fn under_load_nothing_is_sent_twice_and_nothing_that_was_refused_is_sent() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let sender = client.bus.sender.clone();
    let load = tokio::spawn(async move {
        let mut accepted = HashSet::new();
        for number in 0..20_000 {
            let thread = number.to_string();
            let to = Recipient::Service("a.service".to_owned());
            if sender.send(outgoing(to, &thread)).is_ok() {
                accepted.insert(thread);
            }
            if number % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        accepted
    });
    let (mut refused, mut losses) = (HashSet::new(), 0);
    while !load.is_finished() {
        let _killed: u64 = server.ask("CLIENT KILL USER gateway").await.expect("killed");
        losses += 1;
        for thread in until_restored(&mut client).await {
            assert!(refused.insert(thread), "refused once");
        }
    }
    let accepted = load.await.expect("a load");
    client.close().await;
    let list = threads_of(&others.all_of(crate::client::ROUTER).await);
    let arrived: HashSet<String> = list.iter().cloned().collect();
    assert_eq!(arrived.len(), list.len(), "something was sent twice");
    assert!(arrived.is_disjoint(&refused), "something was sent that had been refused");
    assert!(losses > 3 && !refused.is_empty(), "{losses} losses, {} refused", refused.len());
    let unknown = accepted.len() - arrived.len() - refused.len();
    assert!(unknown <= losses * 1_000, "{unknown} of unknown outcome in {losses} losses");
}

#[tokio::test]
async fn a_restart_is_survived_and_nothing_is_sent_twice() {
    let Some(mut server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    works(&mut client, &mut others, "before").await;
    server.kill().expect("killed");
    is_lost(&mut client).await;
    let threads: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for thread in &threads {
        client.ask(thread);
        let (envelope, reason) = client.refused().await;
        assert_eq!(&envelope.thread, thread);
        assert!(reason.starts_with("the message bus is lost: "), "{reason}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.start_again().await.expect("a server");
    let back = Instant::now();
    assert!(matches!(client.event().await, Event::Restored));
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
    let mut others = Others::new(&server).await;
    works(&mut client, &mut others, "after").await;
    assert_eq!(others.all_of(crate::client::ROUTER).await, Vec::<serde_json::Value>::new());
    client.close().await;
    assert_eq!(server.denials().await.expect("a log"), 0);
}

#[tokio::test]
async fn a_server_that_hangs_is_lost_and_nothing_is_sent_twice() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    works(&mut client, &mut others, "before").await;
    let hangs = Instant::now();
    server.signal(Signal::STOP).expect("stopped");
    client.ask("under way");
    let reason = is_lost(&mut client).await;
    assert!(reason.contains("no answer within 3 s"), "{reason}");
    assert!(hangs.elapsed() < Duration::from_millis(4_500), "{:?}", hangs.elapsed());
    client.ask("during");
    assert_eq!(client.refused().await.0.thread, "during");
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(hangs.elapsed())).await;
    server.signal(Signal::CONT).expect("goes on");
    let back = Instant::now();
    let event = client.event().await;
    assert!(matches!(event, Event::Restored), "{event:?}");
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
    client.ask("after");
    // What was under way may have arrived, once; what was refused has not.
    let mut arrived = threads_of(&[others.next().await]);
    if arrived == ["under way"] {
        arrived.extend(threads_of(&[others.next().await]));
        assert_eq!(arrived.remove(0), "under way");
    }
    assert_eq!(arrived, ["after"]);
    others.push(&client.address, &[answer("after")]).await;
    assert_eq!(client.threads(1).await, ["after"]);
    assert_eq!(others.all_of(crate::client::ROUTER).await, Vec::<serde_json::Value>::new());
    client.close().await;
}

/// The address of a worker in another domain. The connection to it, which has been used, is dead.
async fn lost_on_the_way(server: &Server, client: &Client, others: &mut Others) -> String {
    let far = format!("opensrf:client:opensrf:{OTHER_DOMAIN}:h:1:3");
    client.send(Recipient::Worker(far.clone()), "first");
    assert_eq!(others.next_of(&far).await["thread"], "first");
    // Of ours, it is the youngest.
    let id = server.connections("gateway").await.expect("connections").into_iter().max();
    let kill = format!("CLIENT KILL ID {}", id.expect("a connection"));
    assert_eq!(server.ask::<u64>(&kill).await.expect("killed"), 1);
    far
}

#[tokio::test]
async fn what_was_under_way_to_another_domain_when_its_connection_broke_is_said_to_be_uncertain() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let cutter = Cutter::start(server.port()).await.expect("a cutter");
    let port = cutter.port();
    let by_the_cutter = |options: &mut Options| {
        options.endpoint = Endpoint::Tcp { host: DOMAIN.to_owned(), port };
    };
    let mut client = Client::with(&server, by_the_cutter).await;
    let mut others = Others::new(&server).await;
    let far = format!("opensrf:client:opensrf:{OTHER_DOMAIN}:h:1:3");
    let mut rounds = 0;
    let reason = loop {
        rounds += 1;
        assert!(rounds < 20, "it never was under way");
        // There is a connection to that domain: one cannot be made while the server is stopped, and
        // that of the round before is not trusted any more.
        client.send(Recipient::Worker(far.clone()), "first");
        assert_eq!(others.next_of(&far).await["thread"], "first");
        server.signal(Signal::STOP).expect("stopped");
        client.send(Recipient::Worker(far.clone()), "second");
        // For it to be under way; if it is not yet, it is refused, and this tried again.
        tokio::time::sleep(Duration::from_millis(200)).await;
        cutter.cut();
        let (mut uncertain, mut settled, mut lost) = (None, false, false);
        while !settled || !lost {
            match client.event().await {
                // It has arrived, but Redis may have been stopped before it could say so.
                Event::Uncertain { envelope, .. } if envelope.thread == "first" => {}
                Event::Uncertain { envelope, reason } => {
                    assert_eq!(envelope, outgoing(Recipient::Worker(far.clone()), "second"));
                    (uncertain, settled) = (Some(reason), true);
                }
                Event::Refused { .. } => settled = true,
                Event::Lost { .. } => lost = true,
                other @ (Event::Received(_) | Event::Bounced(_) | Event::Restored) => {
                    panic!("{other:?}")
                }
            }
        }
        server.signal(Signal::CONT).expect("goes on");
        assert!(matches!(client.event().await, Event::Restored));
        if let Some(reason) = uncertain {
            break reason;
        }
    };
    assert!(reason.contains(OTHER_DOMAIN), "{reason}");
    client.send(Recipient::Worker(far.clone()), "third");
    let mut arrived = Vec::new();
    while arrived.last().is_none_or(|thread| thread != "third") {
        arrived.extend(threads_of(&[others.next_of(&far).await]));
    }
    assert!(arrived.len() <= 2, "something was sent twice: {arrived:?}");
    works(&mut client, &mut others, "after").await;
    client.close().await;
}

#[tokio::test]
async fn a_connection_to_another_domain_is_not_trusted_when_it_was_idle_or_our_own_was_lost() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let far = lost_on_the_way(&server, &client, &mut others).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    client.send(Recipient::Worker(far.clone()), "second");
    assert_eq!(others.next_of(&far).await["thread"], "second");
    let killed: u64 = server.ask("CLIENT KILL USER gateway").await.expect("killed");
    assert_eq!(killed, 6);
    assert_eq!(until_restored(&mut client).await, Vec::<String>::new());
    client.send(Recipient::Worker(far.clone()), "third");
    assert_eq!(others.next_of(&far).await["thread"], "third");
    works(&mut client, &mut others, "and nothing was said of any").await;
    client.close().await;
}

#[tokio::test]
async fn the_bus_is_lost_with_the_connection_of_any_inbox_and_all_are_read_again() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let large = format!(r#"{{"thread":"large","body":["{}"]}}"#, "x".repeat(10_000));
    others.push(&client.address, &vec![large; 2_000]).await;
    let inbox = another_inbox(&client).await;
    let asked = outgoing(Recipient::Service("a.service".to_owned()), "other");
    client.bus.sender.send_from(inbox, asked).expect("room");
    let address = others.next().await["from"].as_str().expect("an address").to_owned();
    assert_ne!(address, client.address);
    // The one that reads the first inbox is the eldest; then come the others.
    let mut ids = server.connections("gateway").await.expect("connections");
    ids.sort_unstable();
    let kill = format!("CLIENT KILL ID {}", ids[1]);
    assert_eq!(server.ask::<u64>(&kill).await.expect("killed"), 1);
    let (mut is_lost, mut is_back) = (false, false);
    while !is_back {
        match client.event().await {
            Event::Lost { .. } => is_lost = true,
            Event::Restored => is_back = true,
            Event::Received(_) | Event::Refused { .. } => {}
            other @ (Event::Bounced(_) | Event::Uncertain { .. }) => panic!("{other:?}"),
        }
    }
    assert!(is_lost);
    others.push(&address, &[answer("other")]).await;
    others.push(&client.address, &[answer("first")]).await;
    let mut awaited = vec!["first".to_owned(), "other".to_owned()];
    while !awaited.is_empty() {
        for envelope in client.envelopes().await {
            awaited.retain(|thread| *thread != envelope.thread);
        }
    }
    client.close().await;
    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new());
}
