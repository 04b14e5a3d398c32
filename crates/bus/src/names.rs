//! What goes into the address of a process, on any bus.

use crate::Error;

/// 128 random bits: two processes never get the same.
pub(crate) fn random() -> Result<u128, Error> {
    let half = || getrandom::u64().map_err(|error| Error::Randomness(error.to_string()));
    Ok(u128::from(half()?) << 64 | u128::from(half()?))
}

/// The host's name as far as it can stand in an address; who reads the bus by hand looks for it.
pub(crate) fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = name.chars().take(64).map(plain).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Whether `text` may be a user, a domain or a router in the address of a process: `[A-Za-z0-9._-]{1,253}`.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
