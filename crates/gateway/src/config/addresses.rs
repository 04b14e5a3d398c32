//! Where to listen, and whom to believe.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::text::{Unfit, deserialize_as_text};
use crate::front::ListenAddress;
use crate::front::origin::OriginRule;

/// A network in CIDR notation, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// An origin that browsers may come from, as the front will compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(OriginRule);

deserialize_as_text!(ListenAddress, Network, Origin);

impl Network {
    /// The network itself.
    pub fn net(&self) -> IpNet {
        self.0
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
    /// The rule that the front goes by.
    pub fn rule(&self) -> &OriginRule {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = Unfit;

    /// A `*` may stand in a host by the letter of RFC 3986, but whoever writes one means any host,
    /// and would get none.
    fn from_str(text: &str) -> Result<Self, Unfit> {
        let rule = text.parse().ok().filter(|_| !text.contains('*'));
        rule.map(Self).ok_or_else(|| {
            Unfit::expected("an origin such as https://example.org:8443, or a host, without a path")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_may_be_one_address() {
        for (text, network) in [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128")] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), network);
        }
        for text in ["", "10.0.0.0/33", "example.org"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_that_the_front_could_not_compare_is_refused() {
        for text in ["https://example.org", "example.org:80", "http://[::1]:8080"] {
            assert_eq!(text.parse::<Origin>().unwrap().rule().to_string(), text);
        }
        for text in ["", "https://", "https://example.org/", "*", "a b", "a:99999", "1http://a"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
