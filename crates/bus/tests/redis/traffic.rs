//! What goes over the wire, in order and whole, with nothing that the accounts may not do.

use slackwater_bus::redis as redis_bus;
use std::time::{Duration, Instant};

use slackwater_bus::{Endpoint, Inbox};
use slackwater_core::osrf::envelope::Recipient;
use slackwater_lab::bus::redis::server::{DOMAIN, OTHER_DOMAIN, Server};
use slackwater_lab::certificate::Certificate;

use crate::client::{Client, Others, answer, outgoing, threads_of};

#[tokio::test]
async fn a_request_goes_to_the_router_as_c_writes_it_and_its_answer_comes_back() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    client.send(Recipient::Service("opensrf.math".to_owned()), "t1");
    let text = others.text_of(crate::client::ROUTER).await;
    let address = &client.address;
    assert_eq!(
        text,
        format!(
            r#"{{"to":"opensrf:service:_:_:opensrf.math","from":"{address}","thread":"t1","osrf_xid":"xid-t1","body":[ {{"é": 1.0}} ]}}"#
        )
    );
    let parts: Vec<&str> = address.split(':').collect();
    assert_eq!(parts[..4], ["opensrf", "client", "gateway", "127.0.0.1"]);
    assert_eq!(parts[5], std::process::id().to_string());
    assert!(parts[6].len() == 32 && parts[6].bytes().all(|b| b.is_ascii_hexdigit()), "{address}");
    others.push(address, &[answer("t1")]).await;
    let envelope = client.envelopes().await.remove(0);
    assert_eq!((envelope.thread.as_str(), envelope.xid.as_deref()), ("t1", Some("x")));
    assert_eq!(&*envelope.body, "[]");
    client.close().await;
    assert_eq!(server.denials().await.expect("a log"), 0);
}

#[tokio::test]
async fn a_worker_gets_its_envelopes_in_order_in_its_own_domain() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let near = "opensrf:client:opensrf:127.0.0.1:h:1:2".to_owned();
    let far = format!("opensrf:client:opensrf:{OTHER_DOMAIN}:h:1:3");
    let expected: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    for thread in &expected {
        client.send(Recipient::Worker(near.clone()), thread);
        client.send(Recipient::Worker(far.clone()), thread);
    }
    for list in [near, far] {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let envelope = others.next_of(&list).await;
            assert_eq!(envelope["to"], list.as_str());
            got.extend(threads_of(&[envelope]));
            got.extend(threads_of(&others.all_of(&list).await));
        }
        assert_eq!(got, expected, "{list}");
    }
    let ours = server.connections("gateway").await.expect("connections");
    assert_eq!(ours.len(), 6, "one out, four in, and one to the other domain");
    client.close().await;
    assert_eq!(server.denials().await.expect("a log"), 0);
}

#[tokio::test]
async fn what_waits_comes_in_batches_and_whole() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let expected: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    let mut texts: Vec<String> = expected.iter().map(|thread| answer(thread)).collect();
    texts.insert(17, "rubbish".to_owned());
    texts.insert(18, "{\"thread\":\"no body\"}".to_owned());
    others.push(&client.address, &texts).await;
    let (mut events, mut got) = (0, Vec::new());
    while got.len() < expected.len() {
        events += 1;
        got.extend(client.envelopes().await.into_iter().map(|envelope| envelope.thread));
    }
    assert_eq!(got, expected);
    assert!(events < 50, "{events} events");
    client.close().await;
}

/// The inbox that is best for who waits for nothing, as soon as it is not the first.
pub(crate) async fn another_inbox(client: &Client) -> Inbox {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let inbox = client.bus.sender.inbox(Inbox::default());
        if inbox != Inbox::default() {
            return inbox;
        }
        assert!(Instant::now() < deadline, "the first inbox is not behind");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_fills_one_inbox_holds_up_no_other_and_all_are_read_dry_and_deleted() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    // Nobody takes the events, so that the reader stands still with most of them before it.
    let flood: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    let large = "x".repeat(10_000);
    let text = |thread: &String| format!(r#"{{"thread":"{thread}","body":["{large}"]}}"#);
    others.push(&client.address, &flood.iter().map(text).collect::<Vec<_>>()).await;

    let inbox = another_inbox(&client).await;
    let fast = outgoing(Recipient::Service("a.service".to_owned()), "fast");
    client.bus.sender.send_from(inbox, fast).expect("room");
    let asked = others.next().await;
    let address = asked["from"].as_str().expect("an address").to_owned();
    assert_ne!(address, client.address);
    others.push(&address, &[answer("fast")]).await;
    let mut got = Vec::new();
    while got.last().is_none_or(|thread| thread != "fast") {
        let envelopes = client.envelopes().await.into_iter().map(|envelope| envelope.thread);
        // Together, what the other inbox holds may come before.
        got.extend(envelopes);
        if let Some(place) = got.iter().position(|thread| thread == "fast") {
            got.remove(place);
            got.push("fast".to_owned());
        }
    }
    assert!(got.len() < flood.len() / 4, "{} came before it", got.len());
    got.pop();
    while got.len() < flood.len() {
        got.extend(client.envelopes().await.into_iter().map(|envelope| envelope.thread));
    }
    assert_eq!(got, flood, "in their order");
    others.push(&address, &flood.iter().map(text).collect::<Vec<_>>()).await;
    assert_eq!(client.close().await, flood, "what is there at the end is read");
    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new());
}

