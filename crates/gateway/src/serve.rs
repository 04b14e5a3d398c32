//! The life of a serving process, from its settings to its exit status.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use slackwater_bus::probe::{Found, probe};
use slackwater_bus::xmpp::Encryption;
use slackwater_bus::{Bus, QueueLimits, embedded, redis, xmpp};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::clients::Clients;
use crate::command::print;
use crate::config::{
    self, BusTls, LogFormat, LogTo, RedisBus, Refuse, Secret, Settings, Transport, XmppBus, parts,
};
use crate::front::listener::Refusal;
use crate::front::{Front, Inherited, ListenAddress, ListenError, Listener, Then};
use crate::gateway::{Behind, Configuration, Gateway, Order};
use crate::operate::agent;
use crate::operate::control::{ControlSocket, Key, Server, SocketError};
use crate::operate::memory;
use crate::operate::signals::{Children, Signals};
use crate::operate::systemd;
use crate::program::Programs;
use crate::web::{Keeps, redirect};

/// Why a gateway could not begin to serve: for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A client address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The control socket.
    #[error("control socket: {0}")]
    Control(#[from] SocketError),
    /// The bus.
    #[error("bus {url}: {reason}")]
    Bus {
        /// Without a password.
        url: String,
        /// What to mend.
        reason: slackwater_bus::Error,
    },
    /// The file with the bus's password.
    #[error("bus_password_file {}: {reason}", path.display())]
    BusPassword {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// An address for balancers and the like.
    #[error("cannot listen on {address} for {whom}: {reason}")]
    Aside {
        /// Who was to be answered there.
        whom: &'static str,
        /// What was asked for.
        address: SocketAddr,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// The operating system refused something else.
    #[error("{what}: {reason}")]
    System {
        /// What it was for.
        what: &'static str,
        /// What the operating system says.
        reason: std::io::Error,
    },
}

/// Serves until told to stop, and drains. Gives the exit status: 0, or 3 if the deadline cut
/// something off.
///
/// # Errors
/// [`ServeError`], before any client was served.
pub async fn serve(
    configuration: Configuration,
    inherited: Vec<Inherited>,
) -> Result<ExitCode, ServeError> {
    let settings = configuration.settings().clone();
    let programs = parts::programs(&settings);
    let children = match &programs {
        None => Children::None,
        Some(programs) if programs.command.hears_usr1 => Children::Hearing,
        Some(_) => Children::Deaf,
    };
    let signals = Signals::install(children)
        .map_err(|reason| ServeError::System { what: "signal handlers", reason })?;
    let listeners = listeners(&settings, inherited)?;
    let bound: Vec<ListenAddress> =
        listeners.iter().map(|listener| listener.address().clone()).collect();
    let control =
        ControlSocket::bind(settings.control.as_deref(), configuration.surroundings(), &bound)?;
    let admin = aside(settings.admin_listen, "the admin server").await?;
    let agent = aside(settings.agent_listen, "HAProxy's agent-check").await?;

    let redirecting = redirecting(&settings, &bound).await?;

    let bus = if programs.is_some() { None } else { Some(join_bus(&settings, Stay::Long).await?) };
    let behind = match &settings.behind {
        config::Behind::Bus => Behind::Bus(settings.bus.to_string()),
        config::Behind::Program(name, arguments) => {
            let words: Vec<_> =
                [name].into_iter().chain(arguments).map(|word| word.to_string_lossy()).collect();
            Behind::Program(words.join(" "))
        }
    };
    let sender = bus.as_ref().map(|bus| bus.sender.clone());
    let (gateway, orders) = Gateway::new(configuration, sender.clone());
    let tls = settings.front.tls.is_some();
    gateway.begin(bound.iter().map(ToString::to_string).collect(), tls, behind.clone());
    let let_in = parts::front(&settings);
    let front = match programs {
        Some(programs) => {
            Front::start(listeners, let_in, Programs::of(Arc::clone(&gateway), programs))
        }
        None => Front::start(listeners, let_in, Clients::of(Arc::clone(&gateway))),
    };

    let key = Key::random().map_err(|error| ServeError::System {
        what: "randomness",
        reason: std::io::Error::other(error.to_string()),
    })?;
    let page = admin.as_ref().and_then(|listener| listener.local_addr().ok());
    let page = page.map(|address| page_address(address, &key));
    let servers: Vec<Server> = admin
        .into_iter()
        .map(|listener| Server::admin(listener, Arc::clone(&gateway) as _, key.clone()))
        .chain([Server::control(control, Arc::clone(&gateway) as _, page)])
        .collect();
    for address in front.addresses() {
        if settings.log.format == LogFormat::Websocketd {
            // In the words that tools wait for.
            match address {
                ListenAddress::Tcp(address) => {
                    let scheme = if tls { "wss" } else { "ws" };
                    tracing::info!("Starting WebSocket server   : {scheme}://{address}/");
                }
                ListenAddress::Unix(path) => {
                    let path = path.display();
                    tracing::info!("Starting WebSocket server   : unix socket at {path}");
                }
            }
            continue;
        }
        match &behind {
            Behind::Bus(bus) => tracing::info!(%address, bus, "serving"),
            Behind::Program(program) => tracing::info!(%address, program, "serving"),
        }
    }
    if settings.log.to != LogTo::Stdout {
        greet(&bound);
    }
    for (listener, to, keeps) in redirecting {
        // Beside the rest, to the end of the process.
        tokio::spawn(redirect(listener, tls, to, keeps));
    }
    // Beside the rest, to the end of the process.
    memory::keep_giving_back();
    systemd::ready();
    let watched = Arc::clone(&gateway);
    // Beside the rest, to the end of the process.
    tokio::spawn(async move { systemd::feed_watchdog(&watched).await });
    if let Some(listener) = agent {
        // It says "drain" to the end.
        let directory = settings.state_directory.clone();
        tokio::spawn(agent::serve(listener, Arc::clone(&gateway), directory));
    }

    let reader = Arc::clone(&gateway);
    // Beside the rest: what workers are told at the very end still passes the bus.
    let reader =
        bus.map(|Bus { events, .. }| tokio::spawn(async move { reader.read_bus(events).await }));
    let verdict = tokio::select! {
        verdict = gateway.exit() => verdict,
        // None of these ends before the process does.
        () = signals.obey(&gateway) => gateway.exit().await,
        () = gateway.keep_time() => gateway.exit().await,
        () = systemd::keep_informed(&gateway) => gateway.exit().await,
        () = obey_orders(&gateway, &front, orders) => gateway.exit().await,
    };

    // If it was drained already, who comes to an inherited socket was answered 503 until now.
    front.refuse(Then::Leave).await.ok();
    for server in servers {
        server.finish().await;
    }
    front.close().await;
    let (Some(sender), Some(reader)) = (sender, reader) else {
        return Ok(ExitCode::from(verdict.exit_code()));
    };
    match settings.bus.transport() {
        // It ends with the process; nobody is left for whom its workers still work.
        Transport::Embedded(_) => {}
        Transport::Redis(_) | Transport::Xmpp(_) | Transport::Either(..) => {
            if tokio::time::timeout(BUS_FAREWELL, sender.close()).await.is_err() {
                tracing::warn!("the bus was not left in order");
            }
        }
    }
    reader.abort();
    Ok(ExitCode::from(verdict.exit_code()))
}

/// Where an operator on this machine finds the page.
fn page_address(mut bound: SocketAddr, key: &Key) -> String {
    if bound.ip().is_unspecified() {
        bound.set_ip(if bound.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{bound}/#key={}", key.reveal())
}

/// The inherited sockets, and those that are to be bound beside them.
fn listeners(settings: &Settings, inherited: Vec<Inherited>) -> Result<Vec<Listener>, ListenError> {
    let taken: Vec<ListenAddress> =
        inherited.iter().map(|socket| socket.address().clone()).collect();
    let inherited = inherited.into_iter().map(|socket| {
        let address = socket.address().clone();
        Listener::inherited(socket).map_err(|source| ListenError { address, source })
    });
    let bound = settings.listen.iter().filter(|address| !taken.contains(address));
    let bound = bound.map(|address| {
        Listener::bind(address.clone(), refusal(settings.drain.refuse), &settings.listen_access)
    });
    inherited.chain(bound).collect()
}

/// A listener for others than clients.
async fn aside(
    address: Option<SocketAddr>,
    whom: &'static str,
) -> Result<Option<TcpListener>, ServeError> {
    let Some(address) = address else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|reason| ServeError::Aside { whom, address, reason })
}

/// The ports from which browsers are sent to where we listen, and where that is.
async fn redirecting(
    settings: &Settings,
    bound: &[ListenAddress],
) -> Result<Vec<(TcpListener, SocketAddr, Keeps)>, ServeError> {
    let first = bound.iter().find_map(|listen| match listen {
        ListenAddress::Tcp(to) => Some(*to),
        ListenAddress::Unix(_) => None,
    });
    let mut all = Vec::new();
    if let Some(to) = first
        && let Some(listener) = aside(settings.redirect_listen, "browsers to be redirected").await?
    {
        all.push((listener, to, Keeps::Path));
    }
    let Some(port) = settings.web.redirect_port else { return Ok(all) };
    for listen in bound {
        let ListenAddress::Tcp(to) = listen else { continue };
        let from = SocketAddr::new(to.ip(), port);
        if let Some(listener) = aside(Some(from), "browsers to be redirected").await? {
            tracing::info!("Starting redirect server    : http://{from}/");
            all.push((listener, *to, Keeps::Nothing));
        }
    }
    Ok(all)
}

/// Carries out what the drain wants of the listeners, one order after the other.
async fn obey_orders(gateway: &Gateway, front: &Front, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Refuse(number, then) => {
                // It has logged what went wrong; who could not be refused is drained.
                front.refuse(then).await.ok();
                gateway.refused(number);
            }
            Order::Leave => {
                front.refuse(Then::Leave).await.ok();
            }
            Order::Serve => {
                if let Err(error) = front.reopen().await {
                    tracing::error!(%error, "cannot accept clients again");
                }
            }
            Order::Configure(settings) => front.configure(*settings),
            Order::Report(done) => {
                // Whoever asked may have gone.
                done.send(()).ok();
            }
        }
    }
}

/// Tells whoever started the gateway where to look.
fn greet(bound: &[ListenAddress]) {
    for listen in bound {
        let told = match listen {
            ListenAddress::Tcp(address) if address.ip().is_unspecified() => {
                print::line(format_args!("try it: http://localhost:{}/", address.port()))
            }
            ListenAddress::Tcp(address) => print::line(format_args!("try it: http://{address}/")),
            ListenAddress::Unix(_) => Ok(()),
        };
        if told.is_err() {
            // A service without a stdout serves as well.
            return;
        }
    }
}

/// How long leaving the bus may take: what is queued for it is sent, our lists are read dry.
const BUS_FAREWELL: Duration = Duration::from_secs(5);

/// How long whoever joins a bus will be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// As long as a gateway.
    Long,
    /// As long as one client.
    Brief,
}

