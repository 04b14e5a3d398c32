//! Lines in, lines out. Pure.
//!
//! Law: a line of any length is read to its end; of one that is longer than there is use for, only so
//! much is kept that whoever reads it sees that it is too long.

use std::collections::VecDeque;

use memchr::memchr;

/// Cuts a stream into lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// The most bytes of a line that are kept.
    most: usize,
    part: Vec<u8>,
    /// Whether a line has begun.
    begun: bool,
}

impl Lines {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, part: Vec::new(), begun: false }
    }

    /// Whether part of a line has come.
    pub(super) const fn is_amid(&self) -> bool {
        self.begun
    }

    /// Takes what was read, and adds the lines that are whole now.
    pub(super) fn take(&mut self, mut bytes: &[u8], lines: &mut VecDeque<Vec<u8>>) {
        while let Some(end) = memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            lines.extend(self.end());
        }
        self.keep(bytes);
    }

    /// The line that has come so far, as the last one.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        self.begun = false;
        let mut line = std::mem::take(&mut self.part);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        (!line.is_empty()).then_some(line)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.begun |= !bytes.is_empty();
        let room = self.most.saturating_sub(self.part.len());
        self.part.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// A reply as a line. Between the values of a JSON text, a line break means no more than a space.
pub(super) fn line(reply: String) -> Vec<u8> {
    let mut bytes = reply.into_bytes();
    bytes.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_long_ones_are_cut_short() {
        let mut lines = Lines::new(5);
        let mut told = VecDeque::new();
        for piece in [&b"one\r\n\ntw"[..], b"o\nsix", b"ty-si", b"x\nlast"] {
            lines.take(piece, &mut told);
        }
        assert!(lines.is_amid());
        told.extend(lines.end());
        assert_eq!(told, [&b"one"[..], b"two", b"sixty", b"last"]);
        assert!(!lines.is_amid());
    }

    #[test]
    fn a_reply_is_one_line() {
        assert_eq!(line("{\n\"a\": 1\r\n}".to_owned()), b"{ \"a\": 1  }\n");
    }
}
