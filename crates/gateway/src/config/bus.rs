//! Which bus to relay to. A password in its URL is never shown: not by `Debug`, not by
//! `Display`, not in an error.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::text::{Unfit, parsed};
use super::units::Period;

/// A bus URL that was understood.
#[derive(Clone, PartialEq, Eq)]
pub struct BusUrl {
    text: String,
    transport: Transport,
}

/// What carries the envelopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A bus inside the process.
    Embedded(EmbeddedBus),
}

/// `embedded:?keepalive=5s&max_requests=1000&max_workers=10000`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedBus {
    /// How long an idle session lives before its worker ends it with a 408; 5 s unless set.
    pub keepalive: Duration,
    /// How many requests a session may make before its worker ends it with a 307; 1,000 unless
    /// set, at least 1.
    pub max_requests: u32,
    /// How many workers a service has, each with one request or one session; past it, a 503.
    /// 10,000 unless set, at least 1.
    pub max_workers: usize,
}

/// A bus URL as it was typed. Flags and the environment keep it unread until
/// [`Settings::resolve`](super::Settings::resolve), because the error that clap makes of a value
/// that it could not parse shows the value, and that may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct BusText(String);

impl BusUrl {
    /// What carries the envelopes, and how.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }
}

impl Default for EmbeddedBus {
    fn default() -> Self {
        Self { keepalive: Duration::from_secs(5), max_requests: 1_000, max_workers: 10_000 }
    }
}

impl FromStr for BusUrl {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let (scheme, rest) =
            text.split_once(':').ok_or_else(|| Unfit::expected("a bus URL such as embedded:"))?;
        match scheme {
            "embedded" => {
                let transport = Transport::Embedded(embedded(rest)?);
                Ok(Self { text: text.to_owned(), transport })
            }
            "redis" | "rediss" | "xmpp" => Err(Unfit(format!(
                "{scheme} is not supported yet: expected embedded: (given: {})",
                without_password(text)
            ))),
            _ => Err(Unfit::expected("a bus URL that begins with embedded:")),
        }
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&without_password(&self.text))
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl BusText {
    /// Reads the URL.
    pub(super) fn read(&self) -> Result<BusUrl, Unfit> {
        self.0.parse()
    }
}

impl From<&str> for BusText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for BusText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&without_password(&self.0))
    }
}

/// In a file it is read at once, so that an error can name the line.
impl<'de> Deserialize<'de> for BusText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        parsed::<D, BusUrl>(from).map(|url| Self(url.text))
    }
}

fn embedded(rest: &str) -> Result<EmbeddedBus, Unfit> {
    let mut bus = EmbeddedBus::default();
    if rest.is_empty() {
        return Ok(bus);
    }
    let query = rest
        .strip_prefix('?')
        .ok_or_else(|| Unfit::expected("embedded:, or embedded:?keepalive=5s&max_requests=1000"))?;
    for pair in query.split('&') {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("keepalive", value) => {
                let keepalive: Period = value.parse()?;
                bus.keepalive = keepalive
                    .unless_zero()
                    .ok_or_else(|| Unfit::expected("a keepalive of at least 1ms"))?;
            }
            ("max_requests", value) => {
                bus.max_requests = value
                    .parse()
                    .ok()
                    .filter(|requests| *requests > 0)
                    .ok_or_else(|| Unfit::expected("max_requests of at least 1"))?;
            }
            ("max_workers", value) => {
                bus.max_workers = value
                    .parse()
                    .ok()
                    .filter(|workers| *workers > 0)
                    .ok_or_else(|| Unfit::expected("max_workers of at least 1"))?;
            }
            _ => {
                return Err(Unfit::expected(
                    "keepalive=DURATION, max_requests=NUMBER or max_workers=NUMBER behind the ?",
                ));
            }
        }
    }
    Ok(bus)
}

/// The URL with `***` in the place of a password. The user information ends at the last `@`, so
/// that a password which should have been percent-encoded is hidden as well.
fn without_password(url: &str) -> String {
    let start = match url.find("://") {
        Some(colon) => colon + 3,
        None => url.find(':').map_or(0, |colon| colon + 1),
    };
    let (scheme, rest) = url.split_at(start);
    let Some((user_information, host)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    match user_information.split_once(':') {
        Some((user, _)) => format!("{scheme}{user}:***@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_bus_has_three_options() {
        let read = |text: &str| text.parse::<BusUrl>().map(|url| url.transport().clone());
        let bus = |seconds, max_requests, max_workers| {
            let keepalive = Duration::from_secs(seconds);
            Ok(Transport::Embedded(EmbeddedBus { keepalive, max_requests, max_workers }))
        };
        assert_eq!(read("embedded:"), bus(5, 1_000, 10_000));
        assert_eq!(read("embedded:?keepalive=2s"), bus(2, 1_000, 10_000));
        assert_eq!(read("embedded:?max_requests=3&keepalive=1m"), bus(60, 3, 10_000));
        assert_eq!(read("embedded:?max_workers=1"), bus(5, 1_000, 1));
    }

    #[test]
    fn wrong_urls_say_what_was_expected() {
        for (text, expected) in [
            ("", "expected a bus URL such as embedded:"),
            ("embedded", "expected a bus URL such as embedded:"),
            ("ftp://x", "expected a bus URL that begins with embedded:"),
            ("embedded://x", "expected embedded:, or embedded:?keepalive=5s&max_requests=1000"),
            ("embedded:?keepalive=0", "expected a keepalive of at least 1ms"),
            ("embedded:?max_requests=0", "expected max_requests of at least 1"),
            ("embedded:?max_workers=0", "expected max_workers of at least 1"),
            (
                "embedded:?max=1",
                "expected keepalive=DURATION, max_requests=NUMBER or max_workers=NUMBER behind the ?",
            ),
            (
                "redis://host",
                "redis is not supported yet: expected embedded: (given: redis://host)",
            ),
        ] {
            assert_eq!(text.parse::<BusUrl>().unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "redis://user:secret@host:6379",
            "redis://:secret@host",
            "xmpp://u:a@secret@h/r",
            "xmpp:u:secret@h",
            "redis://user:secret://x@host",
        ] {
            let error = url.parse::<BusUrl>().unwrap_err().to_string();
            let typed = format!("{:?}", BusText::from(url));
            assert!(!error.contains("secret") && error.contains(":***@h"), "{error}");
            assert!(!typed.contains("secret"), "{typed}");
        }
    }
}
