//! The lines that tools look for on stdout.

use crate::{Websocketd, text};

#[tokio::test]
async fn who_comes_and_goes_and_what_its_program_complains_of() {
    let script = "echo complaint >&2; cat";
    let running = Websocketd::start(&["sh", "-c", script]).await;
    let mut client = running.connect("/some/where?x=1").await;
    client.send_text("x").await.unwrap();
    text(&mut client).await.unwrap();
    client.close(1000).await.unwrap();
    client.closed().await.unwrap();
    let connect = running.until_logged("| CONNECT").await;
    let parts: Vec<&str> = connect.split(" | ").collect();
    // RFC 1123 with a numeric zone.
    assert_eq!(parts[0].split(' ').count(), 6, "{connect}");
    assert!(parts[0].contains(", ") && parts[0].contains(" +") || parts[0].contains(" -"));
    assert_eq!(parts[1..3], ["ACCESS", "session   "], "{connect}");
    let address = running.address;
    for field in ["url:'http://", "/some/where?x=1'", "remote:'127.0.0.1'", "origin:'file:'"] {
        assert!(connect.contains(field), "{field} at {address}: {connect}");
    }
    let complaint = running.until_logged("| complaint").await;
    assert!(complaint.contains("| ERROR  | stderr     | url:'"), "{complaint}");
    let gone = running.until_logged("| DISCONNECT").await;
    assert!(gone.contains(" pid:'") && gone.contains("| ACCESS | session    |"), "{gone}");
}

#[tokio::test]
async fn each_level_has_its_lines() {
    for (level, access, errors, info) in [
        ("debug", true, true, true),
        ("trace", true, true, true),
        ("access", true, true, true),
        ("info", false, true, true),
        ("error", false, true, false),
        ("fatal", false, false, false),
    ] {
        let flag = format!("--loglevel={level}");
        let words = [&flag, "sh", "-c", "echo complaint >&2; cat"];
        // Without its first line nobody knows its port: a fixed one.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = format!("--port={}", free.port());
        let mut command = tokio::process::Command::new(crate::PROGRAM);
        command.args(["websocketd", "--address=127.0.0.1", &port]).args(words);
        command.env("SLACKWATER_EBB_WINDOW", "0s").stdout(std::process::Stdio::piped());
        let child = command.kill_on_drop(true).spawn().unwrap();
        let mut client = loop {
            match slackwater_lab::raw::RawClient::connect(free, "/").await {
                Ok(client) => break client,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        };
        client.send_text("x").await.unwrap();
        text(&mut client).await.unwrap();
        client.close(1000).await.unwrap();
        client.closed().await.unwrap();
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = child.wait_with_output().await.unwrap();
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        let seen = ["| ACCESS |", "| complaint", "| INFO "].map(|words| log.contains(words));
        assert_eq!(seen, [access, errors, info], "{level}: {log}");
    }
}

#[tokio::test]
async fn what_a_client_sends_begins_no_line_of_its_own() {
    let running = Websocketd::start(&["cat"]).await;
    let answer = running.handshake("/a%0aFAKE", "Origin: x\x1b[31m\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    running.handshake("/plain", "").await;
    running.until_logged("/plain").await;
    assert!(!running.log().contains("\nFAKE") && !running.log().contains('\u{1b}'));
}