#[tokio::test]
async fn large_answers_come_too() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let (mut client, mut others) = (Client::new(&server).await, Others::new(&server).await);
    let large = format!(r#"{{"thread":"large","body":["{}"]}}"#, "x".repeat(9 << 20));
    others.push(&client.address, &[answer("1"), large, answer("2")]).await;
    assert_eq!(client.threads(3).await, ["1", "large", "2"]);
    client.close().await;
}

#[tokio::test]
async fn what_cannot_go_is_given_back_with_the_reason() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let mut client = Client::with(&server, |options| options.max_message_size = 2_000).await;
    let mut large = outgoing(Recipient::Service("a.service".to_owned()), "large");
    large.body = format!("[{}]", "1".repeat(2_000));
    client.bus.sender.send(large.clone()).expect("room");
    let (envelope, reason) = client.refused().await;
    assert_eq!(envelope, large);
    assert!(reason.contains("the limit is 2000"), "{reason}");

    for (worker, expected) in [
        ("opensrf:router:router:127.0.0.1", "is not the address of a worker"),
        ("opensrf:client:opensrf:127.0.1.99:h:1:2", "nothing listens at 127.0.1.99:"),
    ] {
        client.send(Recipient::Worker(worker.to_owned()), "t");
        let (envelope, reason) = client.refused().await;
        assert_eq!(envelope, outgoing(Recipient::Worker(worker.to_owned()), "t"));
        assert!(reason.contains(expected), "{reason}");
    }

    // The account loses its right to the routers' lists.
    let _ok: String =
        server.ask("ACL SETUSER gateway resetkeys ~opensrf:client:*").await.expect("an account");
    client.ask("denied");
    let (envelope, reason) = client.refused().await;
    assert_eq!(envelope.thread, "denied");
    assert!(reason.contains("NOPERM") && !reason.contains("gatewaypw"), "{reason}");
    client.close().await;
}

#[tokio::test]
async fn tls_is_for_the_host_that_the_certificate_names() {
    let files = tempfile::tempdir().expect("a directory");
    let made = Certificate::of(&[DOMAIN]).expect("a certificate");
    let (certificate, key) = (files.path().join("certificate"), files.path().join("key"));
    std::fs::write(&certificate, made.certificate).expect("written");
    std::fs::write(&key, made.key).expect("written");
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let free = std::net::TcpListener::bind((DOMAIN, 0)).expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let (port_text, certificate_text, key_text) =
        (port.to_string(), text(&certificate), text(&key));
    let options = [
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        &certificate_text,
        "--tls-key-file",
        &key_text,
        "--tls-ca-cert-file",
        &certificate_text,
        "--tls-auth-clients",
        "no",
    ];
    let Some(server) = Server::start_with(&options).await.expect("a server") else { return };
    let tls = |host: &str| {
        let (host, authorities) = (host.to_owned(), Some(certificate.clone()));
        Endpoint::Tls { host, port, authorities }
    };
    let mut client = Client::with(&server, |options| options.endpoint = tls(DOMAIN)).await;
    Others::new(&server).await.push(&client.address, &[answer("1")]).await;
    assert_eq!(client.threads(1).await, ["1"]);
    client.close().await;

    let state = tempfile::tempdir().expect("a directory");
    let mut wrong = server.gateway(state.path());
    wrong.endpoint = tls(OTHER_DOMAIN);
    let error = redis_bus::connect(wrong).await.expect_err("another host's certificate");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_unix_socket_serves_all_domains() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let endpoint = Endpoint::Unix { path: server.socket() };
    let mut client = Client::with(&server, |options| options.endpoint = endpoint).await;
    let mut others = Others::new(&server).await;
    let far = format!("opensrf:client:opensrf:{OTHER_DOMAIN}:h:1:3");
    client.send(Recipient::Worker(far.clone()), "t");
    assert_eq!(others.next_of(&far).await["thread"], "t");
    others.push(&client.address, &[answer("1")]).await;
    assert_eq!(client.threads(1).await, ["1"]);
    client.close().await;
    assert_eq!(server.denials().await.expect("a log"), 0);
}
