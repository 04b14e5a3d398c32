//! Who one is on a bus, and where.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionAddr, IntoConnectionInfo as _};

/// An account: `redis://user:password@domain:port`, or
/// `xmpp://user:password@domain:port?host=127.0.0.1`.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// What kind of bus it is.
    pub bus: Kind,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// The domain.
    pub domain: String,
    /// The host; on Redis, each domain is the name of its own.
    pub host: String,
    /// The port, in every domain.
    pub port: u16,
}

/// What kind of bus an account is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// OpenSRF 4's.
    Redis,
    /// OpenSRF 3's.
    Xmpp,
}

impl Account {
    /// The URL that it is read from.
    #[must_use]
    pub fn url(&self) -> String {
        let Self { user, password, domain, host, port, .. } = self;
        match self.bus {
            Kind::Redis => format!("redis://{user}:{password}@{domain}:{port}"),
            Kind::Xmpp => format!("xmpp://{user}:{password}@{domain}:{port}?host={host}"),
        }
    }
}

impl FromStr for Account {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let expected = || {
            "expected redis://user:password@domain:port or \
             xmpp://user:password@domain:port?host=HOST"
                .to_owned()
        };
        let (bus, rest) = match url.split_once("://").ok_or_else(expected)? {
            ("redis", rest) => (Kind::Redis, rest),
            ("xmpp", rest) => (Kind::Xmpp, rest),
            _ => return Err(expected()),
        };
        let (rest, host) = match rest.split_once("?host=") {
            Some((rest, host)) => (rest, Some(host.to_owned())),
            None => (rest, None),
        };
        let info = format!("redis://{rest}");
        let info = info.as_str().into_connection_info().map_err(|_| expected())?;
        let ConnectionAddr::Tcp(domain, port) = info.addr().clone() else { return Err(expected()) };
        let login = info.redis_settings();
        let (user, password) = login.username().zip(login.password()).ok_or_else(expected)?;
        let host = host.unwrap_or_else(|| domain.clone());
        let (user, password) = (user.to_owned(), password.to_owned());
        Ok(Self { bus, user, password, domain, host, port })
    }
}

/// Without the password.
impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bus, user, domain, port, .. } = self;
        write!(formatter, "Account({bus:?} {user}@{domain}:{port})")
    }
}
