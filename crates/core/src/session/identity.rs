//! Threads on the bus are the gateway's own. Each carries the client's name, 128 random bits, and
//! a number that its session gives out: whatever threads clients choose, they can neither meet
//! nor be guessed, and an answer finds its client by its thread alone.

use std::fmt::{self, Write as _};

/// The name of one client on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(u128);

impl ClientId {
    /// A name from random bits: the guess of any other client must be hopeless.
    pub const fn from_random(bits: u128) -> Self {
        Self(bits)
    }

    /// The bus thread of this client's conversation number `number`:
    /// 32 hexadecimal digits, a dot, a number; at most 53 of the 64 bytes that OpenSRF allows.
    pub fn thread(self, number: u64) -> String {
        let mut thread = String::with_capacity(53);
        thread.push_str(digits(&self.0.to_be_bytes(), &mut [0; 32]));
        // Writing to a text cannot fail.
        write!(thread, ".{number}").ok();
        thread
    }

    /// Reads a bus thread; `None` if this gateway cannot have made it.
    pub fn parse_thread(thread: &str) -> Option<(Self, u64)> {
        let (name, number) = thread.split_once('.')?;
        let is_name =
            name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_number = number == "0" || number.starts_with(|digit| matches!(digit, '1'..='9'));
        if !is_name || !is_number {
            return None;
        }
        // Halves, since arithmetic of 128 bits is slow, and this is done for every envelope.
        let (high, low) = name.split_at_checked(16)?;
        let half = |digits| u64::from_str_radix(digits, 16).ok().map(u128::from);
        Some((Self(half(high)? << 64 | half(low)?), number.parse().ok()?))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(digits(&self.0.to_be_bytes(), &mut [0; 32]))
    }
}

/// A log trace id that is the gateway's own: 16 hexadecimal digits of a session's, a hyphen, a
/// number; at most 37 of the 64 bytes that OpenSRF allows.
pub(super) fn xid(seed: u64, number: u64) -> String {
    let mut xid = String::with_capacity(37);
    xid.push_str(digits(&seed.to_be_bytes(), &mut [0; 16]));
    // Writing to a text cannot fail.
    write!(xid, "-{number}").ok();
    xid
}

/// The hexadecimal digits of `bytes`, two each. The formatter of numbers would pad them one by one.
fn digits<'a>(bytes: &[u8], room: &'a mut [u8]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in room.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    // Digits are text.
    std::str::from_utf8(room).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::osrf::is_plain_id;

    #[test]
    fn a_thread_leads_back_to_its_client() {
        for bits in [0, 7, u128::MAX] {
            let id = ClientId::from_random(bits);
            let thread = id.thread(u64::MAX);
            assert!(is_plain_id(&thread));
            assert_eq!(ClientId::parse_thread(&thread), Some((id, u64::MAX)));
        }
        let name = "0000000000000000000000000000000a";
        assert_eq!(ClientId::parse_thread(&format!("{name}.0")), Some((ClientId(10), 0)));
        for other in ["", "1.2", "x", "0.12345", "+000000000000000000000000000000a.1"] {
            assert_eq!(ClientId::parse_thread(other), None, "{other}");
        }
        for number in ["", "01", "+1", "-1", "1 ", "1.1", "a", "18446744073709551616"] {
            assert_eq!(ClientId::parse_thread(&format!("{name}.{number}")), None, "{number}");
        }
        assert_eq!(ClientId::parse_thread(&format!("{}.1", name.to_uppercase())), None);
    }
}
