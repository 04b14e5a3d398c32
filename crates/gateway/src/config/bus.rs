//! Which bus to relay to. A password in its URL is never shown: not by `Debug`, not by
//! `Display`, not in an error.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};
use slackwater_bus::Endpoint;
use url::Url;

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
    /// OpenSRF 4's bus.
    Redis(RedisBus),
    /// OpenSRF 3's bus.
    Xmpp(XmppBus),
    /// Either of these, whichever is there.
    Either(RedisBus, XmppBus),
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

/// `redis://USER:PASSWORD@HOST:PORT/?router=router&domain=HOST`; `rediss:` is the same over TLS,
/// and takes `ca=FILE`; `redis+unix:///path/to/socket?user=USER&domain=HOST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisBus {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The ACL user; `gateway` unless set.
    pub username: String,
    /// Its password, if the URL has one.
    pub password: Option<Secret>,
    /// Our domain: the host unless set.
    pub domain: String,
    /// The router's name; `router` unless set.
    pub router_name: String,
}

/// `xmpp://USER:PASSWORD@DOMAIN:PORT/RESOURCE?router=router&host=DOMAIN`; with `xmpps:` the streams
/// must be encrypted, and it takes `ca=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XmppBus {
    /// Where it is; the host is the domain unless set.
    pub endpoint: Endpoint,
    /// The user of the account; `opensrf` unless set.
    pub username: String,
    /// Its password, if the URL has one.
    pub password: Option<Secret>,
    /// Our domain.
    pub domain: String,
    /// The user of the router.
    pub router_name: String,
    /// What our resources begin with.
    pub resource: String,
    /// Whether streams must be encrypted, whatever else is set.
    pub requires_tls: bool,
    /// A PEM file of the certificates to trust; without it, those that the system trusts.
    pub authorities: Option<PathBuf>,
}

/// Something that no log, status or error may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

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
            "redis" | "rediss" | "redis+unix" => {
                Ok(Self { text: text.to_owned(), transport: Transport::Redis(redis(text)?) })
            }
            "xmpp" | "xmpps" => {
                Ok(Self { text: text.to_owned(), transport: Transport::Xmpp(xmpp(text)?) })
            }
            "opensrf" => {
                let transport = Transport::Either(
                    redis(&format!("redis:{rest}"))?,
                    xmpp(&format!("xmpp:{rest}"))?,
                );
                Ok(Self { text: text.to_owned(), transport })
            }
            _ => Err(Unfit::expected("a bus URL that begins with embedded:, redis: or xmpp:")),
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

impl Secret {
    /// For whoever must know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
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

fn redis(text: &str) -> Result<RedisBus, Unfit> {
    const FORM: &str = "redis://USER:PASSWORD@HOST:PORT/?router=NAME&domain=NAME";
    let expected = || Unfit(format!("expected {FORM} (given: {})", without_password(text)));
    let url = Url::parse(text).map_err(|_| expected())?;
    let decoded = |part: &str| {
        percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| expected())
    };
    let host = || url.host_str().map(str::to_owned).filter(|host| !host.is_empty());
    let port = url.port().unwrap_or(6379);
    let (mut user, mut domain, mut router_name, mut authorities) = (None, None, None, None);
    for (key, value) in url.query_pairs() {
        match (&*key, url.scheme()) {
            ("domain", _) => domain = Some(value.into_owned()),
            ("router", _) => router_name = Some(value.into_owned()),
            ("user", "redis+unix") => user = Some(value.into_owned()),
            ("ca", "rediss") => authorities = Some(PathBuf::from(value.into_owned())),
            _ => {
                return Err(Unfit(format!(
                    "expected router=NAME or domain=NAME behind the ?, with rediss: ca=FILE, with \
                     redis+unix: user=NAME (given: {})",
                    without_password(text)
                )));
            }
        }
    }
    let endpoint = match (url.scheme(), host()) {
        ("redis+unix", None) => Endpoint::Unix { path: decoded(url.path())?.into() },
        ("redis", Some(host)) => Endpoint::Tcp { host, port },
        ("rediss", Some(host)) => Endpoint::Tls { host, port, authorities },
        _ => return Err(expected()),
    };
    let username = match url.username() {
        "" => user.unwrap_or_else(|| "gateway".to_owned()),
        user => decoded(user)?,
    };
    Ok(RedisBus {
        username,
        password: url.password().map(decoded).transpose()?.map(Secret),
        domain: domain.or_else(host).unwrap_or_else(|| "localhost".to_owned()),
        router_name: router_name.unwrap_or_else(|| "router".to_owned()),
        endpoint,
    })
}

