//! Where the frames of a byte stream begin and end, and nothing else about them.
//!
//! Law: what is followed is only counted, never judged. Any bytes may be fed, in any pieces, and
//! the answer depends on the bytes alone. Whether a frame is legal is the codec's business; after
//! an illegal one the answers mean nothing, and nobody asks.

/// Follows the frame headers of one direction of a WebSocket (RFC 6455 §5.2).
#[derive(Debug, Default)]
pub struct Boundary {
    header: [u8; LONGEST_HEADER],
    /// Bytes of the current header seen so far; 0 between frames.
    seen: usize,
    /// Bytes of mask and payload still to come; meaningful once the header is complete.
    remaining: u64,
    /// A data message has begun and its final frame has not ended.
    fragmented: bool,
    messages: u64,
}

/// Two bytes, and eight of extended length. The masking key counts with the payload.
const LONGEST_HEADER: usize = 10;
const MASKING_KEY: u64 = 4;

impl Boundary {
    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if self.in_payload() {
                let skipped =
                    usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len());
                self.remaining -= skipped as u64;
                bytes = &bytes[skipped..];
            } else {
                self.header[self.seen] = first;
                self.seen += 1;
                bytes = &bytes[1..];
                if self.in_payload() {
                    self.remaining = self.length_behind_header();
                }
            }
            if self.in_payload() && self.remaining == 0 {
                self.end_frame();
            }
        }
    }

    /// Whether the stream stands inside a frame, or between the fragments of a message.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        self.seen > 0 || self.fragmented
    }

    /// Messages that have ended: control frames, and data messages with all their fragments.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    fn in_payload(&self) -> bool {
        self.seen >= 2 && self.seen == self.header_length()
    }

    fn header_length(&self) -> usize {
        match self.header[1] & 0x7f {
            126 => 4,
            127 => LONGEST_HEADER,
            _ => 2,
        }
    }

    fn length_behind_header(&self) -> u64 {
        let [_, second, extended @ ..] = self.header;
        let payload = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([extended[0], extended[1]])),
            127 => u64::from_be_bytes(extended),
            short => u64::from(short),
        };
        let masked = second & 0x80 != 0;
        payload.saturating_add(if masked { MASKING_KEY } else { 0 })
    }

    fn end_frame(&mut self) {
        let last = self.header[0] & 0x80 != 0;
        let control = self.header[0] & 0x08 != 0;
        if control {
            self.messages += 1;
        } else {
            self.fragmented = !last;
            self.messages += u64::from(last);
        }
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fragmented_message_ends_with_its_last_fragment_and_not_with_a_ping_between() {
        let mut boundary = Boundary::default();
        boundary.feed(&frame(0x1, false, true, 3));
        assert!(boundary.mid_message());
        boundary.feed(&frame(0x9, true, true, 0));
        assert!(boundary.mid_message());
        assert_eq!(boundary.messages(), 1);
        boundary.feed(&frame(0x0, true, true, 0));
        assert!(!boundary.mid_message());
        assert_eq!(boundary.messages(), 2);
    }

    #[test]
    fn the_longest_length_that_a_header_can_name_does_not_overflow() {
        let mut boundary = Boundary::default();
        boundary.feed(&[0x82, 0xff]);
        boundary.feed(&[0xff; 8]);
        boundary.feed(&[0; 100]);
        assert!(boundary.mid_message());
        assert_eq!(boundary.messages(), 0);
    }

    #[test]
    fn each_way_of_writing_the_length_is_understood() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            for masked in [false, true] {
                let mut boundary = Boundary::default();
                let frame = frame(0x2, true, masked, length);
                boundary.feed(&frame[..frame.len() - 1]);
                assert!(boundary.mid_message(), "{length} {masked}");
                boundary.feed(&frame[frame.len() - 1..]);
                assert!(!boundary.mid_message(), "{length} {masked}");
                assert_eq!(boundary.messages(), 1);
            }
        }
    }

    proptest! {
        #[test]
        fn the_answer_depends_on_the_bytes_and_not_on_the_cuts(
            frames in prop::collection::vec(
                (0u8..16, any::<bool>(), any::<bool>(), prop_oneof![0usize..4, 124usize..130]),
                1..6,
            ),
        ) {
            let mut bytes = Vec::new();
            // What is so after each number of bytes: inside a message, and messages ended.
            let mut expected = vec![(false, 0)];
            let mut ended = 0;
            let mut fragmented = false;
            for (opcode, last, masked, length) in frames {
                let frame = frame(opcode, last, masked, length);
                expected.extend((1..frame.len()).map(|_| (true, ended)));
                bytes.extend(frame);
                if opcode >= 8 {
                    ended += 1;
                } else {
                    fragmented = !last;
                    ended += u64::from(last);
                }
                expected.push((fragmented, ended));
            }
            for (cut, so_far) in expected.iter().enumerate() {
                let mut boundary = Boundary::default();
                boundary.feed(&bytes[..cut]);
                prop_assert_eq!((boundary.mid_message(), boundary.messages()), *so_far);
                boundary.feed(&bytes[cut..]);
                prop_assert_eq!((boundary.mid_message(), boundary.messages()), (fragmented, ended));
            }
        }
    }

    fn frame(opcode: u8, last: bool, masked: bool, length: usize) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut frame = vec![opcode | if last { 0x80 } else { 0 }];
        match length {
            0..=125 => frame.push(mask_bit | length as u8),
            126..=65_535 => {
                frame.push(mask_bit | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask_bit | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + length + if masked { 4 } else { 0 }, 0xff);
        frame
    }
}