/// Joins the bus that the settings name.
pub(crate) async fn join_bus(settings: &Settings, stay: Stay) -> Result<Bus, ServeError> {
    let refused = |reason| ServeError::Bus { url: settings.bus.to_string(), reason };
    match settings.bus.transport() {
        Transport::Embedded(bus) => Ok(embedded::start(embedded::Options {
            keepalive: bus.keepalive,
            max_requests: bus.max_requests,
            max_running: bus.max_workers,
            ..embedded::Options::default()
        })),
        Transport::Redis(bus) => join_redis(settings, bus, stay).await,
        Transport::Xmpp(bus) => join_xmpp(settings, bus).await,
        Transport::Either(redis, xmpp) => match probe(&redis.endpoint).await.map_err(refused)? {
            Found::Redis => {
                tracing::info!(transport = "redis", "it was asked what the bus is");
                join_redis(settings, redis, stay).await
            }
            Found::Xmpp => {
                tracing::info!(transport = "xmpp", "it was asked what the bus is");
                join_xmpp(settings, xmpp).await
            }
        },
    }
}

async fn join_redis(settings: &Settings, bus: &RedisBus, stay: Stay) -> Result<Bus, ServeError> {
    redis::connect(redis::Options {
        endpoint: bus.endpoint.clone(),
        username: bus.username.clone(),
        password: password(settings, bus.password.as_ref())?,
        domain: bus.domain.clone(),
        router_name: bus.router_name.clone(),
        max_message_size: settings.limits.message_size.saturating_add(ENVELOPE),
        size_warning: settings.log.message_size,
        state_directory: settings.state_directory.clone(),
        sweeps_after: match stay {
            Stay::Long => Duration::ZERO,
            // Not all of them at once, and not those that are gone in a minute.
            Stay::Brief => Duration::from_secs(60 + u64::from(std::process::id() % 60)),
        },
        queue: QueueLimits::default(),
    })
    .await
    .map_err(|reason| ServeError::Bus { url: settings.bus.to_string(), reason })
}

