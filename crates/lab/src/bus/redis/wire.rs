//! Plain connections to a Redis bus, for those who are not the gateway: one waits, and there is
//! one for each domain that is pushed to.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisResult,
};

use crate::bus::account::Account;

/// The connections of one account.
pub(in crate::bus) struct Wire {
    account: Account,
    waiting: Option<MultiplexedConnection>,
    pushing: HashMap<String, MultiplexedConnection>,
}

impl Wire {
    pub(in crate::bus) fn new(account: Account) -> Self {
        Self { account, waiting: None, pushing: HashMap::new() }
    }

    /// The next text in a list of our own domain; `None` once it is to stop. A lost connection is
    /// made anew for as long as it takes.
    pub(in crate::bus) async fn next(
        &mut self,
        list: &str,
        stop: &Arc<AtomicBool>,
    ) -> Option<String> {
        while !stop.load(Ordering::Relaxed) {
            match self.wait(list).await {
                Ok(Some(text)) => return Some(text),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, list, "the bus is lost");
                    self.waiting = None;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        None
    }

    /// Pushes a text to a list of a domain; what cannot be pushed is lost, and logged.
    pub(in crate::bus) async fn push(&mut self, domain: &str, list: &str, text: &str) {
        for attempt in 0..2 {
            match self.try_push(domain, list, text).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, list, attempt, "not pushed");
                    // An old connection may have been lost long ago; a new one tells the truth.
                    if self.pushing.remove(domain).is_none() {
                        return;
                    }
                }
            }
        }
    }

    async fn wait(&mut self, list: &str) -> RedisResult<Option<String>> {
        if self.waiting.is_none() {
            self.waiting = Some(connect(&self.account, &self.account.domain).await?);
        }
        let Some(connection) = &mut self.waiting else { return Ok(None) };
        let mut command = redis::cmd("BLPOP");
        command.arg(list).arg(1);
        let popped: Option<(String, String)> = command.query_async(connection).await?;
        Ok(popped.map(|(_, text)| text))
    }

    async fn try_push(&mut self, domain: &str, list: &str, text: &str) -> RedisResult<()> {
        if !self.pushing.contains_key(domain) {
            let connection = connect(&self.account, domain).await?;
            self.pushing.insert(domain.to_owned(), connection);
        }
        let Some(connection) = self.pushing.get_mut(domain) else { return Ok(()) };
        let mut command = redis::cmd("RPUSH");
        command.arg(list).arg(text);
        let _length: u64 = command.query_async(connection).await?;
        Ok(())
    }
}

async fn connect(account: &Account, domain: &str) -> RedisResult<MultiplexedConnection> {
    let login = RedisConnectionInfo::default()
        .set_username(&account.user)
        .set_password(&account.password)
        .set_skip_set_lib_name();
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let address = ConnectionAddr::Tcp(domain.to_owned(), account.port);
    let info = address.into_connection_info()?.set_redis_settings(login).set_tcp_settings(tcp);
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
}

/// User and domain of `opensrf:client:USER:DOMAIN:…`.
pub(in crate::bus) fn user_and_domain(address: &str) -> io::Result<(&str, &str)> {
    let mut parts = address.strip_prefix("opensrf:client:").unwrap_or_default().split(':');
    let pair = parts.next().zip(parts.next()).filter(|(user, _)| !user.is_empty());
    pair.ok_or_else(|| io::Error::other(format!("not an address: {address:?}")))
}
