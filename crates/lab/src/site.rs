//! What a gateway under test stands on: a bus, and the services there. A test that is true of the
//! gateway is true on every bus; it is written once and run on each, see
//! [`on_each_bus`](crate::on_each_bus).

use std::io;
use std::path::Path;
use std::time::Duration;

use slackwater_bus::services;
use slackwater_bus::worker::SessionLimits;

use crate::bus::redis::server::{DOMAIN, OTHER_DOMAIN, Server};
use crate::bus::xmpp::server::{self as xmpp, Brand};
use crate::bus::{Process, Running, router, worker};
use crate::process::Gateway;

/// The buses that a gateway can be tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// Inside the gateway's process.
    Embedded,
    /// A redis-server with the accounts and rights that OpenSRF ships, a router and, as sites have
    /// it, the services in another domain than the gateway.
    Redis,
    /// An ejabberd or Prosody, in the same way.
    Xmpp(Brand),
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

/// Prosody.
pub const PROSODY: Bus = Bus::Xmpp(Brand::Prosody);
/// ejabberd.
pub const EJABBERD: Bus = Bus::Xmpp(Brand::Ejabberd);

/// Makes of each function `async fn name(site: &Site)` a test on each bus: `name::embedded`,
/// `name::redis`, `name::prosody` and `name::ejabberd`, of which the last one, whose server takes
/// seconds to start, runs only if the full length is asked for. Their services are the default ones, or those that are said first:
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

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn prosody() {
                $crate::site::on($crate::site::PROSODY, $services, $test).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn ejabberd() {
                if $crate::proof::is_long() {
                    $crate::site::on($crate::site::EJABBERD, $services, $test).await;
                }
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
    ground: Ground,
    others: Vec<Running>,
    state: Option<tempfile::TempDir>,
}

/// What carries the envelopes.
#[derive(Debug)]
enum Ground {
    Embedded,
    Redis(Server),
    Xmpp(xmpp::Server),
}

impl Site {
    /// The bus inside the gateway, for tests that no bus has a part in.
    #[must_use]
    pub fn embedded() -> Self {
        let services = Services::default();
        Self { services, ground: Ground::Embedded, others: Vec::new(), state: None }
    }

    /// A bus of this kind with its services. `None`, and a loud word about it, if this machine has
    /// not got what it needs.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(bus: Bus, services: Services) -> io::Result<Option<Self>> {
        let ground = match bus {
            Bus::Embedded => Some(Ground::Embedded),
            Bus::Redis => Server::start().await?.map(Ground::Redis),
            Bus::Xmpp(brand) => xmpp::Server::start(brand).await?.map(Ground::Xmpp),
        };
        let Some(ground) = ground else { return Ok(None) };
        let state = Some(tempfile::tempdir()?);
        let mut site = Self { services, ground, others: Vec::new(), state };
        site.serve_again().await?;
        Ok(Some(site))
    }

    /// The redis-server, if there is one.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        match &self.ground {
            Ground::Redis(server) => Some(server),
            Ground::Embedded | Ground::Xmpp(_) => None,
        }
    }

    /// The XMPP server, if there is one.
    #[must_use]
    pub fn xmpp(&self) -> Option<&xmpp::Server> {
        match &self.ground {
            Ground::Xmpp(server) => Some(server),
            Ground::Embedded | Ground::Redis(_) => None,
        }
    }

    /// Its process, to be ended, hung and started again.
    ///
    /// # Panics
    /// There is none: the bus is inside the gateway.
    pub fn process(&mut self) -> &mut dyn Process {
        match &mut self.ground {
            Ground::Embedded => panic!("the bus has no process of its own"),
            Ground::Redis(server) => server,
            Ground::Xmpp(server) => server,
        }
    }

    /// The kind of the bus.
    #[must_use]
    pub fn bus(&self) -> Bus {
        match &self.ground {
            Ground::Embedded => Bus::Embedded,
            Ground::Redis(_) => Bus::Redis,
            Ground::Xmpp(server) => Bus::Xmpp(server.brand()),
        }
    }

    /// Starts router and services anew, which do not outlive their bus, and waits until the router
    /// knows the services.
    ///
    /// # Errors
    /// They do not start.
    pub async fn serve_again(&mut self) -> io::Result<()> {
        self.others.clear();
        let (router, opensrf, domain) = match &self.ground {
            Ground::Embedded => return Ok(()),
            Ground::Redis(server) => {
                let opensrf = server.account("opensrf", OTHER_DOMAIN);
                (server.account("router", DOMAIN), opensrf, DOMAIN)
            }
            Ground::Xmpp(server) => {
                let opensrf = server.account("opensrf", xmpp::OTHER_DOMAIN);
                (server.account("router", xmpp::DOMAIN), opensrf, xmpp::DOMAIN)
            }
        };
        let Services { keepalive, max_requests, max_workers } = self.services;
        let options = worker::Options {
            router_name: "router".to_owned(),
            router_domains: vec![domain.to_owned()],
            limits: SessionLimits { keepalive, max_requests },
            max_workers,
        };
        let (router, mut registered) = router::start(router, "router");
        self.others.push(router);
        let workers = worker::start(opensrf, options).await;
        self.others.push(workers.map_err(io::Error::other)?);
        let all = services::all();
        let knows_all =
            registered.wait_for(|known| all.iter().all(|service| known.contains(service.name())));
        tokio::time::timeout(PATIENCE, knows_all).await?.map(drop).map_err(io::Error::other)
    }

    /// The options with which a gateway joins this bus.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        match (&self.ground, &self.state) {
            (Ground::Redis(server), Some(state)) => joined(server.port(), state.path()),
            // What the server offers it has no certificate for: an attempt would take time only.
            (Ground::Xmpp(server), _) => {
                ["--bus", &server.url(), "--bus-tls", "off"].map(str::to_owned).to_vec()
            }
            (Ground::Embedded | Ground::Redis(_), _) => {
                let Services { keepalive, max_requests, max_workers } = self.services;
                let keepalive = keepalive.as_millis();
                let bus = format!(
                    "embedded:?keepalive={keepalive}ms&max_requests={max_requests}&max_workers={max_workers}"
                );
                ["--bus", &bus].map(str::to_owned).to_vec()
            }
        }
    }

    /// The port of the bus's server, if it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.ground {
            Ground::Embedded => None,
            Ground::Redis(server) => Some(server.port()),
            Ground::Xmpp(server) => Some(server.port()),
        }
    }

    /// The same as [`Site::options`], by a way of its own to the server, which ends at this port.
    #[must_use]
    pub fn options_by(&self, port: u16) -> Vec<String> {
        let own = self.port().map(|own| format!(":{own}")).unwrap_or_default();
        let by = format!(":{port}");
        self.options().into_iter().map(|option| option.replace(&own, &by)).collect()
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
        let Self { ground, others, .. } = self;
        drop(others);
        let Ground::Redis(server) = ground else { return Ok(()) };
        match server.denials().await.map_err(io::Error::other)? {
            0 => Ok(()),
            denials => Err(io::Error::other(format!("Redis has refused {denials} commands"))),
        }
    }
}
