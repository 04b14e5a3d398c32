use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// As a client sends it; its header is written here anew, and not by the code under test.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

const TEXT: u8 = 0x81;
const CONTINUED: u8 = 0x80;
const FIRST_OF_TEXT: u8 = 0x01;
const COMPRESSED_TEXT: u8 = 0xC1;

/// Bytes without any order in them (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    (any::<u64>(), 0..longest).prop_map(|(seed, length)| noise(seed, length))
}

/// All messages in these bytes, which come in pieces of these lengths, in turn.
fn read(reader: &mut Reader, bytes: &[u8], pieces: &[usize]) -> Result<Vec<Message>, Violation> {
    let mut inflater = Inflater::default();
    let mut messages = Vec::new();
    let mut rest = bytes;
    for length in pieces.iter().cycle() {
        let (mut piece, behind) =
            rest.split_at((*length).clamp(1, rest.len().max(1)).min(rest.len()));
        loop {
            match reader.read(&mut piece, &mut inflater)? {
                Some(message) => messages.push(message),
                None if reader.is_inflating() => {}
                None => break,
            }
        }
        assert!(piece.is_empty(), "what is no message yet is taken whole");
        if behind.is_empty() {
            break;
        }
        rest = behind;
    }
    Ok(messages)
}

fn read_whole(bytes: &[u8], inflates: bool) -> Result<Vec<Message>, Violation> {
    read(&mut Reader::new(1 << 20, inflates), bytes, &[usize::MAX])
}

fn code(bytes: &[u8], inflates: bool) -> u16 {
    read_whole(bytes, inflates).unwrap_err().code
}

fn text(text: &str) -> Message {
    Message::Text(text.to_owned())
}

/// A message, and the frames in which a client might send it.
fn message() -> impl Strategy<Value = (Message, Vec<u8>)> {
    let fragmented = (".{0,300}", vec(0_usize..300, 0..4), any::<bool>()).prop_map(
        |(content, cuts, compressed)| {
            let payload = if compressed && !content.is_empty() {
                Deflater::default().deflate(content.as_bytes(), 15)
            } else {
                None
            };
            let bit = if payload.is_some() { COMPRESSED } else { 0 };
            let payload = payload.unwrap_or_else(|| content.clone().into_bytes());
            let mut cuts: Vec<_> = cuts.iter().map(|cut| *cut.min(&payload.len())).collect();
            cuts.extend([0, payload.len()]);
            cuts.sort_unstable();
            let mut bytes = Vec::new();
            let last = cuts.len() - 2;
            for (number, cut) in cuts.windows(2).enumerate() {
                let first = if number == 0 { 0x1 | bit } else { 0 };
                let last = if number == last { FINAL } else { 0 };
                bytes.extend(frame(first | last, &payload[cut[0]..cut[1]]));
            }
            (Message::Text(content), bytes)
        },
    );
    prop_oneof![
        4 => fragmented,
        1 => bytes(70_000)
            .prop_map(|bytes| (Message::Binary(bytes.clone()), frame(0x82, &bytes))),
        1 => vec(any::<u8>(), 0..=MAX_CONTROL)
            .prop_map(|bytes| (Message::Ping(bytes.clone()), frame(0x89, &bytes))),
        1 => vec(any::<u8>(), 0..=MAX_CONTROL)
            .prop_map(|bytes| (Message::Pong(bytes.clone()), frame(0x8A, &bytes))),
    ]
}

