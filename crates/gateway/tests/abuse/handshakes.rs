//! Attacks before the handshake is done.

use std::time::{Duration, Instant};

use slackwater_lab::proof::length;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Ground;

#[tokio::test]
async fn ten_thousand_connects_that_say_nothing_end_in_silence_and_in_time() {
    let many = length(2_000, 9_000);
    slackwater::config::raise_open_files();
    let ground = Ground::start(&["--handshake-timeout", "1s"]).await;
    let mut open = Vec::with_capacity(many);
    for _ in 0..many {
        open.push(TcpStream::connect(ground.address()).await.unwrap());
    }
    let taken = ground.taken();
    let connected = Instant::now();
    for mut stream in open {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"", "nothing was asked, nothing is said");
    }
    assert!(connected.elapsed() < Duration::from_secs(5), "{:?}", connected.elapsed());
    ground.endured(&format!("{many} half-open connects"), taken).await;
}

#[tokio::test]
async fn a_handshake_that_comes_byte_by_byte_is_cut_off_in_time() {
    let many = length(500, 2_000);
    let ground = Ground::start(&["--handshake-timeout", "1s"]).await;
    let mut slow = JoinSet::new();
    for _ in 0..many {
        let address = ground.address();
        slow.spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let began = Instant::now();
            let (mut reader, mut writer) = stream.into_split();
            let drip = tokio::spawn(async move {
                writer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await?;
                while began.elapsed() < Duration::from_secs(10) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    writer.write_all(b"a").await?;
                }
                Ok::<_, std::io::Error>(())
            });
            let mut answer = Vec::new();
            // It may be reset for what it goes on sending.
            reader.read_to_end(&mut answer).await.ok();
            drip.abort();
            (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let taken = ground.taken();
    while let Some(outcome) = slow.join_next().await {
        let (answer, took) = outcome.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
        // The time, and a while in which what it still sends is read away.
        assert!(took < Duration::from_secs(6), "{took:?}");
    }
    ground.endured(&format!("{many} slow handshakes"), taken).await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let ground = Ground::start(&[]).await;
    let mut refused = 0;
    while ground.goes_on() {
        let mut attackers = JoinSet::new();
        for _ in 0..100 {
            let address = ground.address();
            attackers.spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let (mut reader, mut writer) = stream.into_split();
                let flood = tokio::spawn(async move {
                    writer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await?;
                    for number in 0..100_000 {
                        writer
                            .write_all(format!("X-{number}: {}\r\n", "y".repeat(100)).as_bytes())
                            .await?;
                    }
                    Ok::<_, std::io::Error>(())
                });
                let mut answer = Vec::new();
                reader.read_to_end(&mut answer).await.ok();
                flood.abort();
                String::from_utf8_lossy(&answer).into_owned()
            });
        }
        while let Some(answer) = attackers.join_next().await {
            let answer = answer.unwrap();
            // Who is reset for what he goes on sending may have lost the answer.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
            refused += usize::from(!answer.is_empty());
        }
    }
    assert!(refused > 0);
    let taken = ground.taken();
    ground.endured("100 heads without end", taken).await;
}
