use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use slackwater_bus::turns::{BULK, Turns};
use slackwater_core::websocket::negotiate;
use slackwater_lab::raw::{self, End, Frame, RawClient, frame, opcode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{unconstrained, yield_now};
use tokio::time::timeout;

use super::*;

const SETTINGS: Settings =
    Settings { max_message: 1 << 20, binary: Binary::TextIfUtf8, compress_from: Some(64) };

/// Everything a client can legally send, and what is told of it.
fn all_kinds() -> (Vec<u8>, Vec<Event>) {
    let long = "ä".repeat(100);
    let bytes = [
        frame(opcode::TEXT, true, b"one"),
        frame(opcode::TEXT, false, &long.as_bytes()[..77]),
        frame(opcode::PING, true, b"ping"),
        frame(opcode::CONTINUATION, false, b""),
        frame(opcode::PONG, true, b"pong"),
        frame(opcode::CONTINUATION, true, &long.as_bytes()[77..]),
        frame(opcode::BINARY, true, &[0xff, 0]),
        frame(opcode::TEXT, true, b""),
        frame(opcode::CLOSE, true, b"\x03\xe9bye"),
    ];
    let events = vec![
        Event::Text("one".to_owned()),
        Event::Ping,
        Event::Pong(b"pong".to_vec()),
        Event::Text(long),
        Event::Binary(vec![0xff, 0]),
        Event::Text(String::new()),
        Event::Close { code: Some(1001), reason: "bye".to_owned() },
    ];
    (bytes.concat(), events)
}

#[tokio::test]
async fn read_survives_cancellation_at_every_byte() {
    let (bytes, expected) = all_kinds();
    let (mut client, mut websocket) = over_duplex(4096);
    let mut events = Vec::new();
    for byte in bytes {
        client.write_all(&[byte]).await.unwrap();
        // Polled once, and dropped if it is not ready.
        events.extend(ready_events(&mut websocket));
    }
    assert_eq!(events, expected);
}

#[tokio::test]
async fn no_byte_is_lost_wherever_the_stream_is_cut() {
    let large = "x".repeat(20_000);
    let (rest, rest_events) = all_kinds();
    let first = frame(opcode::TEXT, true, large.as_bytes());
    let bytes = [first.clone(), rest].concat();
    let expected = [vec![Event::Text(large)], rest_events].concat();
    // In the middle of the large message nothing is decided; around its ends all is.
    for cut in (0..20).chain(first.len() - 20..bytes.len()) {
        let (mut client, mut websocket) = over_duplex(1 << 20);
        client.write_all(&bytes[..cut]).await.unwrap();
        let mut events = ready_events(&mut websocket);
        client.write_all(&bytes[cut..]).await.unwrap();
        events.extend(ready_events(&mut websocket));
        assert_eq!(events, expected, "cut at {cut}");
    }
}

#[tokio::test]
async fn what_was_read_and_not_told_is_mid_message() {
    let (mut client, mut websocket) = over_duplex(4096);
    assert!(!websocket.mid_message());
    let two = [frame(opcode::TEXT, true, b"one"), frame(opcode::TEXT, true, b"two")].concat();
    client.write_all(&two).await.unwrap();
    assert_eq!(websocket.next().await, Ok(Event::Text("one".to_owned())));
    assert!(websocket.mid_message());
    assert_eq!(websocket.next().await, Ok(Event::Text("two".to_owned())));
    assert!(!websocket.mid_message());
    client.write_all(&frame(opcode::TEXT, false, b"half")).await.unwrap();
    assert_eq!(ready_events(&mut websocket), []);
    assert!(websocket.mid_message());
    drop(client);
    assert_eq!(websocket.next().await, Err(Ending::Eof));
}

#[tokio::test]
async fn bytes_read_ahead_come_first() {
    let (bytes, expected) = all_kinds();
    for cut in 0..=bytes.len() {
        let (mut client, stream) = duplex(4096);
        let mut websocket = WebSocket::new(stream, &bytes[..cut], SETTINGS, None);
        assert_eq!(websocket.mid_message(), cut > 0);
        client.write_all(&bytes[cut..]).await.unwrap();
        assert_eq!(ready_events(&mut websocket), expected, "cut at {cut}");
        assert_eq!(websocket.bytes_in(), bytes.len() as u64);
    }
}

#[tokio::test]
async fn after_our_close_messages_go_on_coming_until_the_peers() {
    let (mut client, mut websocket) = over_tcp().await;
    assert!(websocket.close(1012, "drained"));
    assert_eq!(websocket.next().await, Ok(Event::Written));
    assert!(!websocket.send("too late".to_owned()));
    assert!(!websocket.close(1000, "again"));
    assert_eq!(client.read_frame().await.unwrap(), close_frame(1012, "drained"));
    client.send_text("crossed").await.unwrap();
    client.send_frame(opcode::PING, true, b"").await.unwrap();
    client.close(1012).await.unwrap();
    client.send_text("behind the Close").await.unwrap();
    client.shutdown().await.unwrap();
    let events = to_the_end(&mut websocket).await;
    let close = Event::Close { code: Some(1012), reason: String::new() };
    assert_eq!(events, [Event::Text("crossed".to_owned()), Event::Ping, close]);
    drop(websocket);
    assert_eq!(client.end().await.unwrap(), End::Fin, "nothing unread was left to reset for");
}

#[tokio::test]
async fn the_peers_close_is_answered_behind_what_was_queued() {
    let (mut client, mut websocket) = over_tcp().await;
    client.close(4000).await.unwrap();
    assert!(websocket.send("answer".to_owned()));
    assert_eq!(
        websocket.next().await,
        Ok(Event::Written),
        "the answer was queued before the Close was read",
    );
    let close = Event::Close { code: Some(4000), reason: String::new() };
    assert_eq!(websocket.next().await, Ok(close));
    assert!(!websocket.send("too late".to_owned()));
    websocket.finish();
    let server = tokio::spawn(async move { to_the_end(&mut websocket).await });
    assert_eq!(client.read_frame().await.unwrap().payload, b"answer");
    assert_eq!(client.read_frame().await.unwrap(), close_frame(4000, ""));
    let fin = client.read_frame().await.unwrap_err();
    assert_eq!(fin.kind(), io::ErrorKind::UnexpectedEof);
    drop(client);
    assert_eq!(server.await.unwrap(), []);
}

#[tokio::test]
async fn every_violation_is_answered_with_its_code() {
    let unmasked = vec![0x81, 1, b'x'];
    let fragments = |count| {
        let mut bytes = frame(opcode::TEXT, false, &[b'x'; 500]);
        for _ in 0..count {
            bytes.extend(frame(opcode::CONTINUATION, false, &[b'x'; 500]));
        }
        bytes
    };
    for (what, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("reserved bit", frame(0x41, true, b""), 1002),
        ("reserved opcode", frame(0x3, true, b""), 1002),
        ("fragmented ping", frame(opcode::PING, false, b""), 1002),
        ("long ping", frame(opcode::PING, true, &[0; 126]), 1002),
        ("nothing to continue", frame(opcode::CONTINUATION, true, b""), 1002),
        ("a message inside another", frame(opcode::TEXT, false, b"").repeat(2), 1002),
        ("a Close code that must not be sent", frame(opcode::CLOSE, true, &[3, 237]), 1002),
        ("half a Close code", frame(opcode::CLOSE, true, &[3]), 1002),
        ("not UTF-8", frame(opcode::TEXT, true, &[0xff]), 1007),
        ("not UTF-8 in a Close", frame(opcode::CLOSE, true, &[3, 232, 0xff]), 1007),
        ("too large", frame(opcode::TEXT, true, &[b'x'; 1025]), 1009),
        ("too large in fragments", fragments(2), 1009),
    ] {
        let (mut client, mut websocket) =
            over_tcp_with(Settings { max_message: 1024, ..SETTINGS }).await;
        client.send_bytes(&bytes).await.unwrap();
        let event = websocket.next().await.unwrap();
        assert!(
            matches!(event, Event::Violation { code: told, .. } if told == code),
            "{what}: {event:?}"
        );
        client.send_text("nobody reads this").await.unwrap();
        websocket.finish();
        let server = tokio::spawn(async move { to_the_end(&mut websocket).await });
        let Frame { opcode, payload, .. } = client.read_frame().await.unwrap();
        assert_eq!((opcode, &payload[..2]), (opcode::CLOSE, &u16::to_be_bytes(code)[..]), "{what}");
        assert_eq!(client.end().await.unwrap(), End::Fin, "{what}");
        drop(client);
        let told = server.await.unwrap();
        assert!(told.iter().all(|event| *event == Event::Written), "{what}: {told:?}");
    }
}

#[tokio::test]
async fn the_largest_message_is_taken() {
    let (mut client, mut websocket) =
        over_tcp_with(Settings { max_message: 1024, ..SETTINGS }).await;
    client.send_frame(opcode::TEXT, false, &[b'x'; 500]).await.unwrap();
    client.send_frame(opcode::CONTINUATION, true, &[b'x'; 524]).await.unwrap();
    client.send_text(&"y".repeat(1024)).await.unwrap();
    assert_eq!(websocket.next().await, Ok(Event::Text("x".repeat(1024))));
    assert_eq!(websocket.next().await, Ok(Event::Text("y".repeat(1024))));
}

#[tokio::test]
async fn unwritten_counts_every_byte_to_the_last() {
    let (mut client, mut websocket) = over_duplex(64);
    let mut expected = 0;
    for length in [0, 125, 126, 65_535, 65_536] {
        assert!(websocket.send("x".repeat(length)));
        expected += frame(opcode::TEXT, true, &vec![0; length]).len() as u64 - 4;
        assert_eq!(websocket.unwritten(), expected);
    }
    client.write_all(&frame(opcode::PING, true, b"12345")).await.unwrap();
    assert_eq!(ready_events(&mut websocket), [Event::Ping]);
    expected += 7;
    let mut read = 0;
    while read < expected {
        assert_eq!(websocket.unwritten(), expected - websocket.bytes_out());
        assert!(websocket.unwritten() > 0 || read + 64 >= expected);
        read += tokio::io::AsyncReadExt::read(&mut client, &mut [0; 64]).await.unwrap() as u64;
        let events = ready_events(&mut websocket);
        assert_eq!(
            events.is_empty(),
            websocket.unwritten() > 0,
            "Written is told once, at the end"
        );
        if websocket.unwritten() == 0 {
            break;
        }
    }
    assert_eq!(websocket.bytes_out(), expected);
}

#[tokio::test]
async fn a_peer_that_pings_and_does_not_read_is_not_read_from() {
    let (mut client, mut websocket) = over_duplex(1024);
    let pings = frame(opcode::PING, true, &[0; 125]).repeat(10_000);
    let flood = tokio::spawn(async move { client.write_all(&pings).await });
    for _ in 0..10_000 {
        ready_events(&mut websocket);
        yield_now().await;
    }
    assert!(!flood.is_finished());
    assert_eq!(websocket.pongs_queued, MAX_PONGS_QUEUED);
    flood.abort();
}

/// What a WebSocket does in one turn of a task.
async fn one_turn(websocket: &mut WebSocket<DuplexStream>) {
    let turn = poll_fn(|context| {
        let _more = websocket.poll_next(context);
        Poll::Ready(())
    });
    unconstrained(Turns::after_full(&BULK, turn)).await;
}

#[tokio::test]
async fn much_is_written_in_several_turns() {
    let (mut client, mut websocket) = over_duplex(8 << 20);
    let large = "x".repeat(2 << 20);
    assert!(websocket.send(large.clone()));
    let mut before = 0;
    while websocket.unwritten() > 0 {
        one_turn(&mut websocket).await;
        let written = websocket.bytes_out() - before;
        assert!((1..=WRITE as u64).contains(&written), "{written} bytes in a turn");
        before = websocket.bytes_out();
    }
    let mut head = [0; 10];
    client.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; large.len()];
    client.read_exact(&mut payload).await.unwrap();
    assert!(payload == large.as_bytes(), "whole, and in order");
}

