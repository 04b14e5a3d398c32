//! Threads on the bus are the gateway's own. Each carries the client's name, 128 random bits, and
//! a number that its session gives out: whatever threads clients choose, they can neither meet
//! nor be guessed, and an answer finds its client by its thread alone.

use std::fmt;

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
        format!("{self}.{number}")
    }

    /// Reads a bus thread; `None` if this gateway cannot have made it.
    pub fn parse_thread(thread: &str) -> Option<(Self, u64)> {
        let (name, number) = thread.split_once('.')?;
        let id = Self(u128::from_str_radix(name, 16).ok()?);
        let number = number.parse().ok()?;
        (id.thread(number) == thread).then_some((id, number))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
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
        for other in ["", "1.2", "x", "0.12345", "+0000000000000000000000000000001.1"] {
            assert_eq!(ClientId::parse_thread(other), None, "{other}");
        }
    }
}
