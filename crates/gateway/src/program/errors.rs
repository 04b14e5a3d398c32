//! A program's stderr, line by line into the log. It is read as fast as it comes, so that the
//! program never waits for us; a line of any length is logged in pieces of a bounded one.

use std::collections::VecDeque;

use memchr::memchr;

/// The longest piece of a line that is logged at once, in bytes.
const LONGEST: usize = 4096;

/// What has come of a line that has not ended.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    part: Vec<u8>,
}

impl Lines {
    /// Takes bytes, and adds the lines that are whole now or long enough to be told.
    pub(crate) fn take(&mut self, mut bytes: &[u8], lines: &mut VecDeque<String>) {
        while !bytes.is_empty() {
            let room = LONGEST - self.part.len();
            let window = &bytes[..bytes.len().min(room)];
            let (piece, used, whole) = match memchr(b'\n', window) {
                Some(end) => (&window[..end], end + 1, true),
                None => (window, window.len(), window.len() == room),
            };
            self.part.extend_from_slice(piece);
            bytes = &bytes[used..];
            if whole {
                lines.extend(self.end());
            }
        }
    }

    /// What is left of a line that will not end.
    pub(crate) fn end(&mut self) -> Option<String> {
        let part = std::mem::take(&mut self.part);
        let text = String::from_utf8_lossy(&part);
        let text = text.strip_suffix('\r').unwrap_or(&text);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_whole_and_long_ones_in_pieces() {
        let mut lines = Lines::default();
        let mut told = VecDeque::new();
        lines.take(b"one\r\ntw", &mut told);
        lines.take(b"o\n\n", &mut told);
        assert_eq!(told, ["one", "two"]);
        told.clear();
        let long = vec![b'x'; 10_000];
        for piece in long.chunks(300) {
            lines.take(piece, &mut told);
        }
        told.extend(lines.end());
        assert_eq!(told.iter().map(String::len).collect::<Vec<_>>(), [4096, 4096, 1808]);
        assert_eq!(lines.end(), None);
    }
}
