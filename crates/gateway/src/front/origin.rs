//! Which web pages may connect: the check of the `Origin` header (RFC 6455 §10.2, RFC 6454).
//!
//! Law: it protects users from foreign pages, and only browsers tell the truth here. A client that
//! sends no `Origin` is no page and passes; it could as well send any origin it likes.

use std::fmt;
use std::str::FromStr;

use http::uri::Authority;

/// `[scheme://]host[:port]`: what is left out matches anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    scheme: Option<String>,
    host: String,
    port: Option<u16>,
}

/// The text is not `[scheme://]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form [scheme://]host[:port]")]
pub struct NotAnOrigin(String);

/// Whether a page of this origin may connect. With neither rules nor `same_origin` every page
/// may; otherwise one of them must allow it. `host` is the request's `Host` header.
#[must_use]
pub fn allowed(origin: &str, host: &str, rules: &[OriginRule], same_origin: bool) -> bool {
    if rules.is_empty() && !same_origin {
        return true;
    }
    // An opaque origin ("null": a sandboxed frame, a local file) is nobody's.
    let Some(origin) = Origin::parse(origin) else { return false };
    rules.iter().any(|rule| rule.matches(&origin)) || (same_origin && origin.is_host(host))
}

impl FromStr for OriginRule {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        };
        match host_and_port(rest) {
            Some((host, port)) if scheme.is_none_or(is_scheme) => {
                Ok(Self { scheme: scheme.map(str::to_ascii_lowercase), host, port })
            }
            _ => Err(NotAnOrigin(text.to_owned())),
        }
    }
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl OriginRule {
    fn matches(&self, origin: &Origin) -> bool {
        self.host == origin.host
            && self.scheme.as_ref().is_none_or(|scheme| *scheme == origin.scheme)
            && self.port.is_none_or(|port| Some(port) == origin.port)
    }
}

/// As a browser sends it; a scheme's default port is filled in.
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = host_and_port(rest)?;
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { scheme, host, port })
    }

    /// The scheme is not compared: behind a proxy that ends TLS we do not know our own. A `Host`
    /// without a port means the default port of the page's scheme.
    fn is_host(&self, host: &str) -> bool {
        host_and_port(host).is_some_and(|(host, port)| {
            host == self.host && port.or_else(|| default_port(&self.scheme)) == self.port
        })
    }
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = text.parse().ok()?;
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" => None,
        port => Some(port.strip_prefix(':')?.parse().ok()?),
    };
    let host = authority.host();
    (!host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_leaves_out_matches_anything() {
        for (rule, origin, expected) in [
            ("example.org", "https://example.org", true),
            ("example.org", "http://example.org:8080", true),
            ("EXAMPLE.org", "https://example.ORG", true),
            ("example.org", "https://www.example.org", false),
            ("example.org", "https://example.org.evil.test", false),
            ("https://example.org", "https://example.org:8443", true),
            ("https://example.org", "http://example.org", false),
            ("example.org:443", "https://example.org", true),
            ("example.org:443", "http://example.org", false),
            ("https://example.org:8443", "https://example.org:8443", true),
            ("https://example.org:8443", "https://example.org", false),
            ("[::1]:80", "http://[::1]", true),
            ("example.org", "null", false),
            ("example.org", "", false),
            ("example.org", "https://user@example.org", false),
        ] {
            let rules = [rule.parse().unwrap()];
            assert_eq!(allowed(origin, "gateway.test", &rules, false), expected, "{rule} {origin}");
        }
    }

    #[test]
    fn same_origin_compares_host_and_port() {
        for (origin, host, expected) in [
            ("http://localhost:7682", "localhost:7682", true),
            ("https://example.org", "example.org", true),
            ("https://example.org", "Example.org:443", true),
            ("https://example.org", "example.org:80", false),
            ("http://example.org", "example.org:8080", false),
            ("http://evil.test", "example.org", false),
            ("null", "example.org", false),
        ] {
            assert_eq!(allowed(origin, host, &[], true), expected, "{origin} {host}");
        }
    }

    #[test]
    fn without_rules_every_page_may_connect() {
        assert!(allowed("null", "example.org", &[], false));
    }

    #[test]
    fn a_rule_beside_same_origin_adds_to_it() {
        let rules = ["partner.test".parse().unwrap()];
        assert!(allowed("https://partner.test", "example.org", &rules, true));
        assert!(allowed("https://example.org", "example.org", &rules, true));
        assert!(!allowed("https://evil.test", "example.org", &rules, true));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in
            ["", "://host", "http://", "a b", "host:port", "host/path", "user@host", "1://h"]
        {
            assert_eq!(text.parse::<OriginRule>(), Err(NotAnOrigin(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_rule_is_shown_as_it_was_given() {
        for text in ["example.org", "https://example.org:8443", "[::1]:80"] {
            assert_eq!(text.parse::<OriginRule>().unwrap().to_string(), text);
        }
    }
}
