//! What the options mean: every default filled in, nothing left to check.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::front::{Access, ListenAddress, Tls};
use slackwater_core::osrf::check::MAX_DEPTH;

use super::addresses::{Network, Origin};
use super::bus::BusUrl;
use super::choices::{
    BusTls, ClientHeader, CloseCode, CloseFin, Count, DrainStatus, Framing, Ingress, Refuse, Track,
    UrlPath,
};
use super::error::ConfigError;
use super::file::read_file;
use super::logs::{Facility, LogFilter, LogFormat, LogTag, LogTo};
use super::opensrf::{self, TheirBus};
use super::options::ServeOptions;
use super::surroundings::Surroundings;
use super::text::Unfit;
use super::units::{Patience, Period, Size, Threshold};
use super::web::Web;

/// The settings of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect, at least one: the sockets that were inherited, then those that the
    /// operator named beside them.
    pub listen: Vec<ListenAddress>,
    /// The files of unix sockets among these.
    pub listen_access: Access,
    /// Where browsers are sent from to the first of these; off if `None`.
    pub redirect_listen: Option<SocketAddr>,
    /// What stands behind the clients.
    pub behind: Behind,
    /// The bus to relay to.
    pub bus: BusUrl,
    /// The file whose first line is the password for the bus; wins over one in the URL.
    pub bus_password_file: Option<PathBuf>,
    /// Whether the streams of an XMPP bus are encrypted.
    pub bus_tls: BusTls,
    /// How many there are; at least 1.
    pub bus_streams: usize,
    /// Where the bus addresses in use are noted.
    pub state_directory: PathBuf,
    /// The control socket, if the operator named it; else [`Surroundings::control_path`].
    pub control: Option<PathBuf>,
    /// Where the admin HTTP server listens; off if `None`.
    pub admin_listen: Option<SocketAddr>,
    /// Where HAProxy's agent-check is answered; off if `None`.
    pub agent_listen: Option<SocketAddr>,
    /// What is put into each message as its ingress.
    pub ingress: Ingress,
    /// How programs are run, if they stand in the bus's place.
    pub program: Program,
    /// What is served beside WebSockets.
    pub web: Web,
    /// How a drain goes.
    pub drain: Draining,
    /// How a connection is closed.
    pub close: Closing,
    /// Who may connect, and for how long without a sign of life.
    pub front: Front,
    /// What one client, and all of them, may use.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
}

/// What stands behind the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// The bus.
    Bus,
    /// A program for each: its name or path, and its arguments.
    Program(OsString, Vec<OsString>),
}

/// How programs are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// What "pending" means.
    pub track: Track,
    /// For how long no byte may have passed under [`Track::Quiet`].
    pub track_idle: Duration,
    /// Whether they are sent SIGUSR1 at a drain, whatever the tracker.
    pub relay_usr1: bool,
    /// How messages stand in their stdin and stdout.
    pub framing: Framing,
    /// Whether what they say is sent as binary messages.
    pub binary: bool,
    /// Whether clients get their stderr.
    pub pass_stderr: bool,
    /// The variables of our environment that they get.
    pub pass_env: Vec<String>,
    /// How much longer they may take for each step of their end.
    pub kill_grace: Duration,
    /// How many run at a time, at least 1; as many as there are connections if `None`.
    pub max_programs: Option<usize>,
}

/// How a drain goes (DRAIN.md, "The gateway as a whole").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draining {
    /// How long it may take; `None` waits for ever.
    pub deadline: Option<Duration>,
    /// How long new connections are still served while `/readyz` answers 503; shorter than the
    /// deadline, within which it counts.
    pub announce: Duration,
    /// The time over which idle connections are closed; zero closes them at once.
    pub ebb_window: Duration,
    /// The least time for which a connection must be quiet before it is closed.
    pub quiet_window: Duration,
    /// How new connections are turned away.
    pub refuse: Refuse,
    /// What `/readyz` answers meanwhile.
    pub status: DrainStatus,
}

/// How a connection is closed (DRAIN.md, "One connection").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The close code of a drained connection.
    pub code: CloseCode,
    /// When we send our FIN.
    pub fin: CloseFin,
    /// How long we wait for a closing client in which no byte moves; more than zero.
    pub timeout: Duration,
}

