//! Attacks with frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slackwater_core::websocket::Deflater;
use slackwater_lab::proof::length;
use slackwater_lab::raw::{Message, RawClient, frame, handshake, opcode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Ground;

/// What the Close that the attacker gets says, if it got one.
async fn close_code(client: &mut RawClient) -> Option<u16> {
    client.patience = Duration::from_secs(30);
    loop {
        match client.read_message().await {
            Ok(Message::Close { code, .. }) => return code,
            Ok(Message::Text(_) | Message::Binary(_)) => {}
            Err(_) => return None,
        }
    }
}

#[tokio::test]
async fn a_frame_that_announces_more_than_there_is_is_refused_at_once_and_nothing_is_kept_for_it() {
    let ground = Ground::start(&[]).await;
    while ground.goes_on() {
        let mut clients = Vec::new();
        for announced in [1_u64 << 63, (1 << 63) - 1, 1 << 40, 21 << 20] {
            for _ in 0..50 {
                let mut client = ground.gateway.connect().await.unwrap();
                let mut head = vec![0x81, 0xff];
                head.extend(announced.to_be_bytes());
                head.extend([0; 4]);
                client.send_bytes(&head).await.unwrap();
                clients.push((announced, client));
            }
        }
        for (announced, mut client) in clients {
            let code = close_code(&mut client).await;
            assert!(matches!(code, Some(1002 | 1009)), "{announced}: {code:?}");
        }
    }
    // One that may be so large, of which nothing comes.
    let mut clients = Vec::new();
    for _ in 0..500 {
        let mut client = ground.gateway.connect().await.unwrap();
        let mut head = vec![0x81, 0xff];
        head.extend((19_u64 << 20).to_be_bytes());
        head.extend([0; 4]);
        head.extend([b'x'; 100]);
        client.send_bytes(&head).await.unwrap();
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let taken = ground.taken();
    assert!(taken < 64 << 20, "{taken} bytes for 9.5 GiB announced");
    drop(clients);
    ground.endured("frames that announce up to 2^63 bytes", taken).await;
}

/// 100 MiB in 100 KiB: it is inflated as far as a message may be, and no further.
#[tokio::test]
async fn a_deflated_bomb_is_refused_before_it_is_unpacked() {
    let ground = Ground::start(&[]).await;
    let deflated = Deflater::default().deflate(&vec![b'x'; 100 << 20], 15).unwrap();
    let mut bomb = frame(opcode::TEXT, true, &deflated);
    bomb[0] |= 0x40;
    let bomb = Arc::new(bomb);
    while ground.goes_on() {
        let mut attackers = JoinSet::new();
        for _ in 0..length(20, 100) {
            let stream = TcpStream::connect(ground.address()).await.unwrap();
            let mut client = RawClient::without_handshake(stream).unwrap();
            let bomb = Arc::clone(&bomb);
            attackers.spawn(async move {
                let offer = handshake("/", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
                client.send_bytes(offer.as_bytes()).await.unwrap();
                client.finish_handshake().await.unwrap();
                client.send_bytes(&bomb).await.unwrap();
                close_code(&mut client).await
            });
        }
        while let Some(code) = attackers.join_next().await {
            assert_eq!(code.unwrap(), Some(1009));
        }
    }
    let taken = ground.taken();
    assert!(taken < 64 << 20, "{taken} bytes");
    // A thread inflates one at a time, and what it took for that is its own no longer.
    let began = Instant::now();
    while ground.taken() > 10 << 20 {
        assert!(began.elapsed() < Duration::from_secs(15), "{} bytes are left", ground.taken());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ground.endured("deflated bombs of 100 MiB", taken).await;
}

#[tokio::test]
async fn fragments_without_end_are_cut_off() {
    let ground = Ground::start(&["--max-message-size", "1MiB"]).await;
    let mut told = 0;
    while ground.goes_on() {
        let mut attackers = JoinSet::new();
        for _ in 0..20 {
            let mut client = ground.gateway.connect().await.unwrap();
            attackers.spawn(async move {
                let piece = vec![b'x'; 64 * 1024];
                let (mut sent, mut code) = (0_usize, opcode::TEXT);
                // He ends when he is not read any more.
                while client.send_frame(code, false, &piece).await.is_ok() && sent < 200 << 20 {
                    (sent, code) = (sent + piece.len(), opcode::CONTINUATION);
                    if sent > 8 << 20 {
                        break;
                    }
                }
                close_code(&mut client).await
            });
        }
        while let Some(code) = attackers.join_next().await {
            let code = code.unwrap();
            assert!(matches!(code, Some(1009) | None), "{code:?}");
            told += usize::from(code.is_some());
        }
    }
    assert!(told > 0);
    let taken = ground.taken();
    ground.endured("20 × fragments without end", taken).await;
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_takes_nothing_but_its_time() {
    let ground = Ground::start(&[]).await;
    let mut clients = JoinSet::new();
    for _ in 0..length(200, 1_000) {
        let mut client = ground.gateway.connect().await.unwrap();
        clients.spawn(async move {
            let whole = frame(opcode::TEXT, true, &[b' '; 20]);
            for byte in whole {
                client.send_bytes(&[byte]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let answer = client.read_message().await.unwrap();
            assert!(matches!(answer, Message::Text(text) if text.contains("invalid_json")));
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let taken = ground.taken();
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    ground.endured("frames byte by byte", taken).await;
}

#[tokio::test]
async fn pings_that_are_never_read_back_are_not_taken_for_ever() {
    let ground = Ground::start(&["--write-stall-timeout", "1s", "--close-timeout", "1s"]).await;
    let mut attackers = JoinSet::new();
    for _ in 0..10 {
        let client = ground.gateway.connect().await.unwrap();
        attackers.spawn(async move {
            let (reader, mut writer) = client.into_halves();
            let pings = frame(opcode::PING, true, &[b'p'; 125]).repeat(1_000);
            let began = Instant::now();
            // Until he is not read any more, since what he does not read waits.
            while let Ok(Ok(())) =
                tokio::time::timeout(Duration::from_secs(5), writer.write_all(&pings)).await
            {
                assert!(began.elapsed() < Duration::from_secs(60), "he is read for ever");
            }
            drop(reader);
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let taken = ground.taken();
    assert!(taken < 64 << 20, "{taken}");
    while let Some(done) = attackers.join_next().await {
        done.unwrap();
    }
    ground.endured("floods of pings", taken).await;
}
