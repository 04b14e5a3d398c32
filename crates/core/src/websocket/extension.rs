//! What is agreed on in the handshake about compression (RFC 7692 §5, §7.1).
//!
//! Law: the first offer that can be kept to the letter is taken; one with anything unknown in it is
//! passed over, and so is a header that cannot be read. No compression is no error.

use super::compression::{LARGEST_WINDOW, SMALLEST_WINDOW};

/// What compression there is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The window of what we send, 8 to 15 bits.
    pub window: u8,
    /// The client has asked for a window, and is to be told.
    told: bool,
}

impl Agreed {
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    ///
    /// No context is taken over in either direction: neither side has to keep one, and a client is
    /// bound to this whether it had offered it or not (§7.1.1.2).
    #[must_use]
    pub fn header(&self) -> String {
        let mut header =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if self.told {
            header.push_str(&format!("; server_max_window_bits={}", self.window));
        }
        header
    }
}

/// Finds what to agree on in the values of a request's `Sec-WebSocket-Extensions`, in their order.
pub fn negotiate<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Agreed> {
    headers.into_iter().flat_map(|header| split(header, ',')).find_map(accept)
}

/// What can be said to one offer.
fn accept(offer: &str) -> Option<Agreed> {
    let mut parts = split(offer, ';');
    if parts.next()? != "permessage-deflate" {
        return None;
    }
    let mut seen = Vec::new();
    let mut agreed = Agreed { window: LARGEST_WINDOW, told: false };
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
            None => (part, None),
        };
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            // It says what the client could do if it were asked to; it is not.
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => drop(bits(value)?),
            ("server_max_window_bits", Some(value)) => {
                agreed = Agreed { window: bits(value)?, told: true };
            }
            (_, _) => return None,
        }
    }
    Some(agreed)
}

/// 8 to 15, without a zero before it (§7.1.2.1).
fn bits(value: &str) -> Option<u8> {
    let bits =
        value.parse().ok().filter(|bits| (SMALLEST_WINDOW..=LARGEST_WINDOW).contains(bits))?;
    (value == bits.to_string()).then_some(bits)
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// The parts between separators, trimmed. No value that we know holds one, in quotes or not.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).map(str::trim)
}
