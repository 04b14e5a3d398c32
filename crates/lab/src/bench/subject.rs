//! Who is measured: by name on the command line, in tables and in saved runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::site::{Bus, EJABBERD, PROSODY};

/// What makes the calls, or stands between them and the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Subject {
    /// A client of the bus itself: the base line.
    Bare(Bus),
    /// The minimal relay.
    Relay(Bus),
    /// The gateway.
    Gateway(Bus),
    /// Another gateway, on Redis, by the name that the command line gives it.
    Peer(String),
    /// `slackwater run`, with cat behind it.
    Run,
    /// websocketd, with cat behind it.
    Websocketd,
}

impl Subject {
    /// The bus that it is on, if any.
    pub(super) fn bus(&self) -> Option<Bus> {
        match self {
            Self::Bare(bus) | Self::Relay(bus) | Self::Gateway(bus) => Some(*bus),
            Self::Peer(_) => Some(Bus::Redis),
            Self::Run | Self::Websocketd => None,
        }
    }
}

/// By which name a bus goes.
fn name_of(bus: Bus) -> &'static str {
    match bus {
        Bus::Embedded => "embedded",
        Bus::Redis => "redis",
        Bus::Xmpp(brand) => brand.name(),
    }
}

fn bus_of(name: &str) -> Option<Bus> {
    [Bus::Embedded, Bus::Redis, PROSODY, EJABBERD].into_iter().find(|bus| name_of(*bus) == name)
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(bus) => write!(formatter, "bare:{}", name_of(*bus)),
            Self::Relay(bus) => write!(formatter, "relay:{}", name_of(*bus)),
            Self::Gateway(bus) => write!(formatter, "gateway:{}", name_of(*bus)),
            Self::Peer(name) => write!(formatter, "peer:{name}"),
            Self::Run => formatter.write_str("run"),
            Self::Websocketd => formatter.write_str("websocketd"),
        }
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

/// `bare`, `relay` or `gateway`, with `:embedded`, `:redis` (which may be left out), `:prosody` or
/// `:ejabberd` behind it; `run`, `websocketd`.
impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, bus) = text.split_once(':').unwrap_or((text, "redis"));
        if kind == "peer" {
            return Ok(Self::Peer(bus.to_owned()));
        }
        match (text, bus_of(bus)) {
            ("run", _) => return Ok(Self::Run),
            ("websocketd", _) => return Ok(Self::Websocketd),
            (_, Some(bus)) => match kind {
                "gateway" => return Ok(Self::Gateway(bus)),
                "bare" if bus != Bus::Embedded => return Ok(Self::Bare(bus)),
                "relay" if bus != Bus::Embedded => return Ok(Self::Relay(bus)),
                _ => {}
            },
            (_, None) => {}
        }
        Err("expected gateway:BUS, bare:BUS, relay:BUS, run or websocketd; BUS is redis, prosody, \
             ejabberd or, for the gateway, embedded"
            .to_owned())
    }
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Another gateway that speaks the same protocol: how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it is called.
    pub name: String,
    /// For `sh`. `{port}` stands for where it is to listen, `{bus}` for the Redis as a URL,
    /// `{config}` for an `opensrf_core.xml` that says the same.
    pub command: String,
}

/// `COMMAND {port}`, or `NAME=COMMAND {port}` with a name of letters, digits, `-` and `.`.
impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains("{port}") {
            return Err("there is no {port} in it".to_owned());
        }
        let is_name = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            !name.is_empty() && name.chars().all(plain)
        };
        let (name, command) = match text.split_once('=') {
            Some((name, command)) if is_name(name) => (name, command),
            Some(_) | None => {
                let first = text.split_whitespace().next().unwrap_or_default();
                (first.rsplit('/').next().unwrap_or_default(), text)
            }
        };
        Ok(Self { name: name.to_owned(), command: command.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_as_it_is_written() {
        for text in
            ["bare:redis", "relay:prosody", "bare:ejabberd", "gateway:embedded", "peer:a", "run"]
        {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        assert_eq!("gateway".parse(), Ok(Subject::Gateway(Bus::Redis)));
        for wrong in ["bare:embedded", "gateway:rabbit", "run:redis", "cat"] {
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_peer_has_the_name_that_it_is_given_or_that_of_its_program() {
        let peer: Peer = "old=env A=b /usr/bin/old --port {port}".parse().unwrap();
        assert_eq!((&*peer.name, &*peer.command), ("old", "env A=b /usr/bin/old --port {port}"));
        let peer: Peer = "/usr/bin/old --port={port}".parse().unwrap();
        assert_eq!((&*peer.name, &*peer.command), ("old", "/usr/bin/old --port={port}"));
        assert!("old --port 80".parse::<Peer>().is_err());
    }
}
