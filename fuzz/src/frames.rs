//! Where WebSocket frames end.

use slackwater::front::boundary::Boundary;

/// The answer depends on the bytes alone and not on the pieces in which they come.
pub fn boundary(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first() else { return };
    let mut whole = Boundary::default();
    whole.feed(bytes);

    let mut pieces = Boundary::default();
    let mut rest = bytes;
    let mut size = usize::from(*seed) % 17 + 1;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        let before = pieces.messages();
        pieces.feed(piece);
        assert!(pieces.messages() - before <= piece.len() as u64, "a message has bytes");
        rest = behind;
        size = size * 7 % 31 + 1;
    }
    assert_eq!(pieces.messages(), whole.messages());
    assert_eq!(pieces.mid_message(), whole.mid_message());
}
