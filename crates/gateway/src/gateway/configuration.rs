//! Where the settings of a gateway come from, and how they are read again while clients are
//! connected.
//!
//! The law: what is wrong anywhere in it changes nothing; and a client that joins meanwhile goes by
//! the old settings or the new, never by some of each for long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slackwater_core::drain::Input;

use super::{Gateway, Order};
use crate::clock::now;
use crate::config::{ConfigError, ServeOptions, Settings, Surroundings, parts};
use crate::operate::logs::Switch;
use crate::operate::status::{Refused, Reloaded};
use crate::operate::systemd;

/// Where settings come from, and what they are now.
#[derive(Debug)]
pub struct Configuration {
    typed: ServeOptions,
    surroundings: Surroundings,
    log: Switch,
    settings: Mutex<Settings>,
    /// One at a time reads them again.
    turn: tokio::sync::Mutex<()>,
}

impl Configuration {
    /// `settings` are what `typed` and the files it names mean in these surroundings.
    pub fn new(
        typed: ServeOptions,
        surroundings: Surroundings,
        settings: Settings,
        log: Switch,
    ) -> Self {
        let settings = Mutex::new(settings);
        Self { typed, surroundings, log, settings, turn: tokio::sync::Mutex::default() }
    }

    /// What they are now.
    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        // No code that holds it can panic half-way through a change.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the process found around it when it was started.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Reads the files again. Whoever waits for a disk here holds nobody up.
    async fn read(&self) -> Result<Settings, ReadError> {
        let (typed, surroundings) = (self.typed.clone(), self.surroundings.clone());
        let read = move || Settings::load(typed, &surroundings);
        Ok(tokio::task::spawn_blocking(read).await??)
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the configuration was not read: {0}")]
    Reader(#[from] tokio::task::JoinError),
}

impl Gateway {
    /// Reads the configuration again, and goes by it if nothing is wrong with it.
    pub(super) async fn read_again(&self) -> Result<Reloaded, Refused> {
        let _turn = self.configuration.turn.lock().await;
        systemd::reloading();
        let outcome = match self.configuration.read().await {
            Ok(read) => self.go_by(read).await,
            Err(error) => {
                tracing::error!(%error, "configuration not read again: nothing has changed");
                Err(Refused(format!("{error} (nothing has changed)")))
            }
        };
        systemd::reloaded();
        outcome
    }

    async fn go_by(&self, read: Settings) -> Result<Reloaded, Refused> {
        let adopted = self.configuration.settings().adopt(read);
        let settings = adopted.settings;
        self.configuration.log.configure(&settings.log);
        {
            // Under the lock: who joins before is told, who joins after begins with them.
            let mut books = self.books();
            books.sessions = Arc::new(parts::session(&settings));
            books.limits = parts::limits(&settings);
            self.hub.configure(&books.limits, &books.sessions);
            let drain = Input::Configure(parts::drain(&settings));
            self.tell_locked(&mut books, |running| running.handle_input(drain, now()));
        }
        self.order(Order::Configure(Box::new(parts::front(&settings))));
        *self.configuration.settings() = settings;
        let (changed, at_next_start) = (adopted.changed, adopted.at_next_start);
        tracing::info!(changed = changed.join(" "), "configuration read again");
        if !at_next_start.is_empty() {
            let keys = at_next_start.join(" ");
            tracing::warn!(keys, "settings that change with the next start only");
        }
        self.orders_obeyed().await?;
        let owned = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
        Ok(Reloaded { changed: owned(changed), at_next_start: owned(at_next_start) })
    }
}
