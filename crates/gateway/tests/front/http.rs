//! Requests and handshakes, good and bad.

use std::time::Duration;

use slackwater_lab::raw::{End, Message, RawClient, exchange, frame, handshake, opcode};
use tokio::net::TcpStream;

use slackwater::front::Then;
use slackwater::front::listener::Refusal;

use crate::{settings, start, start_with};

#[tokio::test]
async fn every_bad_request_is_answered_with_the_status_that_says_why() {
    let (_front, server) = start(settings());
    let good = handshake("/", "");
    let without = |header: &str| {
        let lines = good.split_inclusive("\r\n").filter(|line| !line.starts_with(header));
        lines.collect::<String>()
    };
    let many_headers = (0..200).map(|n| format!("X-{n}: x\r\n")).collect::<String>();
    for (what, request, status) in [
        ("no upgrade elsewhere", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "404"),
        ("no upgrade, POST", "POST / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "405"),
        ("POST", good.replacen("GET", "POST", 1), "405"),
        ("HTTP/1.0", good.replacen("HTTP/1.1", "HTTP/1.0", 1), "400"),
        ("no Host", without("Host"), "400"),
        ("no Connection", without("Connection"), "400"),
        ("no key", without("Sec-WebSocket-Key"), "400"),
        ("no version", without("Sec-WebSocket-Version"), "426"),
        ("other version", good.replacen("Version: 13", "Version: 8", 1), "426"),
        ("two keys", handshake("/", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "400"),
        ("a body", handshake("/", "Content-Length: 3\r\n") + "abc", "400"),
        ("garbage", "\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
        (
            "a frame",
            String::from_utf8_lossy(&frame(opcode::TEXT, true, b"x\r\n\r\n")).into(),
            "400",
        ),
        ("too many headers", handshake("/", &many_headers), "431"),
        ("too large a head", handshake("/", &format!("X: {}\r\n", "x".repeat(20_000))), "431"),
    ] {
        let answer = exchange(server, request.as_bytes()).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{what}: {answer}");
        let head = answer.to_ascii_lowercase();
        // Hyper answers by itself what it cannot parse, and closes without saying so.
        let by_hyper = ["garbage", "a frame"].contains(&what) || status == "431";
        assert!(by_hyper || head.contains("\r\nconnection: close\r\n"), "{what}: {answer}");
        assert_eq!(status == "426", head.contains("sec-websocket-version: 13"), "{what}");
        assert_eq!(status == "405", head.contains("\r\nallow: get"), "{what}");
    }
}

#[tokio::test]
async fn the_page_is_served() {
    let (_front, server) = start(settings());
    let page = exchange(server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    for header in ["content-type: text/html", "content-security-policy: default-src 'none'"] {
        assert!(page.contains(header), "{page}");
    }
    assert!(page.contains("<title>Slackwater</title>"));
    let again = exchange(server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_ne!(nonce(&page), nonce(&again));
    let head = exchange(server, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn balancers_are_answered_below_the_health_path_until_the_front_refuses() {
    let settings = slackwater::front::Settings { health_path: Some("/h".to_owned()), ..settings() };
    let (front, server) = start_with(settings, Refusal::Answer, 1);
    for (request, status) in [
        ("GET /h/livez", "200"),
        ("HEAD /h/livez", "200"),
        ("GET /h/readyz?x", "404"),
        ("POST /h/readyz", "405"),
        ("GET /livez", "404"),
    ] {
        let request = format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = exchange(server, request.as_bytes()).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request}: {answer}");
        let told = answer.ends_with("\r\n\r\ndraining\n");
        assert_eq!(told, request.starts_with("GET /h/readyz"), "{answer}");
    }
    front.refuse(Then::Stay).await.unwrap();
    let answer = exchange(server, b"GET /h/livez HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn an_answer_to_a_handshake_says_101_and_nothing_of_closing() {
    let (_front, server) = start(settings());
    let request = [handshake("/any/path?query", "").into_bytes(), frame(opcode::CLOSE, true, b"")];
    let answer = exchange(server, &request.concat()).await.unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert_eq!(answer.matches("connection:").count(), 1, "{answer}");
    assert!(answer.contains("\r\nconnection: upgrade\r\n"), "{answer}");
}

#[tokio::test]
async fn frames_right_behind_the_handshake_are_not_lost() {
    let (_front, server) = start(settings());
    let handshake = handshake("/", "");
    let bytes = [handshake.as_bytes(), &frame(opcode::TEXT, true, b"early")].concat();
    for cut in handshake.len() - 1..bytes.len() {
        let stream = TcpStream::connect(server).await.unwrap();
        let mut client = RawClient::without_handshake(stream).unwrap();
        client.send_bytes(&bytes[..cut]).await.unwrap();
        tokio::task::yield_now().await;
        client.send_bytes(&bytes[cut..]).await.unwrap();
        client.finish_handshake().await.unwrap();
        let Message::Text(_address) = client.read_message().await.unwrap() else { panic!() };
        let early = Message::Text("early".to_owned());
        assert_eq!(client.read_message().await.unwrap(), early, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_cut() {
    let (_front, server) = start(slackwater::front::Settings {
        handshake_timeout: Duration::from_millis(100),
        ..settings()
    });
    let half = &handshake("/", "").into_bytes()[..50];
    let answer = exchange(server, half).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(exchange(server, b"").await.unwrap(), "", "who said nothing gets no answer");
}

#[tokio::test]
async fn the_origin_is_checked() {
    let mut settings = settings();
    settings.rules.origins = vec!["https://opac.test".parse().unwrap()];
    let (_front, server) = start(settings);
    for (header, allowed) in [
        ("", true),
        ("Origin: https://opac.test\r\n", true),
        ("Origin: https://evil.test\r\n", false),
        ("Origin: null\r\n", false),
    ] {
        let close = frame(opcode::CLOSE, true, b"");
        let request = [handshake("/", header).into_bytes(), close].concat();
        let answer = exchange(server, &request).await.unwrap();
        let expected = if allowed { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
        assert!(answer.starts_with(expected), "{header}: {answer}");
    }
}

#[tokio::test]
async fn the_path_is_checked_and_the_page_knows_it() {
    let mut settings = settings();
    settings.rules.path = Some("/gateway".to_owned());
    let (_front, server) = start(settings);
    let elsewhere = exchange(server, handshake("/", "").as_bytes()).await.unwrap();
    assert!(elsewhere.starts_with("HTTP/1.1 404 "), "{elsewhere}");
    RawClient::connect(server, "/gateway").await.unwrap();
    let page = exchange(server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(page.contains("data-path=\"/gateway\""));
}

#[tokio::test]
async fn the_client_is_whom_a_trusted_proxy_names() {
    for (trusted, expected) in [("127.0.0.0/8", "203.0.113.9"), ("10.0.0.0/8", "127.0.0.1:")] {
        let mut settings = settings();
        settings.proxies.networks = vec![trusted.parse().unwrap()];
        let (_front, server) = start(settings);
        let stream = TcpStream::connect(server).await.unwrap();
        let mut client = RawClient::without_handshake(stream).unwrap();
        let forwarded = "X-Forwarded-For: 1.1.1.1, 203.0.113.9\r\n";
        client.send_bytes(handshake("/", forwarded).as_bytes()).await.unwrap();
        client.finish_handshake().await.unwrap();
        let Message::Text(address) = client.read_message().await.unwrap() else { panic!() };
        assert!(address.starts_with(expected), "{address}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_begins_with_the_client_and_nobody_else_can() {
    const HEADER: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n";
    let with = |trusted: &str| {
        let mut settings = settings();
        settings.proxies.networks =
            vec![trusted.parse().unwrap(), "198.51.100.0/24".parse().unwrap()];
        settings.proxies.protocol = true;
        start(settings)
    };
    let (_front, server) = with("127.0.0.0/8");
    let forwarded = "X-Forwarded-For: 192.0.2.7\r\n";
    for (header, expected) in [
        (HEADER, "203.0.113.9:4711"),
        // A second proxy of ours, behind the first.
        (b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 80\r\n", "192.0.2.7"),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50",
            "203.0.113.9:4711",
        ),
    ] {
        // In pieces, and together with the request.
        for pieces in [1, header.len()] {
            let stream = TcpStream::connect(server).await.unwrap();
            let mut client = RawClient::without_handshake(stream).unwrap();
            let whole = [header, handshake("/", forwarded).as_bytes()].concat();
            let (first, rest) = whole.split_at(header.len());
            for piece in first.chunks(header.len().div_ceil(pieces)) {
                client.send_bytes(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.send_bytes(rest).await.unwrap();
            client.finish_handshake().await.unwrap();
            let Message::Text(address) = client.read_message().await.unwrap() else { panic!() };
            assert_eq!(address, expected);
        }
    }
    let without = exchange(server, handshake("/", "").as_bytes()).await.unwrap();
    assert!(without.starts_with("HTTP/1.1 400 "), "a proxy that names nobody: {without}");

    let (_front, server) = with("10.0.0.0/8");
    let claim = [HEADER, handshake("/", "").as_bytes()].concat();
    let answer = exchange(server, &claim).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut client = RawClient::connect(server, "/").await.unwrap();
    let Message::Text(address) = client.read_message().await.unwrap() else { panic!() };
    assert!(address.starts_with("127.0.0.1:"), "{address}");
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_not_waited_for_longer_than_anybody() {
    let mut settings = settings();
    settings.proxies.networks = vec!["127.0.0.0/8".parse().unwrap()];
    settings.proxies.protocol = true;
    settings.handshake_timeout = Duration::from_millis(300);
    let (front, server) = start(settings.clone());
    assert_eq!(exchange(server, b"PROXY TCP4 203.0.113.9 ").await.unwrap(), "");
    settings.handshake_timeout = Duration::from_secs(3_600);
    drop(front);
    let (front, server) = start_with(settings, Refusal::Shut, 1);
    let waits = exchange(server, b"PROXY TCP4 203.0.113.9 ");
    let refuse = async {
        // It has been accepted when somebody behind it in the queue has.
        let behind = b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let page = exchange(server, behind).await.unwrap();
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        front.refuse(Then::Stay).await.unwrap();
    };
    let (answer, ()) = tokio::join!(waits, refuse);
    assert!(answer.unwrap().starts_with("HTTP/1.1 503 "), "and is told when a drain begins");
}

#[tokio::test]
async fn a_full_server_says_so() {
    let (_front, server) = start_with(settings(), Refusal::Shut, 1);
    let mut first = RawClient::connect(server, "/").await.unwrap();
    let answer = exchange(server, handshake("/", "").as_bytes()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: "), "{answer}");
    let page = exchange(server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200 "), "the page takes no place: {page}");
    let Message::Text(_address) = first.read_message().await.unwrap() else { panic!() };
}

#[tokio::test]
async fn a_client_that_closes_gets_its_echo_and_a_fin() {
    let (_front, server) = start(settings());
    let mut client = RawClient::connect(server, "/").await.unwrap();
    let Message::Text(_address) = client.read_message().await.unwrap() else { panic!() };
    client.close(1000).await.unwrap();
    let echo = Message::Close { code: Some(1000), reason: String::new() };
    assert_eq!(client.read_message().await.unwrap(), echo);
    assert_eq!(client.end().await.unwrap(), End::Fin);
}

fn nonce(page: &str) -> &str {
    let (_, rest) = page.split_once("script nonce=\"").unwrap();
    rest.split_once('"').unwrap().0
}
