//! What a gateway under test stands on: a bus, and the services there. A test that is true of the
//! gateway is true on every bus; it is written once and run on each, see
//! [`on_each_bus`](crate::on_each_bus).

use std::io;
use std::path::Path;
use std::time::Duration;

use slackwater_bus::services;
use slackwater_bus::worker::SessionLimits;

use crate::bus::server::{DOMAIN, OTHER_DOMAIN, Server};
use crate::bus::{Account, Running, router, worker};
use crate::process::Gateway;

/// The buses that a gateway can be tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// Inside the gateway's process.
    Embedded,
    /// A redis-server with the accounts and rights that OpenSRF ships, a router and, as sites have
    /// it, the services in another domain than the gateway.
    Redis,
}

/// How the demo services behave.
#[derive(Debug, Clone, Copy)]
pub struct Services {
    /// How long a session may be idle.
    pub keepalive: Duration,
    /// Requests that a session may make.
    pub max_requests: u32,
    /// Workers of a service.
    pub max_workers: usize,
}

impl Default for Services {
    /// Sessions that outlive a test.
    fn default() -> Self {
        Self { keepalive: Duration::from_secs(60), max_requests: 1_000, max_workers: 10_000 }
    }
}

/// How long anything is waited for that should come at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes of each function `async fn name(site: &Site)` a test on each bus, `name::embedded` and
/// `name::redis`. Their services are the default ones, or those that are said first:
/// `on_each_bus!(Services { … }; name, …)`.
#[macro_export]
macro_rules! on_each_bus {
    ($($test:ident),+ $(,)?) => {
        $crate::on_each_bus!($crate::site::Services::default(); $($test),+);
    };
    ($services:expr; $($test:ident),+ $(,)?) => { $(
        mod $test {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                $crate::site::on($crate::site::Bus::Embedded, $services, $test).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn redis() {
                $crate::site::on($crate::site::Bus::Redis, $services, $test).await;
            }
        }
    )+ };
}

/// Runs a test on a bus of this kind, unless this machine has not got what it needs, and ends the
/// bus.
///
/// # Panics
/// The bus does not start, or see [`Site::stop`].
pub async fn on(bus: Bus, services: Services, test: impl AsyncFnOnce(&Site)) {
    let site = Site::start(bus, services).await.expect("a bus");
    let Some(site) = site else { return };
    Box::pin(test(&site)).await;
    site.stop().await.expect("an end in order");
}

/// The options with which a gateway joins a Redis at this port, with this state directory.
#[must_use]
pub fn joined(port: u16, state: &Path) -> Vec<String> {
    let bus = format!("redis://gateway:gatewaypw@{DOMAIN}:{port}");
    ["--bus", &bus, "--state-dir", &state.display().to_string()].map(str::to_owned).to_vec()
}

/// A bus with its services.
#[derive(Debug)]
pub struct Site {
    services: Services,
    redis: Option<Redis>,
}

#[derive(Debug)]
struct Redis {
    server: Server,
    others: Vec<Running>,
    state: tempfile::TempDir,
}

impl Site {
    /// The bus inside the gateway, for tests that no bus has a part in.
    #[must_use]
    pub fn embedded() -> Self {
        Self { services: Services::default(), redis: None }
    }

    /// A bus of this kind with its services. `None`, and a loud word about it, if this machine has
    /// not got what it needs.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(bus: Bus, services: Services) -> io::Result<Option<Self>> {
        let mut site = Self { services, redis: None };
        if bus == Bus::Redis {
            let Some(server) = Server::start().await? else { return Ok(None) };
            let (others, state) = (Vec::new(), tempfile::tempdir()?);
            site.redis = Some(Redis { server, others, state });
            site.serve_again().await?;
        }
        Ok(Some(site))
    }

    /// The redis-server, if there is one.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        self.redis.as_ref().map(|redis| &redis.server)
    }

    /// The redis-server, to end it and to start it again.
    ///
    /// # Panics
    /// There is none: the bus is inside the gateway.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.redis.as_mut().expect("a bus of its own").server
    }

    /// The kind of the bus.
    #[must_use]
    pub fn bus(&self) -> Bus {
        if self.redis.is_some() { Bus::Redis } else { Bus::Embedded }
    }

    /// Starts router and services anew, which do not outlive their bus, and waits until the router
    /// knows the services.
    ///
    /// # Errors
    /// They do not start.
    pub async fn serve_again(&mut self) -> io::Result<()> {
        let Some(redis) = &mut self.redis else { return Ok(()) };
        redis.others.clear();
        let Services { keepalive, max_requests, max_workers } = self.services;
        let port = redis.server.port();
        let account = |user: &str, domain: &str| Account {
            user: user.to_owned(),
            password: format!("{user}pw"),
            domain: domain.to_owned(),
            port,
        };
        let options = worker::Options {
            router_name: "router".to_owned(),
            router_domains: vec![DOMAIN.to_owned()],
            limits: SessionLimits { keepalive, max_requests },
            max_workers,
        };
        let (router, mut registered) = router::start(account("router", DOMAIN), "router");
        redis.others.push(router);
        let workers = worker::start(account("opensrf", OTHER_DOMAIN), options).await;
        redis.others.push(workers.map_err(io::Error::other)?);
        let all = services::all();
        let knows_all =
            registered.wait_for(|known| all.iter().all(|service| known.contains(service.name())));
        tokio::time::timeout(PATIENCE, knows_all).await?.map(drop).map_err(io::Error::other)
    }

    /// The options with which a gateway joins this bus.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let Some(redis) = &self.redis else {
            let Services { keepalive, max_requests, max_workers } = self.services;
            let keepalive = keepalive.as_millis();
            let bus = format!(
                "embedded:?keepalive={keepalive}ms&max_requests={max_requests}&max_workers={max_workers}"
            );
            return ["--bus", &bus].map(str::to_owned).to_vec();
        };
        joined(redis.server.port(), redis.state.path())
    }

    /// A gateway on this bus, with more options.
    ///
    /// # Errors
    /// It does not start; the error's text is its log.
    pub async fn gateway(
        &self,
        program: impl AsRef<Path>,
        options: &[&str],
    ) -> io::Result<Gateway> {
        let own = self.options();
        let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
        all.extend(options);
        Gateway::start(program, &all).await
    }

    /// Ends it at once, with whatever its workers are at. On Redis, asserts what holds after every
    /// test: no command was refused for want of rights, or failed in any other way.
    ///
    /// # Errors
    /// One was.
    pub async fn stop(self) -> io::Result<()> {
        let Some(Redis { server, others, .. }) = self.redis else { return Ok(()) };
        drop(others);
        match server.denials().await.map_err(io::Error::other)? {
            0 => Ok(()),
            denials => Err(io::Error::other(format!("Redis has refused {denials} commands"))),
        }
    }
}