#[tokio::test]
async fn much_is_read_in_several_turns_and_thrown_away_in_several() {
    let (mut client, mut websocket) = over_duplex(8 << 20);
    let flood = frame(opcode::TEXT, false, &vec![b'x'; 1 << 20]);
    client.write_all(&flood).await.unwrap();
    client.write_all(&frame(opcode::TEXT, true, b"x")).await.unwrap();
    client.write_all(&flood).await.unwrap();
    let mut turns = 0;
    let (all, most) = (2 * flood.len() as u64, (turns::FULL + READ) as u64);
    while websocket.bytes_in() < all {
        let before = websocket.bytes_in();
        one_turn(&mut websocket).await;
        let read = websocket.bytes_in() - before;
        assert!(read <= most, "{read} bytes in a turn");
        turns += 1;
    }
    assert!(turns > 16, "{turns}");
    assert_eq!(websocket.reading, Reading::Discarding, "a new message within another");
}

#[tokio::test]
async fn binary_is_text_if_it_can_be_unless_it_is_to_be_kept() {
    for (binary, expected) in [
        (Binary::TextIfUtf8, Event::Text("{}".to_owned())),
        (Binary::Kept, Event::Binary(b"{}".to_vec())),
    ] {
        let (mut client, mut websocket) = over_tcp_with(Settings { binary, ..SETTINGS }).await;
        client.send_frame(opcode::BINARY, true, b"{}").await.unwrap();
        assert_eq!(websocket.next().await, Ok(expected));
    }
}

