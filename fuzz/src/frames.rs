//! What a client sends on its WebSocket.

use slackwater_core::websocket::{Inflater, Message, Reader, Violation};

/// The largest message taken, in bytes.
const MAX: usize = 4 << 10;

/// What is understood depends on the bytes alone and not on the pieces in which they come; no
/// message is larger than allowed, deflated or not, and what is held has come.
pub fn websocket(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first() else { return };
    let mut inflater = Inflater::default();
    let mut whole = Reader::new(MAX, true);
    let understood = read(&mut whole, bytes, &mut inflater);

    let mut cut = Reader::new(MAX, true);
    let mut messages = Vec::new();
    let mut violation = None;
    let mut rest = bytes;
    let mut size = usize::from(*seed) % 17 + 1;
    while !rest.is_empty() && violation.is_none() {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        let (more, wrong) = read(&mut cut, piece, &mut inflater);
        messages.extend(more);
        violation = wrong;
        assert!(violation.is_some() || cut.held() <= bytes.len() - behind.len());
        rest = behind;
        size = size * 7 % 31 + 1;
    }
    for message in &messages {
        let length = match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
            Message::Close { reason, .. } => reason.len(),
        };
        assert!(length <= MAX, "{length} bytes");
    }
    if violation.is_none() && understood.1.is_none() {
        assert_eq!(cut.mid_message(), whole.mid_message());
        assert_eq!(cut.held(), whole.held());
    }
    assert_eq!((messages, violation), understood);
}

fn read(
    reader: &mut Reader,
    mut bytes: &[u8],
    inflater: &mut Inflater,
) -> (Vec<Message>, Option<Violation>) {
    let mut messages = Vec::new();
    loop {
        match reader.read(&mut bytes, inflater) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) if reader.is_inflating() => {}
            Ok(None) => {
                assert!(bytes.is_empty(), "what is no message yet is taken whole");
                return (messages, None);
            }
            Err(violation) => return (messages, Some(violation)),
        }
    }
}
