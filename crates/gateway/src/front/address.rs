//! Who a client is, for logs and limits.
//!
//! Law: `X-Forwarded-For` is believed exactly as far as trusted proxies wrote it. Anybody can send
//! the header; each proxy appends the address that it saw.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

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

    /// Walks `X-Forwarded-For` from its right end, where the nearest proxy wrote, as long as the
    /// address in hand is a trusted proxy's. What is no address ends the walk.
    #[must_use]
    pub fn behind_proxies(self, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let Self::Direct(peer) = self else { return self };
        if !is_trusted(peer.ip()) {
            return self;
        }
        let mut client = self;
        let headers = headers.get_all("x-forwarded-for").iter().rev();
        for entry in headers.flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b',')) {
            let Some(address) = parse(entry) else { break };
            client = Self::Forwarded(address);
            if !is_trusted(address) {
                break;
            }
        }
        client
    }
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
            let trusted = trusted.map(|network| network.parse().unwrap());
            let mut map = HeaderMap::new();
            for header in headers {
                map.append("x-forwarded-for", header.parse().unwrap());
            }
            let client = ClientAddress::of_peer(peer.parse().unwrap());
            let client = client.behind_proxies(&map, &trusted);
            assert_eq!(client.to_string(), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn a_unix_peer_has_no_address_to_trust() {
        let mut map = HeaderMap::new();
        map.append("x-forwarded-for", "203.0.113.9".parse().unwrap());
        let everybody = ["0.0.0.0/0".parse().unwrap()];
        assert_eq!(ClientAddress::Unix.behind_proxies(&map, &everybody), ClientAddress::Unix);
    }
}