#[tokio::test]
async fn a_close_that_cannot_be_sent_as_it_is_is_sent_as_it_can_be() {
    let long = "ü".repeat(80);
    for (code, reason, sent) in [
        (1012, "drained", close_frame(1012, "drained")),
        (1005, "", close_frame(1011, "")),
        (999, "", close_frame(1011, "")),
        (1016, "", close_frame(1011, "")),
        (4999, long.as_str(), close_frame(4999, &"ü".repeat(61))),
    ] {
        let (mut client, mut websocket) = over_tcp().await;
        assert!(websocket.close(code, reason));
        assert_eq!(websocket.written().await, Ok(Event::Written));
        assert_eq!(client.read_frame().await.unwrap(), sent);
        assert_eq!(can_be_sent(code), sent.payload.starts_with(&code.to_be_bytes()));
    }
}

#[tokio::test]
async fn finish_waits_for_what_is_queued() {
    let (mut client, mut websocket) = over_tcp().await;
    let large = "x".repeat(8 << 20);
    assert!(websocket.send(large.clone()));
    websocket.finish();
    assert_eq!(ready_events(&mut websocket), [], "more than the kernel takes at once");
    let server = tokio::spawn(async move { to_the_end(&mut websocket).await });
    assert_eq!(client.read_message().await.unwrap(), raw::Message::Text(large));
    assert_eq!(client.end().await.unwrap(), End::Fin);
    drop(client);
    assert_eq!(server.await.unwrap(), [Event::Written]);
}

