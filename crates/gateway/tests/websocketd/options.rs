//! Each option, and each exit code.

use slackwater_lab::raw::{Message, RawClient, opcode};
use tokio::net::TcpStream;

use crate::{Websocketd, ends, text};

#[tokio::test]
async fn exit_codes_are_those_of_websocketd() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--port={}", busy.local_addr().unwrap().port());
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["--version"], 0, &[]),
        (&["--license"], 0, &[]),
        (&["--help"], 0, &["--port", "--devconsole", "--closems", "--passenv", "--maxforks"]),
        (&[], 1, &["COMMAND"]),
        (&["--dir=/tmp", "cat"], 1, &["COMMAND", "--dir"]),
        (&["--ssl", "cat"], 1, &["--ssl", "--sslcert", "--sslkey"]),
        (&["--sslcert=x", "cat"], 1, &["--sslcert"]),
        (&["--sslca=x", "cat"], 1, &["--sslca", "--ssl"]),
        (&["--binary", "--passstderr", "cat"], 1, &["--binary", "--passstderr"]),
        (&["--loglevel=loud", "cat"], 1, &["--loglevel", "loud"]),
        (&["--dir=/nowhere"], 1, &["--dir", "/nowhere"]),
        (&["--header=nonsense", "cat"], 1, &["--header", "nonsense"]),
        (&["/nowhere/at-all"], 1, &["/nowhere/at-all"]),
        (&["no-such-command-here"], 1, &["no-such-command-here"]),
        (&["--port=abc", "cat"], 2, &["-port", "abc"]),
        (&["--nonsense", "cat"], 2, &["-nonsense"]),
        (&["--ssl=perhaps", "cat"], 2, &["-ssl", "perhaps"]),
        (&[&port, "--address=127.0.0.1", "cat"], 3, &["already in use"]),
        (&["--devconsole", "--staticdir=/tmp", "cat"], 4, &["--devconsole", "--staticdir"]),
        (&["--devconsole", "--cgidir=/tmp", "cat"], 4, &["--devconsole", "--cgidir"]),
    ];
    for (words, code, told) in cases {
        let output = ends(words).await;
        assert_eq!(output.status.code(), Some(*code), "{words:?} {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        for word in *told {
            assert!(stderr.contains(word), "{words:?}: {word} is not in {stderr}");
        }
    }
    let version = ends(&["--version"]).await;
    assert!(version.stdout.starts_with(b"websocketd/"), "{version:?}");
}

#[tokio::test]
async fn a_live_unix_socket_is_not_taken_and_a_stale_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.sock");
    let flag = format!("--unixsocket={}", path.display());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    // `--port=0 --address=…` stand before it, so that it is not alone.
    let running = Websocketd::start(&[&flag, "cat"]).await;
    let line = running.until_logged("unix socket at").await;
    assert!(line.contains(path.to_str().unwrap()), "{line}");
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut client = RawClient::on(stream);
    let handshake = slackwater_lab::raw::handshake("/", "");
    client.send_bytes(handshake.as_bytes()).await.unwrap();
    client.finish_handshake().await.unwrap();
    client.send_text("over a file").await.unwrap();
    assert_eq!(client.read_message().await.unwrap(), Message::Text("over a file".to_owned()));
    let second = ends(&[&flag, "cat"]).await;
    assert_eq!(second.status.code(), Some(3));
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("already in use"), "{told}");
}

#[tokio::test]
async fn origins_are_judged_as_websocketd_does() {
    let running = Websocketd::start(&["--sameorigin", "cat"]).await;
    let own = running.address;
    for (origin, status) in [
        (String::new(), "403"),
        (format!("Origin: http://{own}\r\n"), "101"),
        (format!("Origin: https://{own}\r\n"), "101"),
        ("Origin: http://127.0.0.1\r\n".to_owned(), "403"),
        ("Origin: null\r\n".to_owned(), "403"),
    ] {
        let headers = format!("{origin}X: y\r\n");
        let request = slackwater_lab::raw::handshake("/", &headers)
            .replace("Host: ", &format!("Host: {own}\r\nX-Was: "));
        let answer = running.answer(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin:?}: {answer}");
    }
    let flag = "--origin=good.org:8080,https://sec.org,any.org,eighty.org:80";
    let running = Websocketd::start(&[flag, "cat"]).await;
    for (origin, status) in [
        ("", "403"),
        ("http://good.org:8080", "101"),
        ("https://good.org:8080", "101"),
        ("http://good.org", "403"),
        ("https://sec.org", "101"),
        ("https://sec.org:99", "101"),
        ("http://sec.org", "403"),
        ("http://any.org:1234", "101"),
        ("http://eighty.org:81", "101"),
        ("http://x.any.org", "403"),
        ("null", "403"),
    ] {
        let header =
            if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let answer = running.handshake("/", &header).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin:?}: {answer}");
    }
}

