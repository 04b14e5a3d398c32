//! What a program finds in its environment, and that a client can put nothing else there.

use std::collections::BTreeMap;

use slackwater_lab::raw::RawClient;
use tokio::net::TcpStream;

use crate::{Websocketd, all_lines, program};

async fn variables(running: &Websocketd, path: &str, headers: &str) -> BTreeMap<String, String> {
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut client = RawClient::without_handshake(stream).unwrap();
    let handshake = slackwater_lab::raw::handshake(path, headers);
    client.send_bytes(handshake.as_bytes()).await.unwrap();
    client.finish_handshake().await.unwrap();
    let lines = all_lines(&mut client).await;
    lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn the_variables_are_those_of_websocketd() {
    let flags = ["--passenv=PATH,KEPT,WITH_NEWLINE", "env"];
    let environment = [("KEPT", "yes"), ("DROPPED", "no"), ("WITH_NEWLINE", "a\nb")];
    let running = Websocketd::start_in(&flags, &environment).await;
    let found = variables(&running, "/a%20b/c?x=1", "X-A: 1\r\nX-A: 2\r\n").await;
    for (name, value) in [
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_HOST", "127.0.0.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", "/"),
        ("PATH_INFO", "/a b/c"),
        ("PATH_TRANSLATED", "/a b/c"),
        ("QUERY_STRING", "x=1"),
        ("REQUEST_URI", "/a%20b/c?x=1"),
        ("HTTP_X_A", "1, 2"),
        ("KEPT", "yes"),
        ("WITH_NEWLINE", "a b"),
        ("AUTH_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("CONTENT_TYPE", ""),
        ("REMOTE_IDENT", ""),
        ("REMOTE_USER", ""),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}: {found:#?}");
    }
    assert!(found["SERVER_SOFTWARE"].starts_with("websocketd/"), "{found:#?}");
    assert!(!found["UNIQUE_ID"].is_empty() && found["REMOTE_PORT"].parse::<u16>().is_ok());
    for name in ["DROPPED", "HOME", "HTTPS", "HTTP_HOST", "SLACKWATER_CONTROL"] {
        assert!(!found.contains_key(name), "{name}: {found:#?}");
    }
}

#[tokio::test]
async fn reverselookup_names_the_clients_host() {
    let running = Websocketd::start(&["--reverselookup", "env"]).await;
    let found = variables(&running, "/", "").await;
    // By the hosts file of this machine.
    assert_eq!((&*found["REMOTE_ADDR"], &*found["REMOTE_HOST"]), ("127.0.0.1", "localhost"));
}

#[tokio::test]
async fn a_client_names_no_variable_that_means_something_else() {
    let running = Websocketd::start(&["env"]).await;
    let headers = "Proxy: http://evil\r\nX_Real_IP: 6.6.6.6\r\nX-Real-IP: 1.1.1.1\r\n";
    let found = variables(&running, "/", headers).await;
    assert!(!found.contains_key("HTTP_PROXY"), "{found:#?}");
    assert_eq!(found["HTTP_X_REAL_IP"], "1.1.1.1");
}

#[tokio::test]
async fn dir_takes_the_program_from_the_url_and_no_other() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    program(&root.join("s.sh"), "env");
    program(&root.join("sub/t.sh"), "env");
    program(&root.join(".hidden"), "env");
    program(&place.path().join("outside.sh"), "env");
    std::os::unix::fs::symlink(place.path().join("outside.sh"), root.join("link")).unwrap();
    let flag = format!("--dir={}", root.display());
    let running = Websocketd::start(&[&flag]).await;
    let found = variables(&running, "/s.sh/extra/p?q=2", "").await;
    assert_eq!((&*found["SCRIPT_NAME"], &*found["PATH_INFO"]), ("/s.sh", "/extra/p"));
    let found = variables(&running, "/sub/t.sh", "").await;
    assert_eq!((&*found["SCRIPT_NAME"], &*found["PATH_INFO"]), ("/sub/t.sh", ""));
    for path in ["/", "/nope", "/.hidden", "/link", "/../outside.sh", "/%2e%2e/outside.sh"] {
        let answer = running.handshake(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}