fn xmpp(text: &str) -> Result<XmppBus, Unfit> {
    const FORM: &str = "xmpp://USER:PASSWORD@DOMAIN:PORT/RESOURCE?router=NAME&host=HOST";
    let expected = || Unfit(format!("expected {FORM} (given: {})", without_password(text)));
    let url = Url::parse(text).map_err(|_| expected())?;
    let decoded = |part: &str| {
        percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| expected())
    };
    let domain = url.host_str().filter(|host| !host.is_empty()).ok_or_else(expected)?.to_owned();
    let (mut host, mut router_name, mut authorities) = (None, None, None);
    for (key, value) in url.query_pairs() {
        match (&*key, url.scheme()) {
            ("host", _) => host = Some(value.into_owned()),
            ("router", _) => router_name = Some(value.into_owned()),
            ("ca", "xmpps") => authorities = Some(PathBuf::from(value.into_owned())),
            _ => {
                return Err(Unfit(format!(
                    "expected router=NAME or host=HOST behind the ?, with xmpps: ca=FILE (given: {})",
                    without_password(text)
                )));
            }
        }
    }
    let username = match url.username() {
        "" => "opensrf".to_owned(),
        user => decoded(user)?,
    };
    Ok(XmppBus {
        endpoint: Endpoint::Tcp {
            host: host.unwrap_or_else(|| domain.clone()),
            port: url.port().unwrap_or(5222),
        },
        username,
        password: url.password().map(decoded).transpose()?.map(Secret),
        domain,
        router_name: router_name.unwrap_or_else(|| "router".to_owned()),
        resource: decoded(url.path().trim_start_matches('/'))?,
        requires_tls: url.scheme() == "xmpps",
        authorities,
    })
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
    fn a_redis_url_says_who_where_and_by_which_router() {
        let read = |text: &str| match text.parse::<BusUrl>().unwrap().transport() {
            Transport::Redis(bus) => bus.clone(),
            other @ (Transport::Embedded(_) | Transport::Xmpp(_) | Transport::Either(..)) => {
                panic!("{other:?}")
            }
        };
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        let bus = read("redis://opensrf:p%40ss@public.localhost:6380/?router=r1");
        assert_eq!(bus.endpoint, tcp("public.localhost", 6380));
        assert_eq!((bus.username.as_str(), bus.router_name.as_str()), ("opensrf", "r1"));
        assert_eq!(bus.password.map(|password| password.reveal().to_owned()), Some("p@ss".into()));
        assert_eq!(bus.domain, "public.localhost");

        let bus = read("redis://127.0.0.1?domain=public.localhost");
        assert_eq!(bus.endpoint, tcp("127.0.0.1", 6379));
        assert_eq!((bus.username.as_str(), bus.router_name.as_str()), ("gateway", "router"));
        assert_eq!((bus.password, bus.domain.as_str()), (None, "public.localhost"));

        let bus = read("rediss://h/?ca=/etc/ca.pem");
        let authorities = Some(PathBuf::from("/etc/ca.pem"));
        assert_eq!(bus.endpoint, Endpoint::Tls { host: "h".into(), port: 6379, authorities });
        let bus = read("redis+unix:///run/redis.sock?user=me&domain=public.localhost");
        assert_eq!(bus.endpoint, Endpoint::Unix { path: "/run/redis.sock".into() });
        assert_eq!(bus.username, "me");
    }

    #[test]
    fn an_xmpp_url_says_who_where_and_by_which_router() {
        let read = |text: &str| match text.parse::<BusUrl>().unwrap().transport() {
            Transport::Xmpp(bus) => bus.clone(),
            other @ (Transport::Embedded(_) | Transport::Redis(_) | Transport::Either(..)) => {
                panic!("{other:?}")
            }
        };
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        let bus = read("xmpp://me:p%40ss@public.localhost:5300/gw?router=r1&host=127.0.0.1");
        assert_eq!(bus.endpoint, tcp("127.0.0.1", 5300));
        assert_eq!((bus.username.as_str(), bus.router_name.as_str()), ("me", "r1"));
        assert_eq!(bus.password.map(|password| password.reveal().to_owned()), Some("p@ss".into()));
        assert_eq!((bus.domain.as_str(), bus.resource.as_str()), ("public.localhost", "gw"));
        assert!(!bus.requires_tls);

        let bus = read("xmpps://public.localhost?ca=/etc/ca.pem");
        assert_eq!(bus.endpoint, tcp("public.localhost", 5222));
        assert_eq!((bus.username.as_str(), bus.router_name.as_str()), ("opensrf", "router"));
        assert_eq!((bus.requires_tls, bus.resource.as_str()), (true, ""));
        assert_eq!(bus.authorities, Some("/etc/ca.pem".into()));
    }

    #[test]
    fn wrong_urls_say_what_was_expected() {
        for (text, expected) in [
            ("", "expected a bus URL such as embedded:"),
            ("embedded", "expected a bus URL such as embedded:"),
            ("ftp://x", "expected a bus URL that begins with embedded:, redis: or xmpp:"),
            ("embedded://x", "expected embedded:, or embedded:?keepalive=5s&max_requests=1000"),
            ("embedded:?keepalive=0", "expected a keepalive of at least 1ms"),
            ("embedded:?max_requests=0", "expected max_requests of at least 1"),
            ("embedded:?max_workers=0", "expected max_workers of at least 1"),
            (
                "embedded:?max=1",
                "expected keepalive=DURATION, max_requests=NUMBER or max_workers=NUMBER behind the ?",
            ),
            (
                "xmpp://u:secret@",
                "expected xmpp://USER:PASSWORD@DOMAIN:PORT/RESOURCE?router=NAME&host=HOST \
                 (given: xmpp://u:***@)",
            ),
            (
                "xmpp://host/?ca=x",
                "expected router=NAME or host=HOST behind the ?, with xmpps: ca=FILE \
                 (given: xmpp://host/?ca=x)",
            ),
            (
                "redis://u:secret@",
                "expected redis://USER:PASSWORD@HOST:PORT/?router=NAME&domain=NAME (given: redis://u:***@)",
            ),
            (
                "redis://host/?db=1",
                "expected router=NAME or domain=NAME behind the ?, with rediss: ca=FILE, with \
                 redis+unix: user=NAME (given: redis://host/?db=1)",
            ),
        ] {
            assert_eq!(text.parse::<BusUrl>().unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "redis://user:secret@host:notaport",
            "redis://:secret@host/?x=1",
            "xmpp://u:a@secret@h/?x=1",
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
