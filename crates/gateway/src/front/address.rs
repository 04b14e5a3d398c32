//! Who a client is, for logs and limits.
//!
//! Law: what a header says is believed exactly as far as trusted proxies wrote it. Anybody can send
//! the header; each proxy appends the address that it saw. And only one header is believed: a proxy
//! that writes the one passes on whatever a client has put into the other.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderMap;
use ipnet::IpNet;

/// How long a name server may take.
const LOOK_UP: Duration = Duration::from_secs(2);

/// A client's address, as far as we can know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// The other end of the TCP connection.
    Direct(SocketAddr),
    /// As a trusted proxy saw it.
    Forwarded(IpAddr),
    /// Somebody on this host, through a unix socket.
    Unix,
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => address.fmt(f),
            Self::Forwarded(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl ClientAddress {
    /// The peer of a TCP connection; an IPv4 address inside an IPv6 one is taken out.
    #[must_use]
    pub fn of_peer(peer: SocketAddr) -> Self {
        Self::Direct(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
    }

    /// The address without the port: whose it is, not which of his connections.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Direct(address) => address.ip().to_string(),
            Self::Forwarded(address) => address.to_string(),
            Self::Unix => "unix".to_owned(),
        }
    }

    /// The name of its host, by the resolver of this one; `None` if it has none, or is not told in
    /// time.
    pub(super) async fn look_up(self) -> Option<String> {
        let address = match self {
            Self::Direct(address) => address.ip(),
            Self::Forwarded(address) => address,
            Self::Unix => return None,
        };
        let looks = tokio::task::spawn_blocking(move || dns_lookup::lookup_addr(&address));
        let found = tokio::time::timeout(LOOK_UP, looks).await.ok()?.ok()?.ok()?;
        // A host without a name is "named" by its address.
        Some(found).filter(|name| name.parse::<IpAddr>().is_err())
    }

    /// Walks the header of these proxies from its right end, where the nearest one wrote, as long as
    /// the address in hand is a trusted proxy's. What is no address ends the walk.
    #[must_use]
    pub fn behind(self, proxies: &Proxies, headers: &HeaderMap) -> Self {
        if !proxies.trust(self) {
            return self;
        }
        let mut client = self;
        let values = headers.get_all(proxies.header.name()).iter().rev();
        for entry in values.flat_map(|value| proxies.header.entries(value.as_bytes())) {
            let Some(address) = entry else { break };
            client = Self::Forwarded(address);
            if !proxies.are_at(address) {
                break;
            }
        }
        client
    }
}

/// Whom we believe when they name a client, and where they do.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Where they are.
    pub networks: Vec<IpNet>,
    /// Where they name the client.
    pub header: ClientHeader,
    /// Whether they begin a connection with a PROXY header.
    pub protocol: bool,
}

impl Proxies {
    /// Whether this is one of them. Somebody without an IP address is none.
    pub(super) fn trust(&self, peer: ClientAddress) -> bool {
        match peer {
            ClientAddress::Direct(peer) => self.are_at(peer.ip()),
            ClientAddress::Forwarded(_) | ClientAddress::Unix => false,
        }
    }

    fn are_at(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// A header in which each proxy adds the address that it saw to the right end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientHeader {
    /// `X-Forwarded-For: 203.0.113.9, 10.0.0.2`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=203.0.113.9;proto=https, for="[2001:db8::1]:4711"` (RFC 7239).
    Forwarded,
}

impl ClientHeader {
    const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// What each proxy has added to a value, the last one first; `None` where that is no address.
    fn entries(self, value: &[u8]) -> Vec<Option<IpAddr>> {
        let of_entry = |entry: &[u8]| match self {
            Self::XForwardedFor => parse(entry),
            Self::Forwarded => parts(entry, b';').into_iter().find_map(for_whom).and_then(|node| {
                // Obfuscated names and `unknown` are no addresses.
                parse(&unquoted(node)?)
            }),
        };
        parts(value, b',').into_iter().rev().map(of_entry).collect()
    }
}

/// The parts between separators that stand in no quoted string (RFC 9110 §5.6.4).
fn parts(value: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(|&byte| {
        let separates = byte == separator && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        separates
    });
    parts.collect()
}

/// The value of a pair whose name is `for`.
fn for_whom(pair: &[u8]) -> Option<&[u8]> {
    let (name, value) = pair.trim_ascii().split_at_checked(4)?;
    name.eq_ignore_ascii_case(b"for=").then_some(value)
}

/// A token as it is, a quoted string without its quotes.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = value.strip_prefix(b"\"") else { return Some(value.to_vec()) };
    let inner = inner.strip_suffix(b"\"")?;
    // An address needs no escape.
    (!inner.contains(&b'\\')).then(|| inner.to_vec())
}

