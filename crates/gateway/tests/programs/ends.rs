//! How a program's end looks to its client, and a client's to its program; and that no process of a
//! program's group outlives them.

use std::time::{Duration, Instant};

use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::raw::{End, RawClient, exchange, handshake};
use tokio::task::JoinSet;

use crate::{assert_gone, leader, run, script, text, until_written};

/// Waits until the gateway has let everything go.
async fn settle(gateway: &mut Gateway) {
    gateway.until("nobody is left", |status| status["connections"] == 0).await.unwrap();
}

#[tokio::test]
async fn an_exit_status_becomes_a_close_code() {
    for (program, code, reason, cause) in [
        ("exit 0", 1000, "the program has ended", "program_ended"),
        ("exit 3", 1011, "exit status 3", "program_failed"),
        ("kill -9 $$", 1011, "killed by signal 9", "program_failed"),
    ] {
        let mut gateway = script(&[], program).await.unwrap();
        let mut client = gateway.connect().await.unwrap();
        let closed = client.closed().await.unwrap();
        assert_eq!(closed, (Some(code), reason.to_owned(), End::Fin), "{program}");
        let status = gateway.until("gone", |status| status["connections"] == 0).await.unwrap();
        assert_eq!(status["closed"][cause], 1, "{status}");
    }
}

#[tokio::test]
async fn what_a_program_said_last_arrives_before_the_close() {
    let gateway = script(&[], "head -c 3000000 /dev/zero | tr '\\0' x; exit 4").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    assert_eq!(text(&mut client).await.unwrap().len(), 3_000_000);
    assert_eq!(client.closed().await.unwrap().0, Some(1011));
}

#[tokio::test]
async fn one_that_ends_at_once_is_heard_to_its_last_word() {
    let gateway = run(&["--log-level", "warn"], &["echo", "all that there is"]).await.unwrap();
    let address = gateway.address();
    let mut visitors = JoinSet::new();
    // Many at once, so that the runtime hears of things late and in any order.
    for _ in 0..16 {
        visitors.spawn(async move {
            for _ in 0..25 {
                let mut client = RawClient::connect(address, "/").await?;
                assert_eq!(text(&mut client).await?, "all that there is");
                assert_eq!(client.closed().await?.0, Some(1000));
            }
            Ok::<_, std::io::Error>(())
        });
    }
    while let Some(outcome) = visitors.join_next().await {
        outcome.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_an_http_error() {
    let mut gateway = run(&[], &["/nowhere/at-all"]).await.unwrap();
    let request = handshake("/", "");
    let answer = exchange(gateway.address(), request.as_bytes()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let status = gateway.until("nobody", |status| status["connections"] == 0).await.unwrap();
    assert_eq!(status["phase"], "serving");
    assert!(gateway.log().contains("/nowhere/at-all"), "{}", gateway.log());
}

#[tokio::test]
async fn a_client_that_closes_ends_its_programs_input() {
    let mut gateway = script(&[], "echo $$; cat > \"$0\"; echo end >> \"$0\"").await.unwrap();
    drop(gateway);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    gateway =
        run(&[], &["sh", "-c", "echo $$; cat > \"$0\"; echo end >> \"$0\"", path]).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    client.send_text("last words").await.unwrap();
    client.close(4001).await.unwrap();
    assert_eq!(client.closed().await.unwrap().0, Some(4001), "its own code comes back");
    until_written(file.path(), "end").await;
    until_written(file.path(), "last words").await;
    settle(&mut gateway).await;
    assert_gone(&[leader]);
}

#[tokio::test]
async fn whoever_ignores_the_end_of_its_input_and_signals_is_killed_with_its_children() {
    let stubborn = "trap '' INT TERM; (trap '' INT TERM; sleep 1000) & echo $$; sleep 1000";
    let mut gateway = script(&[], stubborn).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    let began = Instant::now();
    client.close(1000).await.unwrap();
    client.closed().await.unwrap();
    let told = began.elapsed();
    settle(&mut gateway).await;
    let gone = began.elapsed();
    assert_gone(&[leader]);
    assert!(told < Duration::from_millis(500), "the client waits for nothing of it: {told:?}");
    assert!(gone >= Duration::from_millis(850) && gone < Duration::from_secs(4), "{gone:?}");
    let log = gateway.logged("KILL").await.unwrap();
    for signal in ["INT", "TERM", "KILL"] {
        assert!(
            log.contains(&format!("told to end pid={leader} signal=Signal::{signal}"))
                || log.contains(&format!("signal=SIG{signal}"))
                || log.contains(signal),
            "{signal}: {log}"
        );
    }
}

#[tokio::test]
async fn grace_is_added_to_each_wait() {
    let slow = "trap 'sleep 0.6; exit 0' INT; echo $$; while :; do sleep 0.05; done";
    let mut gateway = script(&["--kill-grace", "400ms"], slow).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    let began = Instant::now();
    client.close(1000).await.unwrap();
    client.closed().await.unwrap();
    settle(&mut gateway).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_100), "SIGINT after 500 ms, 600 ms to end: {took:?}");
    assert!(!gateway.log().contains("KILL"), "{}", gateway.log());
    assert_gone(&[leader]);
}

#[tokio::test]
async fn a_grandchild_that_outlives_its_parent_is_ended() {
    let mut gateway = script(&[], "sleep 1000 & echo $$; exit 0").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    assert_eq!(client.closed().await.unwrap().0, Some(1000), "although its stdout is still held");
    settle(&mut gateway).await;
    assert_gone(&[leader]);
}

#[tokio::test]
async fn one_that_closes_its_output_and_lingers_keeps_no_client() {
    let mut gateway = script(&[], "echo $$; exec >&-; exec sleep 1000").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    let began = Instant::now();
    let (code, reason, _) = client.closed().await.unwrap();
    assert_eq!((code, &*reason), (Some(1000), "output closed"));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    settle(&mut gateway).await;
    assert_gone(&[leader]);
}

#[tokio::test]
async fn a_client_that_vanishes_takes_its_program_along() {
    let mut gateway = script(&[], "echo $$; while :; do echo x; sleep 0.3; done").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    assert_eq!(text(&mut client).await.unwrap(), "x");
    drop(client);
    settle(&mut gateway).await;
    assert_gone(&[leader]);
}

#[tokio::test]
async fn a_process_that_ends_gives_its_programs_the_time_to_end_in_order() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let program =
        format!("trap 'sleep 0.3; echo bye > {path}; exit 0' INT; while :; do sleep 0.05; done");
    let options = ["--kill-grace", "500ms", "--track", "lines"];
    let mut gateway = script(&options, &program).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(client.closed().await.unwrap().0, Some(1012));
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "bye\n");
}

#[tokio::test]
async fn nothing_is_left_when_the_gateway_is_told_to_hurry() {
    let stubborn = "trap '' INT TERM; echo $$; while :; do echo x; sleep 0.1; done";
    let mut gateway = script(&[], stubborn).await.unwrap();
    let mut leaders = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = gateway.connect().await.unwrap();
        leaders.push(leader(&mut client).await);
        clients.push(client);
    }
    gateway.signal(Signal::TERM).unwrap();
    gateway.until("draining", |status| status["phase"] == "ebb").await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    drop(clients);
    gateway.exit().await.unwrap();
    assert_gone(&leaders);
}
