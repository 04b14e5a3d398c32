//! Settings with a closed set of values, or a range.

use std::str::FromStr;

use clap::ValueEnum;
use http::StatusCode;

use super::text::{Unfit, deserialize_as_text};

/// How new connections are turned away during a drain (DRAIN.md, step 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Refuse {
    /// Answer the connections already in the queue with 503, then stop listening.
    Close,
    /// Keep listening and answer 503.
    #[value(name = "503")]
    Answer503,
}

/// Where trusted proxies name the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClientHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Which bus an `opensrf_core.xml` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportName {
    /// OpenSRF 4's.
    Redis,
    /// OpenSRF 3's.
    Xmpp,
}

/// Whether the streams of an XMPP bus are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BusTls {
    /// Never.
    Off,
    /// If the server offers it, whatever its certificate.
    Offered,
    /// Always, with a certificate that is trusted and names the domain.
    Required,
}

/// When we send our FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CloseFin {
    /// When the client's Close has come: safe behind a proxy.
    OnEcho,
    /// Right behind our Close frame: for sites without a proxy.
    WithClose,
}

/// What "pending" means for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Track {
    /// It is an OpenSRF relay.
    Osrf,
    /// It speaks JSON-RPC 2.0.
    #[value(name = "jsonrpc")]
    JsonRpc,
    /// Each line in awaits a line out.
    Lines,
    /// Until no byte has passed for some time.
    Quiet,
    /// It is sent SIGUSR1 and decides itself.
    Program,
}

/// How messages stand in a program's stdin and stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Framing {
    /// A line each.
    Lines,
    /// Whatever one read brings.
    Chunks,
    /// With their length before them.
    Length,
    /// As JSON strings, a line each.
    Json,
}

/// A WebSocket close code that a server may send (RFC 6455 section 7.4, and the IANA registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

/// An HTTP status by which `/readyz` says no: 400 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainStatus(StatusCode);

/// A limit that is counted: 1 to 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(u32);

/// The path of a request target: begins with `/`, no query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPath(String);

/// A name that is put into messages: `[A-Za-z0-9._:-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress(String);

deserialize_as_text!(
    Track,
    Framing,
    Refuse,
    ClientHeader,
    TransportName,
    BusTls,
    CloseFin,
    CloseCode,
    DrainStatus,
    Count,
    UrlPath,
    Ingress
);

/// Parses an enum by the names that its flag takes.
macro_rules! parse_as_value {
    ($($name:ty),+) => {$(
        impl std::str::FromStr for $name {
            type Err = $crate::config::text::Unfit;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                use clap::ValueEnum;
                ValueEnum::from_str(text, false).map_err(|_| {
                    let values = Self::value_variants().iter();
                    let names = values.filter_map(ValueEnum::to_possible_value);
                    let names: Vec<_> = names.map(|value| value.get_name().to_owned()).collect();
                    $crate::config::text::Unfit::expected(names.join(" or "))
                })
            }
        }
    )+};
}
pub(super) use parse_as_value;
parse_as_value!(Track, Framing, Refuse, ClientHeader, TransportName, BusTls, CloseFin);

impl CloseCode {
    /// The code as it goes on the wire.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// 1012, service restart: it makes clients come back.
impl Default for CloseCode {
    fn default() -> Self {
        Self(1012)
    }
}

impl FromStr for CloseCode {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text.parse() {
            Ok(code @ (1000 | 1001 | 1008 | 1011..=1014 | 3000..=4999)) => Ok(Self(code)),
            Ok(_) | Err(_) => {
                Err(Unfit::expected("a close code: 1000, 1001, 1008, 1011-1014 or 3000-4999"))
            }
        }
    }
}

impl DrainStatus {
    /// The status.
    pub const fn get(self) -> StatusCode {
        self.0
    }
}

impl Default for DrainStatus {
    fn default() -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl FromStr for DrainStatus {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let status = text
            .parse()
            .ok()
            .filter(|status: &StatusCode| status.is_client_error() || status.is_server_error());
        status.map(Self).ok_or_else(|| Unfit::expected("an HTTP status from 400 to 599"))
    }
}

impl Count {
    /// The number.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl FromStr for Count {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text.parse() {
            Ok(count @ 1..=1_000_000_000) => Ok(Self(count)),
            Ok(_) | Err(_) => Err(Unfit::expected("a whole number from 1 to 1000000000")),
        }
    }
}

impl UrlPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UrlPath {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let fits = text.starts_with('/')
            && text.chars().all(|character| character.is_ascii_graphic())
            && !text.contains(['?', '#']);
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| Unfit::expected("a path such as /osrf-websocket-translator"))
    }
}

impl Ingress {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What OpenSRF's own gateway says of itself.
impl Default for Ingress {
    fn default() -> Self {
        Self("ws-translator-v2".to_owned())
    }
}

impl FromStr for Ingress {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| Unfit::expected("1 to 64 letters, digits, or any of . _ : -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sendable_close_codes_are_taken() {
        for code in ["1000", "1001", "1008", "1011", "1012", "1013", "1014", "3000", "4999"] {
            assert_eq!(code.parse::<CloseCode>().map(CloseCode::get), Ok(code.parse().unwrap()));
        }
        for code in ["", "0", "999", "1002", "1004", "1005", "1006", "1015", "2999", "5000", "x"] {
            assert!(code.parse::<CloseCode>().is_err(), "{code}");
        }
    }

    #[test]
    fn a_choice_names_its_values() {
        assert_eq!("503".parse(), Ok(Refuse::Answer503));
        assert_eq!("with-close".parse(), Ok(CloseFin::WithClose));
        assert_eq!("502".parse::<Refuse>().unwrap_err().to_string(), "expected close or 503");
    }

    #[test]
    fn a_limit_is_at_least_one() {
        assert_eq!("256".parse::<Count>().map(Count::get), Ok(256));
        for text in ["0", "-1", "1000000001", "1e3", ""] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }

    #[test]
    fn paths_and_names_are_plain() {
        assert!("/".parse::<UrlPath>().is_ok() && "/a/b".parse::<UrlPath>().is_ok());
        for text in ["", "a", "/a?b", "/a b", "/ä"] {
            assert!(text.parse::<UrlPath>().is_err(), "{text}");
        }
        assert!("ws-translator-v2".parse::<Ingress>().is_ok());
        for text in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert!(text.parse::<Ingress>().is_err(), "{text}");
        }
    }
}
