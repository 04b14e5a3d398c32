//! What is to be sent to a client, as frames (RFC 6455 §5.2).
//!
//! Law: one frame a message, since some clients know no fragments. Nothing is held once all has
//! been taken.

use std::collections::VecDeque;

use super::{COMPRESSED, FINAL, MAX_CONTROL, Opcode};

/// The frames that wait.
#[derive(Debug, Default)]
pub struct Writer {
    /// What goes first, of which `taken` bytes have gone. Never empty while there is anything.
    first: Vec<u8>,
    taken: usize,
    behind: VecDeque<Vec<u8>>,
    bytes: u64,
}

/// A payload of more than this is not copied behind its header.
const COPIED: usize = 4 * 1024;

/// Frames are put together up to this.
const TOGETHER: usize = 16 * 1024;

impl Writer {
    /// Queues a message of text or bytes.
    pub fn data(&mut self, opcode: Opcode, payload: Vec<u8>, compressed: bool) {
        self.frame(opcode, payload, if compressed { COMPRESSED } else { 0 });
    }

    /// Queues a control frame. Of its payload the first 125 bytes are sent.
    pub fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        self.frame(opcode, payload[..payload.len().min(MAX_CONTROL)].to_vec(), 0);
    }

    /// Bytes that were queued and not taken.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.bytes
    }

    /// What is to be sent next, in pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first.get(self.taken..).filter(|first| !first.is_empty());
        first.into_iter().chain(self.behind.iter().map(Vec::as_slice))
    }

    /// So many bytes of them have been sent. More than there are is all of them.
    pub fn take(&mut self, mut count: usize) {
        loop {
            let here = self.first.len() - self.taken;
            if count < here {
                self.taken += count;
                self.bytes -= count as u64;
                return;
            }
            count -= here;
            self.bytes -= here as u64;
            self.taken = 0;
            let Some(next) = self.behind.pop_front() else {
                *self = Self::default();
                return;
            };
            self.first = next;
        }
    }

    fn frame(&mut self, opcode: Opcode, payload: Vec<u8>, bits: u8) {
        let (header, length) = header(opcode, bits, payload.len());
        let header = &header[..length];
        self.bytes += (length + payload.len()) as u64;
        let copied = payload.len() <= COPIED;
        let together = length + if copied { payload.len() } else { 0 };
        let last = self.behind.back_mut().unwrap_or(&mut self.first);
        let last = if last.is_empty() || last.len() + together <= TOGETHER {
            last
        } else {
            self.behind.push_back(Vec::new());
            self.behind.back_mut().unwrap_or(&mut self.first)
        };
        last.reserve(together);
        last.extend_from_slice(header);
        if copied {
            last.extend_from_slice(&payload);
        } else {
            self.behind.push_back(payload);
        }
    }
}

/// Ten bytes, and how many of them are it.
fn header(opcode: Opcode, bits: u8, payload: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = FINAL | bits | opcode.bits();
    let length = match payload {
        0..=125 => {
            header[1] = payload as u8;
            2
        }
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    };
    (header, length)
}
