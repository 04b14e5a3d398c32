//! OpenSRF as the gateway sees it: the client's wrapper, osrfMessages, statuses, envelopes.
//! Only what the ledger and the routing need is read; payloads pass byte for byte.

pub mod activity;
pub mod answer;
pub mod check;
pub mod envelope;
pub mod json;
pub mod message;
pub mod quote;
pub mod status;
mod walk;
pub mod wrapper;

use std::fmt;

/// The id of a request within its thread (`threadTrace`).
///
/// The range is that of C's `int` from 0: every worker echoes such an id as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trace(u32);

impl Trace {
    /// A trace from a number; above the range of C's `int` it is brought down to its end.
    pub const fn new(number: u32) -> Self {
        Self(if number > i32::MAX as u32 { i32::MAX as u32 } else { number })
    }

    /// Reads the text of a JSON number or string of digits; clients and workers send either.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        let canonical = digits == "0" || !digits.starts_with('0');
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 = digits.parse().ok().filter(|_| canonical && plain)?;
        (number <= i32::MAX as u32).then_some(Self(number))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Whether `text` may stand on a bus as a thread or log trace id: `[A-Za-z0-9._:-]{1,64}`.
///
/// Anything else can break a Perl listener or be an injection (OPENSRF-XMPP §10.6).
pub fn is_plain_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

/// Whether `text` may name a service: `[A-Za-z0-9._-]{1,128}`, and not the router itself.
pub fn is_service_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text != "router"
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