#[tokio::test]
async fn more_than_maxforks_are_answered_429_before_anything_is_started() {
    let running = Websocketd::start(&["--maxforks=1", "cat"]).await;
    let client = running.connect("/").await;
    let answer = running.handshake("/", "").await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    drop(client);
    running.until_logged("DISCONNECT").await;
    running.connect("/").await;
}

#[tokio::test]
async fn a_message_larger_than_maxframesize_closes_with_1009() {
    let running = Websocketd::start(&["--maxframesize=1000", "cat"]).await;
    let mut client = running.connect("/").await;
    let message = "x".repeat(1000);
    client.send_text(&message).await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), message);
    client.send_text(&"x".repeat(1001)).await.unwrap();
    assert_eq!(client.closed().await.unwrap().0, Some(1009));
}

#[tokio::test]
async fn binary_and_passstderr() {
    let running = Websocketd::start(&["--binary", "cat"]).await;
    let mut client = running.connect("/").await;
    client.send_frame(opcode::BINARY, true, b"\x00\xff").await.unwrap();
    assert_eq!(client.read_message().await.unwrap(), Message::Binary(vec![0, 255]));

    let running = Websocketd::start(&["--passstderr", "sh", "-c", "echo err >&2; cat"]).await;
    let mut client = running.connect("/").await;
    assert_eq!(text(&mut client).await.unwrap(), r#"{"data":"err","stream":"stderr"}"#);
    client.send_text("in").await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), r#"{"data":"in","stream":"stdout"}"#);
}

#[tokio::test]
async fn pingms_pings() {
    let running = Websocketd::start(&["--pingms=100", "cat"]).await;
    let mut client = running.connect("/").await;
    assert_eq!(client.read_frame().await.unwrap().opcode, opcode::PING);
}

#[tokio::test]
async fn headers_go_where_they_are_to() {
    let flags = ["--header=X-All: a", "--header-ws=X-Ws: w", "--header-http=X-Http: h"];
    let running = Websocketd::start(&[&flags[..], &["cat"]].concat()).await;
    let upgrade = running.handshake("/", "").await.to_lowercase();
    let other = running.get("/").await.to_lowercase();
    let has = |answer: &str| ["x-all: a", "x-ws: w", "x-http: h"].map(|h| answer.contains(h));
    assert_eq!(has(&upgrade), [true, true, false], "{upgrade}");
    assert_eq!(has(&other), [true, false, true], "{other}");
}

#[tokio::test]
async fn redirport_sends_browsers_to_the_port() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let flag = format!("--redirport={}", free.port());
    let running = Websocketd::start(&[&flag, "cat"]).await;
    let request = b"GET /some/where?x=1 HTTP/1.1\r\nHost: example.org:99\r\n\r\n";
    let answer = slackwater_lab::raw::exchange(free, request).await.unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 301 "), "{answer}");
    let port = running.address.port();
    assert!(answer.contains(&format!("location: http://example.org:{port}/\r\n")), "{answer}");
    TcpStream::connect(running.address).await.unwrap();
}

#[tokio::test]
async fn every_address_is_listened_on_and_by_default_all() {
    let running = Websocketd::start(&["--address=127.0.0.2", "cat"]).await;
    let line = running.until_logged("ws://127.0.0.2:").await;
    let (_, rest) = line.rsplit_once("://").unwrap();
    RawClient::connect(rest.trim_end_matches('/').parse().unwrap(), "/").await.unwrap();
}