async fn join_xmpp(settings: &Settings, bus: &XmppBus) -> Result<Bus, ServeError> {
    let encryption = match settings.bus_tls {
        BusTls::Required => Encryption::Required,
        BusTls::Off | BusTls::Offered if bus.requires_tls => Encryption::Required,
        BusTls::Off => Encryption::Off,
        BusTls::Offered => Encryption::Offered,
    };
    xmpp::connect(xmpp::Options {
        endpoint: bus.endpoint.clone(),
        username: bus.username.clone(),
        password: password(settings, bus.password.as_ref())?,
        domain: bus.domain.clone(),
        router_name: bus.router_name.clone(),
        resource: bus.resource.clone(),
        encryption,
        authorities: bus.authorities.clone(),
        streams: settings.bus_streams,
        max_stanza_size: settings.limits.stanza_size,
        size_warning: settings.log.message_size,
        queue: QueueLimits::default(),
    })
    .await
    .map_err(|reason| ServeError::Bus { url: settings.bus.to_string(), reason })
}

/// The password in the file that is there for it, or else the one in the URL.
fn password(settings: &Settings, in_url: Option<&Secret>) -> Result<Option<String>, ServeError> {
    match &settings.bus_password_file {
        Some(path) => first_line(path)
            .map(Some)
            .map_err(|reason| ServeError::BusPassword { path: path.clone(), reason }),
        None => Ok(in_url.map(|password| password.reveal().to_owned())),
    }
}

/// What an envelope may add to a client's message, in bytes.
const ENVELOPE: usize = 16 * 1024;

fn first_line(path: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn refusal(refuse: Refuse) -> Refusal {
    match refuse {
        Refuse::Close => Refusal::Shut,
        Refuse::Answer503 => Refusal::Answer,
    }
}