/// Who may connect, and for how long without a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// The only path that is upgraded; any if `None`.
    pub path: Option<UrlPath>,
    /// Below which path load balancers are answered; nowhere if `None`.
    pub health_path: Option<UrlPath>,
    /// The origins that browsers may come from; any if empty.
    pub origins: Vec<Origin>,
    /// Whether browsers may come only from the host that they connect to.
    pub same_origin: bool,
    /// The networks from which `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Where these name the client.
    pub client_header: ClientHeader,
    /// Whether these begin a connection with a PROXY header.
    pub proxy_protocol: bool,
    /// After how much silence a client is pinged; never if `None`.
    pub ping_interval: Option<Duration>,
    /// After how long at slack water a client is closed; never if `None`.
    pub idle_timeout: Option<Duration>,
    /// How long a client's HTTP request may take; more than zero.
    pub handshake_timeout: Duration,
    /// Messages of so many bytes and more are compressed for clients that offer it.
    pub compress_from: Option<usize>,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
}

/// What one client, and all of them, may use; each at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Bytes of one message from a client.
    pub message_size: usize,
    /// Bytes of one message on an XMPP bus, escaped.
    pub stanza_size: usize,
    /// Nesting of one message's JSON.
    pub depth: usize,
    /// Unanswered requests of one client.
    pub requests_in_flight: usize,
    /// Stateful sessions of one client.
    pub sessions: usize,
    /// Bytes that wait for one client.
    pub queued_bytes: usize,
    /// Bytes that wait for all clients, and of messages that are not whole.
    pub total_queued_bytes: usize,
    /// Connections at a time from one address; no bound if `None`.
    pub connections_per_address: Option<usize>,
    /// Handshakes a second from one address; no bound if `None`.
    pub handshakes_per_address: Option<u32>,
    /// How long a client may take no byte while some wait for it; more than zero.
    pub write_stall_timeout: Duration,
}

/// What is logged, where, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Which lines.
    pub level: LogFilter,
    /// Where to.
    pub to: LogTo,
    /// In which form.
    pub format: LogFormat,
    /// What comes behind the program's name.
    pub tag: Option<LogTag>,
    /// Of lines for syslog.
    pub facility: Facility,
    /// Whether there is an activity log, a line for each request.
    pub activity: bool,
    /// Of these lines, if they go to syslog.
    pub activity_facility: Facility,
    /// Parameters of methods that begin with one of these are not shown in it.
    pub protect: Vec<String>,
    /// The most bytes of a line in OpenSRF's format, and of parameters in any.
    pub max_length: usize,
    /// Messages for the bus from this size on are worth a warning.
    pub message_size: Option<usize>,
}

impl Settings {
    /// Reads the files that the options name, if they do, and says what all of it means.
    ///
    /// # Errors
    /// A file, or the first option that is wrong.
    pub fn load(typed: ServeOptions, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        let typed = match &typed.config {
            Some(path) => {
                let file = read_file(path)?;
                typed.over(file)
            }
            None => typed,
        };
        if let Some(key) = typed.out_of_place() {
            let reason = Unfit(match &typed.program {
                Some(_) => {
                    "not for `slackwater run`: a program stands in the bus's place".to_owned()
                }
                None => "only for `slackwater run`: no program is run here".to_owned(),
            });
            return Err(ConfigError::Option { key, reason });
        }
        let typed = match (&typed.opensrf_config, &typed.opensrf_section) {
            (Some(path), section) => {
                let section = section.as_deref().unwrap_or("gateway");
                let bus = match typed.bus {
                    Some(_) => TheirBus::Unused,
                    None => TheirBus::Used(typed.transport),
                };
                let theirs = opensrf::read(path, section, bus)?;
                typed.over(theirs)
            }
            (None, Some(_)) => {
                let reason = Unfit::expected("an opensrf_config whose section it is");
                return Err(ConfigError::Option { key: "opensrf_section", reason });
            }
            (None, None) if typed.transport.is_some() => {
                let reason = Unfit::expected("an opensrf_config whose bus it is");
                return Err(ConfigError::Option { key: "transport", reason });
            }
            (None, None) => typed,
        };
        Self::resolve(typed, surroundings)
    }