#[tokio::test]
async fn a_reset_is_not_an_end_of_stream() {
    let (client, mut websocket) = over_tcp().await;
    client.socket().set_zero_linger().unwrap();
    drop(client);
    let lost = Err(Ending::Lost(io::ErrorKind::ConnectionReset));
    assert_eq!(websocket.next().await, lost);
    assert_eq!(websocket.next().await, lost, "so it stays");
}

#[tokio::test]
async fn what_was_agreed_on_is_compressed_from_the_threshold_on_and_no_more_than_can_be_waited_for()
{
    let (mut client, stream) = duplex(4 << 20);
    let agreed = negotiate(["permessage-deflate; server_max_window_bits=10"]);
    let mut websocket = WebSocket::new(stream, &[], SETTINGS, agreed);
    for (length, first) in [(63, 0x81), (64, 0xc1), (COMPRESS_TO, 0xc1), (COMPRESS_TO + 1, 0x81)] {
        assert!(websocket.send("x".repeat(length)));
        let queued = websocket.unwritten();
        assert_eq!(queued < length as u64, first == 0xc1, "{length}: {queued} bytes");
        assert_eq!(ready_events(&mut websocket), [Event::Written]);
        let mut sent = vec![0; usize::try_from(queued).unwrap()];
        client.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent[0], first, "{length}");
    }
    let deflated = Deflater::default().deflate(&[b'y'; 1000], 15).unwrap();
    let mut compressed = frame(opcode::TEXT, true, &deflated);
    compressed[0] |= 0x40;
    client.write_all(&compressed).await.unwrap();
    assert_eq!(ready_events(&mut websocket), [Event::Text("y".repeat(1000))]);
}