proptest! {
    #[test]
    fn the_pieces_in_which_bytes_come_mean_nothing(
        sent in vec(message(), 1..5),
        pieces in vec(1_usize..5_000, 1..8),
    ) {
        let (messages, bytes): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        let mut reader = Reader::new(1 << 20, true);
        prop_assert_eq!(read(&mut reader, &bytes.concat(), &pieces), Ok(messages));
        prop_assert!(!reader.mid_message());
        prop_assert_eq!(reader.held(), 0);
    }

    #[test]
    fn what_is_written_is_one_frame_a_message_and_then_nothing_is_held(
        payloads in vec(bytes(70_000), 1..6),
        takes in vec(1_usize..30_000, 1..6),
    ) {
        let mut writer = Writer::default();
        let mut expected = Vec::new();
        for payload in &payloads {
            writer.data(Opcode::Binary, payload.clone(), false);
            // Masked with nothing, without its mask: what a server sends.
            let mut sent = frame(0x82, payload);
            sent[1] &= !MASKED;
            let header = sent.len() - payload.len() - 4;
            sent.truncate(header);
            expected.extend(sent);
            expected.extend(payload);
        }
        let mut written = Vec::new();
        for take in takes.iter().cycle() {
            prop_assert_eq!(writer.waiting(), (expected.len() - written.len()) as u64);
            let Some(piece) = writer.pieces().next() else { break };
            let taken = (*take).min(piece.len());
            written.extend_from_slice(&piece[..taken]);
            writer.take(taken);
        }
        prop_assert_eq!(written, expected);
        prop_assert_eq!(writer.waiting(), 0);
    }

    #[test]
    fn a_message_is_the_same_deflated_and_inflated(
        content in ".{0,3000}",
        repeated in 1_usize..20,
        window in 8_u8..=15,
    ) {
        let content = content.repeat(repeated);
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        // A second time: nothing is left of the first.
        for _ in 0..2 {
            if let Some(deflated) = deflater.deflate(content.as_bytes(), window) {
                prop_assert!(deflated.len() < content.len());
                let again = inflater.inflate(&deflated, content.len());
                prop_assert_eq!(again.as_deref(), Ok(content.as_bytes()));
                let short = inflater.inflate(&deflated, content.len() - 1);
                prop_assert_eq!(short, Err(Undone::TooBig));
            }
        }
    }

    #[test]
    fn whatever_comes_is_a_message_or_a_violation(
        bytes in vec(any::<u8>(), 0..300),
        pieces in vec(1_usize..300, 1..4),
    ) {
        let mut whole = Reader::new(1_000, true);
        let mut cut = Reader::new(1_000, true);
        let once = read(&mut whole, &bytes, &[usize::MAX]);
        prop_assert_eq!(once.is_ok(), read(&mut cut, &bytes, &pieces).is_ok());
    }
}

/// RFC 7692 §7.2.3.
#[test]
fn the_examples_of_the_rfc_are_understood() {
    for (what, deflated) in [
        ("one block", &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..]),
        ("no compression", b"\x00\x05\x00\xfa\xffHello\x00"),
        ("a final block", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
        ("two blocks", b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
    ] {
        let read = read_whole(&frame(COMPRESSED_TEXT, deflated), true);
        assert_eq!(read, Ok(vec![text("Hello")]), "{what}");
    }
    let fragments =
        [frame(COMPRESSED_TEXT & !FINAL, b"\xf2\x48\xcd"), frame(CONTINUED, b"\xc9\xc9\x07\x00")];
    assert_eq!(read_whole(&fragments.concat(), true), Ok(vec![text("Hello")]));
    let empty = read_whole(&frame(COMPRESSED_TEXT, b"\x00"), true);
    assert_eq!(empty, Ok(vec![text("")]), "§7.2.3.6");
}

#[test]
fn compression_where_it_does_not_belong_is_a_violation() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(code(&frame(COMPRESSED_TEXT, hello), false), 1002, "not agreed on");
    assert_eq!(code(&frame(0x89 | COMPRESSED, b""), true), 1002, "a ping");
    let second = [
        frame(COMPRESSED_TEXT & !FINAL, b"\xf2\x48\xcd"),
        frame(CONTINUED | COMPRESSED, b"\xc9\xc9\x07\x00"),
    ];
    assert_eq!(code(&second.concat(), true), 1002, "a later frame");
    assert_eq!(code(&frame(TEXT | 0x20, b""), true), 1002, "another bit");
    for broken in [&b"\xff\xff\xff\xff"[..], b"\xf3\x48\xcd\xc9\xc9\x07\x00\xff"] {
        assert_eq!(code(&frame(COMPRESSED_TEXT, broken), true), 1007, "{broken:x?}");
    }
    let not_utf8 = Deflater::default().deflate(&[0xff; 200], 15).unwrap();
    assert_eq!(code(&frame(COMPRESSED_TEXT, &not_utf8), true), 1007);
}

