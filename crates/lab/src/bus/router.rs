//! A router: it knows which services there are, because their listeners say so, and passes on
//! what is for them.

use std::collections::BTreeSet;

use tokio::sync::watch;

use super::account::{Account, Kind};
use super::{Running, redis, xmpp};

/// The names of the services that have registered with a router.
pub type Registered = watch::Receiver<BTreeSet<String>>;

/// Starts a router of this name in the domain of its account. On XMPP its name is its user's.
#[must_use]
pub fn start(account: Account, name: &str) -> (Running, Registered) {
    match account.bus {
        Kind::Redis => redis::router::start(account, name),
        Kind::Xmpp => xmpp::router::start(account),
    }
}
