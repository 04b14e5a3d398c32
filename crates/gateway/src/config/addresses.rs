//! Where to listen, and whom to believe.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::text::{Unfit, deserialize_as_text};

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A TCP address and port; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A unix socket, written `unix:/path`; always an absolute path.
    Unix(PathBuf),
}

/// A network in CIDR notation, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// What a browser sends as `Origin` (RFC 6454): `https://example.org`, `https://example.org:8443`,
/// or a host with or without a port and any scheme. Lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

deserialize_as_text!(Listen, Network, Origin);

impl FromStr for Listen {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let fits = path.is_absolute() && !text.contains('\0');
            return fits.then_some(Self::Unix(path)).ok_or_else(|| {
                Unfit::expected("an absolute path behind unix:, as in unix:/run/slackwater.sock")
            });
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            Unfit::expected("ADDRESS:PORT such as 127.0.0.1:7682 or [::1]:7682, or unix:/path")
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl Network {
    /// The network itself.
    pub fn net(&self) -> IpNet {
        self.0
    }

    /// Whether an address lies in this network; an IPv4 address that came in IPv6 clothes
    /// (`::ffff:10.0.0.1`) counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let network = text.parse::<IpNet>().ok();
        network
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
            .map(Self)
            .ok_or_else(|| Unfit::expected("a network such as 10.0.0.0/8, or one address"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Origin {
    /// The text that was given, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let host = text.split_once("://").map_or(text, |(_, host)| host);
        let fits = !host.is_empty()
            && text.chars().all(|character| character.is_ascii_graphic())
            && !host.contains(['/', '?', '#', '@', ',', '*']);
        fits.then(|| Self(text.to_ascii_lowercase())).ok_or_else(|| {
            Unfit::expected("an origin such as https://example.org:8443, or a host, without a path")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_tcp_or_unix() {
        for text in ["127.0.0.1:7682", "[::1]:0", "unix:/run/a b.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "7682", ":7682", "localhost:7682", "127.0.0.1:65536", "unix:", "unix:here"]
        {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        let network: Network = "10.0.0.0/8".parse().unwrap();
        assert!(network.contains("10.255.0.1".parse().unwrap()));
        assert!(network.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!network.contains("11.0.0.1".parse().unwrap()));
        let one: Network = "::1".parse().unwrap();
        assert!(one.contains("::1".parse().unwrap()) && !one.contains("::2".parse().unwrap()));
        for text in ["", "10.0.0.0/33", "example.org"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn origins_have_no_path() {
        assert_eq!(
            "HTTPS://Example.org".parse::<Origin>().unwrap().as_str(),
            "https://example.org"
        );
        assert_eq!("example.org:80".parse::<Origin>().unwrap().as_str(), "example.org:80");
        for text in ["", "https://", "https://example.org/", "*", "a b"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
