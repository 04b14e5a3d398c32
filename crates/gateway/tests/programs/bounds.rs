//! That neither side can make the gateway wait, or grow.

use std::time::Duration;

use slackwater_lab::kernel;
use slackwater_lab::raw::{exchange, handshake};

use crate::{run, script, text};

#[tokio::test]
async fn ten_megabytes_of_stderr_hold_nothing_up() {
    let gateway = script(
        &["--log-level", "error"],
        "head -c 10000000 /dev/zero | tr '\\0' e >&2; echo >&2; echo done; cat",
    )
    .await
    .unwrap();
    let mut client = gateway.connect().await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "done");
    client.send_text("x").await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "x");
}

#[tokio::test]
async fn when_both_sides_are_full_nothing_is_lost_and_nothing_locks() {
    const MESSAGES: usize = 3_000;
    let gateway = run(&[], &["cat"]).await.unwrap();
    let client = gateway.connect().await.unwrap();
    let (mut reader, mut writer) = client.into_halves();
    let line = "x".repeat(4_000);
    let sends = async {
        let frame = slackwater_lab::raw::frame(1, true, line.as_bytes());
        for _ in 0..MESSAGES {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &frame).await.unwrap();
        }
    };
    let reads = async {
        // Until everything that can fill is full.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for number in 0..MESSAGES {
            let frame = reader.read_frame().await.unwrap();
            assert_eq!(frame.payload, line.as_bytes(), "{number}");
        }
    };
    tokio::join!(sends, reads);
}

#[tokio::test]
async fn a_program_that_does_not_read_costs_a_bounded_amount() {
    let mut gateway =
        script(&["--ping-interval", "1s"], "echo ready; exec sleep 1000").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "ready");
    let before = kernel::resident(gateway.pid()).unwrap();
    let flood = async {
        let message = "x".repeat(1 << 20);
        for _ in 0..64 {
            client.send_text(&message).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    assert!(tokio::time::timeout(Duration::from_secs(2), flood).await.is_err(), "it all went in");
    let grown = kernel::resident(gateway.pid()).unwrap().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for a client that is not read");
    drop(client);
    gateway.until("the client has left", |status| status["connections"] == 0).await.unwrap();
    assert_eq!(kernel::children(gateway.pid()).unwrap(), [], "its program is gone, too");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_program() {
    let mut gateway = script(
        &["--write-stall-timeout", "1s", "--close-timeout", "1s"],
        "yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    )
    .await
    .unwrap();
    let client = gateway.connect().await.unwrap();
    gateway.until("connected", |status| status["connections"] == 1).await.unwrap();
    let status = gateway.until("dropped", |status| status["connections"] == 0).await.unwrap();
    assert_eq!(status["closed"]["slow_reader"], 1, "{status}");
    let resident = kernel::resident(gateway.pid()).unwrap();
    assert!(resident < 60 << 20, "{resident}");
    drop(client);
}

#[tokio::test]
async fn a_line_longer_than_a_message_may_be_ends_the_client() {
    let options = ["--max-message-size", "100KiB"];
    let gateway = script(&options, "head -c 200000 /dev/zero | tr '\\0' x; cat").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let (code, reason, _) = client.closed().await.unwrap();
    assert_eq!((code, &*reason), (Some(1011), "the program's message is too long"));
}

#[tokio::test]
async fn one_client_more_than_there_may_be_programs_is_answered_503() {
    let mut gateway = run(&["--max-programs", "2"], &["cat"]).await.unwrap();
    let clients = [gateway.connect().await.unwrap(), gateway.connect().await.unwrap()];
    let request = handshake("/", "");
    let answer = exchange(gateway.address(), request.as_bytes()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(clients);
    gateway.until("room", |status| status["connections"] == 0).await.unwrap();
    gateway.connect().await.unwrap();
}