#[tokio::test]
async fn while_a_large_message_is_inflated_others_have_their_turns() {
    let (mut client, stream) = duplex(64 * 1024);
    let mut websocket = WebSocket::new(stream, &[], SETTINGS, negotiate(["permessage-deflate"]));
    let content = vec![b'y'; 1 << 20];
    let deflated = Deflater::default().deflate(&content, 15).unwrap();
    let mut compressed = frame(opcode::TEXT, true, &deflated);
    compressed[0] |= 0x40;
    // All of it comes at once, and something behind it.
    compressed.extend(frame(opcode::TEXT, true, b"next"));
    assert!(compressed.len() < READ);
    client.write_all(&compressed).await.unwrap();
    assert_eq!(ready_events(&mut websocket), [], "polled once, and dropped");
    assert!(websocket.mid_message() && websocket.half_read() > 8 * 1024);
    let turns = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counts.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
    });
    let text = String::from_utf8(content).unwrap();
    assert_eq!(websocket.next().await, Ok(Event::Text(text)));
    assert!(turns.load(Ordering::Relaxed) > 8, "{turns:?}");
    other.abort();
    assert_eq!(websocket.next().await, Ok(Event::Text("next".to_owned())));
    assert!(!websocket.mid_message());
}

/// As TLS does.
#[tokio::test]
async fn what_a_stream_holds_back_is_not_written_yet() {
    let (mut client, stream) = duplex(4096);
    let mut websocket = WebSocket::new(BufStream::new(stream), &[], SETTINGS, None);
    assert!(websocket.send("answer".to_owned()));
    assert_eq!(ready_events(&mut websocket), [Event::Written]);
    let mut sent = [0; 8];
    let read = timeout(Duration::from_secs(5), client.read_exact(&mut sent)).await;
    assert_eq!(read.unwrap().unwrap(), 8);
}

#[tokio::test]
async fn nothing_is_compressed_that_was_not_agreed_on() {
    let (mut client, mut websocket) = over_duplex(4 << 20);
    assert!(websocket.send("x".repeat(1000)));
    assert_eq!(ready_events(&mut websocket), [Event::Written]);
    let mut first = [0];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(first, [0x81]);
}

fn over_duplex(buffer: usize) -> (DuplexStream, WebSocket<DuplexStream>) {
    let (client, server) = duplex(buffer);
    (client, WebSocket::new(server, &[], SETTINGS, None))
}

async fn over_tcp() -> (RawClient, WebSocket<TcpStream>) {
    over_tcp_with(SETTINGS).await
}

async fn over_tcp_with(settings: Settings) -> (RawClient, WebSocket<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let client = RawClient::without_handshake(client).unwrap();
    (client, WebSocket::new(server, &[], settings, None))
}

/// What `next` tells without waiting; every wait is dropped.
fn ready_events<S: AsyncRead + AsyncWrite + Unpin>(websocket: &mut WebSocket<S>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    // Unconstrained: tokio's budget would make a stream that is ready pretend that it is not.
    while let Poll::Ready(Ok(event)) = pin!(unconstrained(websocket.next())).poll(&mut context) {
        events.push(event);
    }
    events
}

async fn to_the_end<S: AsyncRead + AsyncWrite + Unpin>(websocket: &mut WebSocket<S>) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match websocket.next().await {
            Ok(event) => events.push(event),
            Err(ending) => {
                assert_eq!(ending, Ending::Eof);
                return events;
            }
        }
    }
}

fn close_frame(code: u16, reason: &str) -> Frame {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    Frame { opcode: opcode::CLOSE, fin: true, payload }
}