#[test]
fn a_bomb_is_too_big_and_makes_no_more_room_than_a_message_may_have() {
    let deflated = Deflater::default().deflate(&vec![b'x'; 50 << 20], 15).unwrap();
    assert!(deflated.len() < 1 << 20, "it fits as it comes");
    assert_eq!(code(&frame(COMPRESSED_TEXT, &deflated), true), 1009);
    let inflated = Inflater::default().inflate(&deflated, 50 << 20).unwrap();
    assert_eq!(inflated.capacity(), 50 << 20);
}

#[test]
fn a_large_message_is_inflated_in_pieces() {
    let content = "tide ".repeat(1 << 17);
    let deflated = Deflater::default().deflate(content.as_bytes(), 15).unwrap();
    let bytes = [frame(COMPRESSED_TEXT, &deflated), frame(TEXT, b"next")].concat();
    let mut other = Deflater::default().deflate(&[b'x'; 300], 15).unwrap();
    other = frame(COMPRESSED_TEXT, &other);
    let (mut reader, mut inflater) = (Reader::new(1 << 20, true), Inflater::default());
    let (mut rest, mut pieces) = (&bytes[..], 0);
    let whole = loop {
        if let Some(message) = reader.read(&mut rest, &mut inflater).unwrap() {
            break message;
        }
        pieces += 1;
        assert!(reader.is_inflating() && reader.mid_message() && reader.held() > deflated.len());
        // The same inflater serves another meanwhile.
        let mut between = Reader::new(1 << 20, true);
        let served = between.read(&mut &other[..], &mut inflater).unwrap();
        assert_eq!(served, Some(text(&"x".repeat(300))));
    };
    assert_eq!((whole, reader.is_inflating()), (text(&content), false));
    assert!(pieces >= content.len() / (128 * 1024), "{pieces}");
    assert_eq!(reader.read(&mut rest, &mut inflater).unwrap(), Some(text("next")));
}

#[test]
fn nothing_refers_further_back_than_the_client_can_look() {
    let message = [noise(1, 20), noise(1, 20), noise(2, 88)].concat().repeat(300);
    for window in 8..15 {
        let whole = Deflater::default().deflate(&message, window).unwrap();
        // Each piece as if there had been none before it.
        let pieces = message.chunks(1 << window).map(|piece| {
            [Deflater::default().deflate(piece, 15).unwrap(), vec![0, 0, 0xff, 0xff]].concat()
        });
        let pieces = pieces.collect::<Vec<_>>().concat();
        assert_eq!(whole, pieces[..pieces.len() - 4], "{window}");
    }
}

#[test]
fn what_does_not_get_smaller_goes_as_it_is() {
    let mut deflater = Deflater::default();
    assert_eq!(deflater.deflate(b"", 15), None);
    assert_eq!(deflater.deflate(b"x", 15), None);
    assert_eq!(deflater.deflate(&noise(1, 4_000), 15), None);
}

