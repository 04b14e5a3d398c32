//! What passes between a client and its program.

use slackwater_lab::raw::{Message, opcode};

use crate::{run, script, text};

#[tokio::test]
async fn a_message_is_a_line_both_ways() {
    let gateway = run(&[], &["cat"]).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    for line in ["hello", "", "größer \u{1F600}", "{\"a\":1}"] {
        client.send_text(line).await.unwrap();
        assert_eq!(text(&mut client).await.unwrap(), line);
    }
    client.send_text("one\ntwo\r\n").await.unwrap();
    for line in ["one", "two", ""] {
        assert_eq!(text(&mut client).await.unwrap(), line);
    }
}

#[tokio::test]
async fn the_last_line_needs_no_end() {
    let gateway = script(&[], "printf 'a\\r\\nb'").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "a");
    assert_eq!(text(&mut client).await.unwrap(), "b");
    assert_eq!(client.closed().await.unwrap().0, Some(1000));
}

#[tokio::test]
async fn what_is_not_utf8_becomes_a_replacement_and_ends_nothing() {
    let gateway = script(&[], "printf 'a\\377b\\n'; cat").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "a\u{fffd}b");
    // A binary message is given to the program as it is.
    client.send_frame(opcode::BINARY, true, b"\xff\xfe").await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "\u{fffd}\u{fffd}");
    client.send_frame(opcode::BINARY, true, b"plain").await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "plain");
}

#[tokio::test]
async fn binary_messages_are_what_each_read_brings() {
    let gateway = run(&["--binary"], &["cat"]).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    client.send_frame(opcode::BINARY, true, &bytes).await.unwrap();
    assert_eq!(client.read_message().await.unwrap(), Message::Binary(bytes));
    client.send_text("text").await.unwrap();
    assert_eq!(client.read_message().await.unwrap(), Message::Binary(b"text".to_vec()));
}

#[tokio::test]
async fn json_and_length_framing_keep_messages_of_several_lines_whole() {
    for framing in ["json", "length"] {
        let gateway = run(&["--framing", framing], &["cat"]).await.unwrap();
        let mut client = gateway.connect().await.unwrap();
        for message in ["one\ntwo\n\nfour", "", "\u{0}\u{2028}\"\\"] {
            client.send_text(message).await.unwrap();
            assert_eq!(text(&mut client).await.unwrap(), message, "{framing}");
        }
        let long = "x\n".repeat(400_000);
        client.send_text(&long).await.unwrap();
        assert_eq!(text(&mut client).await.unwrap(), long, "{framing}");
    }
    let gateway = script(&["--framing", "json"], "cat >&2; echo no JSON; cat").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    client.send_text("a\nb").await.unwrap();
    drop(client);
    let mut gateway = gateway;
    let seen = r#"line="\"a\\nb\"""#;
    gateway.until("gone", |status| status["connections"] == 0).await.unwrap();
    assert!(gateway.log().contains(seen), "{}", gateway.log());
}

#[tokio::test]
async fn a_line_that_is_no_json_string_ends_the_client_and_says_so() {
    let gateway = script(&["--framing", "json"], "echo plain; cat").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let (code, reason, _) = client.closed().await.unwrap();
    assert_eq!((code, &*reason), (Some(1011), "the program's line is no JSON string"));
}

#[tokio::test]
async fn stderr_is_logged_or_passed_on() {
    let program = "echo out; echo err >&2; cat";
    let mut gateway = script(&[], program).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "out");
    gateway.until("connected", |status| status["connections"] == 1).await.unwrap();
    client.send_text("x").await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "x");
    assert!(gateway.log().contains(r#"stderr pid="#), "{}", gateway.log());

    let gateway = script(&["--pass-stderr"], program).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let mut lines = [text(&mut client).await.unwrap(), text(&mut client).await.unwrap()];
    lines.sort();
    let expected = [r#"{"data":"err","stream":"stderr"}"#, r#"{"data":"out","stream":"stdout"}"#];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_program_finds_the_variables_of_cgi_and_no_others() {
    let options = ["--pass-env", "SHELL_WORD,PATH", "--trusted-proxy", "127.0.0.0/8"];
    let gateway = run(&options, &["env"]).await.unwrap();
    let address = gateway.address();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut client = slackwater_lab::raw::RawClient::without_handshake(stream).unwrap();
    let headers = "X-Forwarded-For: 192.0.2.9\r\nProxy: http://evil\r\nX_Real_IP: 6.6.6.6\r\n\
                   X-Real-IP: 1.1.1.1\r\n";
    let handshake = slackwater_lab::raw::handshake("/a%20b?c=d", headers);
    client.send_bytes(handshake.as_bytes()).await.unwrap();
    client.finish_handshake().await.unwrap();
    let mut lines = Vec::new();
    while let Ok(line) = text(&mut client).await {
        lines.push(line);
    }
    let has = |line: &str| assert!(lines.iter().any(|other| other == line), "{line}: {lines:#?}");
    has("REMOTE_ADDR=192.0.2.9");
    has("PATH_INFO=/a b");
    has("QUERY_STRING=c=d");
    has("HTTP_X_REAL_IP=1.1.1.1");
    has("GATEWAY_INTERFACE=CGI/1.1");
    has(concat!("SERVER_SOFTWARE=slackwater/", env!("CARGO_PKG_VERSION")));
    assert!(lines.iter().any(|line| line.starts_with("PATH=")));
    for name in ["HTTP_PROXY=", "HOME=", "SLACKWATER", "HTTP_HOST="] {
        assert!(!lines.iter().any(|line| line.starts_with(name)), "{name}: {lines:#?}");
    }
}