    /// Fills in the defaults and checks what no option can check alone.
    ///
    /// # Errors
    /// The first option that is wrong.
    pub fn resolve(
        options: ServeOptions,
        surroundings: &Surroundings,
    ) -> Result<Self, ConfigError> {
        let wrong = |key, expected: &str| {
            Err(ConfigError::Option { key, reason: Unfit::expected(expected) })
        };
        let period = |given: Option<Period>, or| given.map_or(or, Period::duration);
        let period_or_off = |given: Option<Period>, or| given.map_or(or, Period::unless_zero);
        let patience = |given: Option<Patience>, or| given.map_or(or, Patience::duration);
        let count = |given: Option<Count>, or| given.map_or(or, Count::get);
        let size = |given: Option<Size>, or| given.map_or(or, Size::bytes);

        let mut listen = surroundings.inherited.clone();
        match options.listen {
            Some(given) if given.is_empty() => return wrong("listen", "at least one address"),
            Some(given) => {
                let more: Vec<_> =
                    given.into_iter().filter(|address| !listen.contains(address)).collect();
                listen.extend(more);
            }
            None if listen.is_empty() => listen.push(DEFAULT_LISTEN),
            None => {}
        }
        let deadline = period_or_off(options.deadline, Some(seconds(120)));
        let announce = period(options.announce, Duration::ZERO);
        if deadline.is_some_and(|deadline| announce >= deadline) {
            return wrong("announce", "less than the deadline, within which it counts");
        }
        if options.proxy_protocol == Some(true)
            && options.trusted_proxy.as_ref().is_none_or(Vec::is_empty)
        {
            return wrong("proxy_protocol", "trusted_proxy, too: from others it is not taken");
        }
        let depth = count(options.max_depth, 128);
        if depth > MAX_DEPTH {
            return wrong("max_depth", &format!("at most {MAX_DEPTH}"));
        }
        let log_to = options.log_to.unwrap_or(LogTo::Stderr);
        let by_place = match log_to {
            LogTo::Syslog(_) => LogFormat::Opensrf,
            LogTo::Stderr | LogTo::Stdout | LogTo::File(_) => LogFormat::Text,
        };
        let bus = options.bus.unwrap_or_else(|| "embedded:".into());
        let bus = bus.read().map_err(|reason| ConfigError::Option { key: "bus", reason })?;

        let binary = options.binary.unwrap_or(false);
        let framing =
            options.framing.unwrap_or(if binary { Framing::Chunks } else { Framing::Lines });
        let track = options.track.unwrap_or(Track::Quiet);
        let pass_stderr = options.pass_stderr.unwrap_or(false);
        match (framing, track) {
            (Framing::Json, _) if binary => {
                return wrong("framing", "another with binary: JSON is text");
            }
            (Framing::Chunks, Track::Osrf | Track::JsonRpc | Track::Lines) => {
                return wrong(
                    "track",
                    "quiet or program: chunks are no messages that can be tracked",
                );
            }
            (_, Track::Osrf | Track::JsonRpc) if binary || pass_stderr => {
                return wrong("track", "lines, quiet or program with binary or pass_stderr");
            }
            _ if binary && pass_stderr => {
                return wrong("pass_stderr", "no binary: its JSON is text");
            }
            (Framing::Lines | Framing::Chunks | Framing::Length | Framing::Json, _) => {}
        }

        let behind = match options.program {
            Some(mut words) if !words.is_empty() => Behind::Program(words.remove(0), words),
            Some(_) => return wrong("program", "the name of a program"),
            None => Behind::Bus,
        };

        Ok(Self {
            listen,
            listen_access: Access { mode: options.listen_mode, owner: options.listen_owner },
            redirect_listen: options.redirect_listen,
            behind,
            bus,
            bus_password_file: options.bus_password_file,
            bus_tls: options.bus_tls.unwrap_or(BusTls::Offered),
            bus_streams: count(options.bus_streams, 4),
            state_directory: options.state_dir.unwrap_or_else(|| surroundings.state_directory()),
            control: options.control,
            admin_listen: options.admin_listen,
            agent_listen: options.agent_listen,
            ingress: options.ingress.unwrap_or_default(),
            web: options.web.unwrap_or_default(),
            program: Program {
                track,
                track_idle: period(options.track_idle, seconds(2)),
                relay_usr1: options.relay_usr1.unwrap_or(false),
                framing,
                binary,
                pass_stderr,
                pass_env: options
                    .pass_env
                    .unwrap_or_else(|| vec!["PATH".to_owned(), "LD_LIBRARY_PATH".to_owned()]),
                kill_grace: period(options.kill_grace, Duration::ZERO),
                max_programs: options.max_programs.map(Count::get),
            },
            drain: Draining {
                deadline,
                announce,
                ebb_window: period(options.ebb_window, seconds(5)),
                quiet_window: period(options.quiet_window, Duration::from_millis(200)),
                refuse: options.refuse.unwrap_or(Refuse::Close),
                status: options.drain_status.unwrap_or_default(),
            },
            close: Closing {
                code: options.close_code.unwrap_or_default(),
                fin: options.close_fin.unwrap_or(CloseFin::OnEcho),
                timeout: patience(options.close_timeout, seconds(10)),
            },
            front: Front {
                path: options.path,
                health_path: options.health_path,
                origins: options.origin.unwrap_or_default(),
                same_origin: options.same_origin.unwrap_or(false),
                trusted_proxies: options.trusted_proxy.unwrap_or_default(),
                client_header: options.client_header.unwrap_or(ClientHeader::XForwardedFor),
                proxy_protocol: options.proxy_protocol.unwrap_or(false),
                ping_interval: period_or_off(options.ping_interval, Some(seconds(30))),
                idle_timeout: period_or_off(options.idle_timeout, None),
                handshake_timeout: patience(options.handshake_timeout, seconds(10)),
                compress_from: options.compress_from.map_or(Some(2 << 10), Threshold::bytes),
                tls: tls(options.tls_certificate, options.tls_key, options.tls_client_authority)?,
            },
            limits: Limits {
                connections: count(options.max_connections, surroundings.connections()),
                message_size: size(options.max_message_size, 10 << 20),
                stanza_size: size(options.max_stanza_size, 256 << 10),
                depth,
                requests_in_flight: count(options.max_requests_in_flight, 256),
                sessions: count(options.max_sessions, 64),
                queued_bytes: size(options.max_queued_bytes, 64 << 20),
                total_queued_bytes: size(options.max_total_queued_bytes, 512 << 20),
                connections_per_address: options.max_connections_per_address.map(Count::get),
                handshakes_per_address: options
                    .max_handshakes_per_address
                    .map(|count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
                write_stall_timeout: patience(options.write_stall_timeout, seconds(30)),
            },
            log: Log {
                level: options.log_level.unwrap_or_default(),
                format: options.log_format.unwrap_or(by_place),
                to: log_to,
                tag: options.log_tag,
                facility: options.log_facility.unwrap_or(Facility::Local0),
                activity: options.activity_log.unwrap_or(false),
                activity_facility: options.activity_facility.unwrap_or(Facility::Local1),
                protect: options.log_protect.unwrap_or_default(),
                max_length: count(options.max_log_length, 1_536),
                message_size: options.message_size_warning.map(Size::bytes),
            },
        })
    }
}

/// Reads the files of TLS, if any is named.
fn tls(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_authority: Option<PathBuf>,
) -> Result<Option<Tls>, ConfigError> {
    let needs = |key, other: &str| {
        Err(ConfigError::Option { key, reason: Unfit::expected(format!("{other}, too")) })
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => match Tls::read(certificate, key, client_authority) {
            Ok(tls) => Ok(Some(tls)),
            Err(error) => Err(ConfigError::Option {
                key: "tls_certificate",
                reason: Unfit(error.to_string()),
            }),
        },
        (Some(_), None) => needs("tls_certificate", "tls_key"),
        (None, Some(_)) => needs("tls_key", "tls_certificate"),
        (None, None) if client_authority.is_some() => {
            needs("tls_client_authority", "tls_certificate and tls_key")
        }
        (None, None) => Ok(None),
    }
}

/// Where a gateway listens that was not told where.
pub(super) const DEFAULT_LISTEN: ListenAddress =
    ListenAddress::Tcp(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7682));

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