#[test]
fn room_is_made_for_what_has_come_and_not_for_what_is_announced() {
    let mut reader = Reader::new(1 << 30, false);
    let mut bytes = vec![TEXT, 0xff];
    bytes.extend((1_u64 << 29).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([b'x'; 10]);
    assert_eq!(read(&mut reader, &bytes, &[usize::MAX]), Ok(vec![]));
    assert_eq!(reader.held(), 10);
    let mut begun = Reader::new(1 << 20, false);
    assert_eq!(read(&mut begun, &[TEXT], &[usize::MAX]), Ok(vec![]));
    assert!(begun.mid_message() && begun.held() == 1, "a header is half there");
    assert!(reader.room() <= 16 * 1024);
    let mut bytes = vec![TEXT, 0xff];
    bytes.extend((1_u64 << 63).to_be_bytes());
    bytes.extend([0; 4]);
    assert_eq!(code(&bytes, false), 1009);
}

#[test]
fn a_text_that_goes_wrong_is_refused_at_that_byte() {
    let good = "ä€😀".as_bytes();
    for cut in 0..=good.len() {
        let mut reader = Reader::new(1 << 20, false);
        let first = frame(FIRST_OF_TEXT, &good[..cut]);
        assert_eq!(
            read(&mut reader, &first, &[usize::MAX]),
            Ok(vec![]),
            "half a character at {cut}"
        );
        let bad = frame(0, b"\xff");
        assert_eq!(read(&mut reader, &bad, &[usize::MAX]).unwrap_err().code, 1007, "{cut}");
    }
    let unfinished = frame(TEXT, &good[..1]);
    assert_eq!(code(&unfinished, false), 1007);
}

#[test]
fn offers_are_taken_that_can_be_kept_to_the_letter() {
    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let with_window = |bits| format!("{BOTH}; server_max_window_bits={bits}");
    for (offers, answer) in [
        (&["permessage-deflate"][..], Some(BOTH.to_owned())),
        (&["permessage-deflate; client_max_window_bits"], Some(BOTH.to_owned())),
        (&["permessage-deflate; client_max_window_bits=15"], Some(BOTH.to_owned())),
        (&["permessage-deflate;server_no_context_takeover"], Some(BOTH.to_owned())),
        (&["permessage-deflate; server_max_window_bits=9"], Some(with_window(9))),
        (&["permessage-deflate; server_max_window_bits=\"12\""], Some(with_window(12))),
        (&["permessage-deflate; server_max_window_bits=15"], Some(with_window(15))),
        (&["permessage-deflate; server_max_window_bits=8"], Some(with_window(8))),
        // The next offer is looked at.
        (
            &["permessage-deflate; server_max_window_bits=7, permessage-deflate"],
            Some(BOTH.to_owned()),
        ),
        (&["x-webkit-deflate-frame", "permessage-deflate"], Some(BOTH.to_owned())),
        (&["permessage-deflate; server_max_window_bits"], None),
        (&["permessage-deflate; server_max_window_bits=16"], None),
        (&["permessage-deflate; server_max_window_bits=010"], None),
        (&["permessage-deflate; client_max_window_bits=7"], None),
        (&["permessage-deflate; server_no_context_takeover=1"], None),
        (&["permessage-deflate; something_else"], None),
        (&["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
        (&["permessage-bzip2"], None),
        (&["", ";", ","], None),
        (&[], None),
    ] {
        let agreed = negotiate(offers.iter().copied());
        assert_eq!(agreed.map(|agreed| agreed.header()), answer, "{offers:?}");
    }
}

#[test]
fn of_messages_that_are_skipped_nothing_is_held_and_the_close_is_found_behind_them() {
    for (first, before) in
        [(FIRST_OF_TEXT, 6_000), (COMPRESSED_TEXT & 0x7f, 6_000), (FIRST_OF_TEXT, 0)]
    {
        let mut sent = frame(first, &[b'x'; 10_000]);
        sent.extend(frame(0x89, b"ping"));
        sent.extend(frame(CONTINUED, &[0xff; 14_000]));
        sent.extend(frame(TEXT, b"not told"));
        sent.extend(frame(0x88, b"\x03\xe8"));
        for pieces in [1, 7, 4_096] {
            let mut reader = Reader::new(15_000, true);
            let begun = read(&mut reader, &sent[..before], &[pieces]);
            assert!(begun.is_ok_and(|messages| messages.is_empty()));
            reader.skip_messages();
            assert!(reader.held() <= 14 && reader.room() == 0);
            let rest = read(&mut reader, &sent[before..], &[pieces]).expect("nothing is wrong");
            let close = Message::Close { code: Some(1000), reason: String::new() };
            assert_eq!(rest, [Message::Ping(b"ping".to_vec()), close]);
            assert!(reader.held() == 0 && reader.room() == 0);
        }
    }
}