/// An address, with or without a port, IPv6 with or without brackets.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().ok().or_else(bracketed);
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_believed_as_far_as_trusted_proxies_wrote_it() {
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        for (peer, headers, expected) in [
            // Nobody asked.
            ("10.0.0.1:1000", &[][..], "10.0.0.1:1000"),
            // Not from a proxy of ours.
            ("192.0.2.7:1000", &["203.0.113.9"], "192.0.2.7:1000"),
            ("10.0.0.1:1000", &["203.0.113.9"], "203.0.113.9"),
            // The client's own claim is left of what our proxy saw.
            ("10.0.0.1:1000", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            // Two proxies of ours, in one header and in two.
            ("10.0.0.1:1000", &["1.1.1.1,203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1:1000", &["1.1.1.1", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),
            // All trusted: the farthest.
            ("10.0.0.1:1000", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // Garbage ends the walk.
            ("10.0.0.1:1000", &["203.0.113.9, unknown"], "10.0.0.1:1000"),
            ("10.0.0.1:1000", &["203.0.113.9, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:1000", &[""], "10.0.0.1:1000"),
            // Ways of writing it.
            ("10.0.0.1:1000", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1:1000", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1:1000", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1:1000", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1:1000", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("[fd00::1]:1000", &["203.0.113.9"], "203.0.113.9"),
            ("[::ffff:10.0.0.1]:1000", &["203.0.113.9"], "203.0.113.9"),
        ] {
            let client = client(ClientHeader::XForwardedFor, &trusted, peer, headers);
            assert_eq!(client, expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_says() {
        for (headers, expected) in [
            (&["for=203.0.113.9"][..], "203.0.113.9"),
            (&["For=203.0.113.9;proto=https;by=10.0.0.2"], "203.0.113.9"),
            (&["proto=https; for=\"203.0.113.9:4711\""], "203.0.113.9"),
            (&["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
            (&["for=1.1.1.1, for=203.0.113.9, for=10.0.0.2"], "203.0.113.9"),
            (&["for=1.1.1.1", "for=203.0.113.9"], "203.0.113.9"),
            // Separators within quotes, and the client's own words.
            (&["for=1.1.1.1;secret=\", for=2.2.2.2\\\";\", for=203.0.113.9"], "203.0.113.9"),
            // Names that are none of ours to know end the walk.
            (&["for=203.0.113.9, for=_hidden"], "10.0.0.1:1000"),
            (&["for=203.0.113.9, for=unknown, for=10.0.0.2"], "10.0.0.2"),
            (&["for=\"203.0.113.9"], "10.0.0.1:1000"),
            (&["203.0.113.9"], "10.0.0.1:1000"),
            (&["for="], "10.0.0.1:1000"),
        ] {
            let client = client(ClientHeader::Forwarded, &["10.0.0.0/8"], "10.0.0.1:1000", headers);
            assert_eq!(client, expected, "{headers:?}");
        }
    }

    /// The other header, which the proxy leaves as it is, is the client's own claim.
    #[test]
    fn only_the_header_that_our_proxies_write_is_believed() {
        let mut map = HeaderMap::new();
        map.append("x-forwarded-for", "203.0.113.9".parse().unwrap());
        map.append("forwarded", "for=198.51.100.1".parse().unwrap());
        for (header, expected) in [
            (ClientHeader::XForwardedFor, "203.0.113.9"),
            (ClientHeader::Forwarded, "198.51.100.1"),
        ] {
            let networks = vec!["10.0.0.0/8".parse().unwrap()];
            let proxies = Proxies { networks, header, protocol: false };
            let peer = ClientAddress::of_peer("10.0.0.1:1".parse().unwrap());
            assert_eq!(peer.behind(&proxies, &map).to_string(), expected);
        }
    }

    fn client(header: ClientHeader, trusted: &[&str], peer: &str, headers: &[&str]) -> String {
        let networks = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(header.name(), value.parse().unwrap());
        }
        let client = ClientAddress::of_peer(peer.parse().unwrap());
        client.behind(&Proxies { networks, header, protocol: false }, &map).to_string()
    }

    #[test]
    fn a_unix_peer_has_no_address_to_trust() {
        let mut map = HeaderMap::new();
        map.append("x-forwarded-for", "203.0.113.9".parse().unwrap());
        let everybody =
            Proxies { networks: vec!["0.0.0.0/0".parse().unwrap()], ..Proxies::default() };
        assert_eq!(ClientAddress::Unix.behind(&everybody, &map), ClientAddress::Unix);
    }
}
