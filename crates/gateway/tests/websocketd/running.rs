//! What websocketd does while it runs, and what this does better.

use std::time::{Duration, Instant};

use slackwater_lab::raw::End;

use crate::{Websocketd, all_lines, ends, text};

#[tokio::test]
async fn lines_pass_both_ways_and_the_last_needs_no_end() {
    let running = Websocketd::start(&["sh", "-c", "read -r a; echo \"<$a>\"; printf last"]).await;
    let mut client = running.connect("/").await;
    client.send_text("hello").await.unwrap();
    assert_eq!(all_lines(&mut client).await, ["<hello>", "last"]);
}

#[tokio::test]
async fn the_end_of_a_program_is_a_close_frame() {
    for (script, code) in [("exit 0", 1000), ("exit 7", 1011)] {
        let running = Websocketd::start(&["sh", "-c", script]).await;
        let mut client = running.connect("/").await;
        let (closed, reason, end) = client.closed().await.unwrap();
        assert_eq!((closed, end), (Some(code), End::Fin), "{reason}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_an_http_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    crate::program(file.path(), "true");
    let path = file.path().to_owned();
    let running = Websocketd::start(&[path.to_str().unwrap()]).await;
    drop(file);
    let answer = running.handshake("/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn closems_is_added_to_each_step() {
    let script = "trap 'echo int >> \"$0\"; exit 0' INT; while :; do sleep 0.02; done";
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let running = Websocketd::start(&["--closems=700", "sh", "-c", script, path]).await;
    let mut client = running.connect("/").await;
    let began = Instant::now();
    client.close(1000).await.unwrap();
    client.closed().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(600), "the client does not wait");
    running.until_logged("DISCONNECT").await;
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "int\n");
}

#[tokio::test]
async fn sigterm_drains() {
    let script = "while read -r line; do sleep 0.5; echo \"done $line\"; done";
    let running =
        Websocketd::start_in(&["sh", "-c", script], &[("SLACKWATER_TRACK", "lines")]).await;
    let mut client = running.connect("/").await;
    client.send_text("work").await.unwrap();
    let stopping = tokio::spawn(running.stop());
    assert_eq!(text(&mut client).await.unwrap(), "done work");
    let closed = client.closed().await.unwrap();
    assert_eq!(closed, (Some(1012), "drained".to_owned(), End::Fin));
    let (status, log) = stopping.await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn what_websocketd_has_no_flag_for_comes_from_environment_and_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "health_path = \"/\"\ntrack = \"lines\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let running = Websocketd::start_in(&["cat"], &[("SLACKWATER_CONFIG", path)]).await;
    let answer = running.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
    let status = std::process::Command::new(crate::PROGRAM)
        .args(["status", "--json", "--control"])
        .arg(running.control())
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["program"].as_str().unwrap().ends_with("/cat"), "{status}");
    std::fs::write(file.path(), "helth_path = \"/\"\n").unwrap();
    let mut wrong = tokio::process::Command::new(crate::PROGRAM);
    wrong.args(["websocketd", "--port=0", "cat"]).env("SLACKWATER_CONFIG", path);
    let wrong = wrong.output().await.unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(told.contains(":1: helth_path: "), "{told}");
    assert_eq!(ends(&["--version"]).await.status.code(), Some(0));
}
