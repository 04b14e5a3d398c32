//! Who may do more at the admin port than look.
//!
//! Law: what changes the gateway, or tells of a client, is done for who has the key, comes from this
//! machine, and is not some other web page in the operator's browser: the key travels in a header that
//! no page can send unasked, the request must not come from another origin (Fetch, "Origin header"), and
//! `Host` must be an address or `localhost`, which no name that was rebound to us is.

use std::fmt;
use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{StatusCode, http};
use subtle::ConstantTimeEq as _;

/// What browsers say of where a request comes from (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A secret of one process: whoever has it may operate the gateway from the page.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// A new one, 128 bits.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bits))))
    }

    /// For an address that the operator opens.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

/// Without the secret.
impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").finish_non_exhaustive()
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// It comes from another machine.
    #[error("only from this machine; ssh -L brings you there")]
    Away,
    /// It asks for a name, which may have been made to point here.
    #[error("ask by an address or as localhost, not by a name")]
    Name,
    /// It comes from another web page.
    #[error("another web page may not")]
    OtherPage,
    /// It has no key, or not this one.
    #[error("the key is missing or wrong: `slackwater page` prints an address with it")]
    Key,
}

impl Kept {
    /// The answer to it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Away | Self::OtherPage => StatusCode::FORBIDDEN,
            Self::Name => StatusCode::MISDIRECTED_REQUEST,
            Self::Key => StatusCode::UNAUTHORIZED,
        }
    }
}

/// Whether a request with these headers, from this machine or not, may.
///
/// # Errors
/// Why not.
pub fn check(key: &Key, headers: &HeaderMap, is_local: bool) -> Result<(), Kept> {
    if !is_local {
        return Err(Kept::Away);
    }
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(&HOST).filter(|host| is_address(host)).ok_or(Kept::Name)?;
    let elsewhere = text(&ORIGIN)
        .is_some_and(|origin| origin.strip_prefix("http://") != Some(host))
        || text(&SEC_FETCH_SITE).is_some_and(|site| !["same-origin", "none"].contains(&site));
    if elsewhere {
        return Err(Kept::OtherPage);
    }
    let given = text(&AUTHORIZATION).and_then(|given| given.strip_prefix("Bearer "));
    if given.is_some_and(|given| key.is(given)) { Ok(()) } else { Err(Kept::Key) }
}

/// Whether a `Host` is an IP address or `localhost`, with a port or without.
fn is_address(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1:7683";

    fn asked(key: &Key, is_local: bool, headers: &[(&HeaderName, &str)]) -> Result<(), Kept> {
        let headers = headers.iter().map(|(name, value)| ((*name).clone(), value.parse().unwrap()));
        check(key, &headers.collect(), is_local)
    }

    #[test]
    fn only_who_has_the_key_comes_from_here_and_from_no_other_page_may() {
        let key = Key::random().unwrap();
        let bearer = format!("Bearer {}", key.reveal());
        let bearer = (&AUTHORIZATION, bearer.as_str());
        let host = (&HOST, HERE);
        assert_eq!(asked(&key, true, &[host, bearer]), Ok(()));
        assert_eq!(asked(&key, false, &[host, bearer]), Err(Kept::Away));
        for name in ["localhost", "LOCALHOST:7683", "[::1]:7683", "10.0.0.1", "127.0.0.1"] {
            assert_eq!(asked(&key, true, &[(&HOST, name), bearer]), Ok(()), "{name}");
        }
        for name in [
            "evil.example:7683",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "",
            "a b",
            "@[::1]:78",
        ] {
            assert_eq!(asked(&key, true, &[(&HOST, name), bearer]), Err(Kept::Name), "{name}");
        }
        assert_eq!(asked(&key, true, &[bearer]), Err(Kept::Name));
        for (origin, outcome) in [
            ("http://127.0.0.1:7683", Ok(())),
            ("http://127.0.0.1:7682", Err(Kept::OtherPage)),
            ("https://127.0.0.1:7683", Err(Kept::OtherPage)),
            ("http://evil.example", Err(Kept::OtherPage)),
            ("null", Err(Kept::OtherPage)),
        ] {
            assert_eq!(asked(&key, true, &[host, bearer, (&ORIGIN, origin)]), outcome, "{origin}");
        }
        for (site, outcome) in [
            ("same-origin", Ok(())),
            ("none", Ok(())),
            ("same-site", Err(Kept::OtherPage)),
            ("cross-site", Err(Kept::OtherPage)),
        ] {
            let fetched = (&SEC_FETCH_SITE, site);
            assert_eq!(asked(&key, true, &[host, bearer, fetched]), outcome, "{site}");
        }
    }

    #[test]
    fn the_key_is_needed_whole() {
        let key = Key::random().unwrap();
        let right = format!("Bearer {}", key.reveal());
        assert_eq!(right.len(), "Bearer ".len() + 32);
        for wrong in ["", "Bearer ", key.reveal(), &right[..right.len() - 1], &format!("{right}0")]
        {
            let given = [(&HOST, HERE), (&AUTHORIZATION, wrong)];
            assert_eq!(asked(&key, true, &given), Err(Kept::Key), "{wrong}");
        }
        assert_eq!(asked(&key, true, &[(&HOST, HERE)]), Err(Kept::Key));
        assert_ne!(key.reveal(), Key::random().unwrap().reveal());
        assert!(!format!("{key:?}").contains(key.reveal()));
    }
}
