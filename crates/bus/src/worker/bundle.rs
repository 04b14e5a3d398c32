//! How answers are cut and joined to bodies: small ones share a body, a large one is sent in
//! slices. Byte for byte what OpenSRF's C services do, except that no slice ends inside a
//! UTF-8 character.

/// A body is sent before its messages would pass this many bytes.
const BUNDLE_BYTES: usize = 25_600;
/// A content whose size, with [`xml_growth`], is larger than this is sent in slices.
const CHUNK_BYTES: usize = 51_200;
/// The most that XML escaping adds to one byte, by OpenSRF's reckoning.
const MOST_GROWTH: usize = 11;

/// Messages that wait to share a body.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    messages: String,
}

impl Bundle {
    /// Adds a message. A body that has no room left for it is returned, to be sent first.
    pub(super) fn push(&mut self, message: &str) -> Option<String> {
        let full = self.messages.len() + message.len() > BUNDLE_BYTES;
        let sent = if full { self.take() } else { None };
        if !self.messages.is_empty() {
            self.messages.push(',');
        }
        self.messages.push_str(message);
        sent
    }

    /// The body of all that waits, if anything does.
    pub(super) fn take(&mut self) -> Option<String> {
        let messages = std::mem::take(&mut self.messages);
        (!messages.is_empty()).then(|| super::text::body(&messages))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// The slices that a result with this content must be sent in; `None` if it is small enough to
/// be sent whole. The slices shrink as much as XML escaping would make the text grow.
pub(super) fn slices(content: &str) -> Option<Slices<'_>> {
    if content.len() <= CHUNK_BYTES / (1 + MOST_GROWTH) {
        return None;
    }
    let grown = content.len() + xml_growth(content);
    (grown > CHUNK_BYTES).then(|| Slices {
        rest: content,
        // In u128 the product cannot overflow; the quotient is at most CHUNK_BYTES.
        bytes: (CHUNK_BYTES as u128 * content.len() as u128 / grown as u128) as usize,
    })
}

/// See [`slices`].
#[derive(Debug)]
pub(super) struct Slices<'a> {
    rest: &'a str,
    bytes: usize,
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let mut end = self.bytes.min(self.rest.len());
        while !self.rest.is_char_boundary(end) {
            end -= 1;
        }
        let (slice, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(slice)
    }
}

/// What OpenSRF reckons that XML escaping adds to a text: 3 for `<` and `>`, 4 for `&`, 11 for
/// `"` (which is escaped once for JSON and once for XML).
fn xml_growth(text: &str) -> usize {
    // Counts of one byte are made by many bytes at once.
    let pieces = text.as_bytes().chunks(4_096).map(|piece| {
        let count = |byte| piece.iter().filter(|each| **each == byte).count();
        3 * (count(b'<') + count(b'>')) + 4 * count(b'&') + MOST_GROWTH * count(b'"')
    });
    pieces.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_results_share_a_body_up_to_the_limit() {
        let message = "m".repeat(4_180);
        let mut bundle = Bundle::default();
        let sent: Vec<usize> =
            (0..14).filter_map(|_| bundle.push(&message)).map(|body| body.len()).collect();
        let six = 6 * 4_180 + 5 + 2;
        assert_eq!(sent, [six, six]);
        assert_eq!(bundle.take().map(|body| body.len()), Some(2 * 4_180 + 1 + 2));
        assert_eq!(bundle.take(), None);
    }

    #[test]
    fn a_message_over_the_limit_is_alone_in_its_body() {
        let (small, large) = ("s".to_owned(), "l".repeat(30_000));
        let mut bundle = Bundle::default();
        assert_eq!(bundle.push(&small), None);
        assert_eq!(bundle.push(&large), Some("[s]".to_owned()));
        assert_eq!(bundle.push(&small), Some(format!("[{large}]")));
        assert_eq!(bundle.take(), Some("[s]".to_owned()));
    }

    /// Lengths as captured from a C service echoing a 60,000 byte string.
    #[test]
    fn plain_text_is_sliced_as_a_c_service_does() {
        let content = format!("\"{}\"", "0123456789".repeat(6_000));
        assert_eq!(lengths(&content), [51_181, 8_821]);
    }

    /// Lengths as captured from a C service echoing text full of characters that XML escapes.
    #[test]
    fn text_that_grows_in_xml_gets_smaller_slices() {
        let content = format!("\"{}\"", r#"a\u00e9\u20ac<&>\"'\\\n"#.repeat(2_500));
        assert_eq!(content.len(), 57_502);
        assert_eq!(lengths(&content), [26_758, 26_758, 3_986]);
    }

    #[test]
    fn a_slice_never_ends_inside_a_character() {
        for shift in 0..4 {
            let content = format!("\"{}{}\"", "x".repeat(shift), "\u{1f600}".repeat(40_000));
            let slices: Vec<&str> = slices(&content).expect("large").collect();
            assert_eq!(slices.concat(), content);
            assert!(slices.iter().all(|slice| slice.len() <= CHUNK_BYTES));
        }
    }

    #[test]
    fn what_is_small_enough_is_not_sliced() {
        assert!(slices(&format!("\"{}\"", "x".repeat(CHUNK_BYTES - 24))).is_none());
        assert!(slices(&format!("\"{}\"", "x".repeat(CHUNK_BYTES - 23))).is_some());
        assert!(slices("null").is_none());
        assert!(slices("").is_none());
    }

    fn lengths(content: &str) -> Vec<usize> {
        slices(content).expect("large").map(str::len).collect()
    }
}
