//! What `slackwater serve` can be told, as typed. One definition an option: the field is its flag
//! (`--ebb-window`), its key in `slackwater.toml` (`ebb_window`), its variable
//! (`SLACKWATER_EBB_WINDOW`) and its help. The defaults named here are those of
//! [`Settings`](super::Settings); a test compares them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::addresses::{Network, Origin};
use super::bus::BusText;
use super::choices::{
    BusTls, ClientHeader, CloseCode, CloseFin, Count, DrainStatus, Framing, Ingress, Refuse, Track,
    TransportName, UrlPath,
};
use super::logs::{Facility, LogFilter, LogFormat, LogTag, LogTo};
use super::text::list;
use super::units::{Patience, Period, Size, Threshold};
use super::web::Web;
use crate::front::ListenAddress;
use crate::front::access::{FileMode, Owner};

/// Every setting of the gateway; what is absent has its default.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(
    mut_args = |argument| argument.hide_env(true).hide_possible_values(true),
    after_help = "An option such as --ebb-window is also the key ebb_window in the file and the \
                  variable SLACKWATER_EBB_WINDOW; a flag wins over a variable, that over the \
                  file. TIME: 200ms, 2m, 1h30m; a bare number is seconds. SIZE: 16KiB, 10MiB."
)]
pub struct ServeOptions {
    /// Read options from this TOML file; flags and environment win over it
    #[arg(long, env = "SLACKWATER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// The program to run for each client, and its arguments; relay to a bus if there is none.
    #[arg(skip)]
    #[serde(skip)]
    pub program: Option<Vec<OsString>>,
    /// What is served beside WebSockets, by websocketd's command line.
    #[arg(skip)]
    #[serde(skip)]
    pub web: Option<Web>,
    /// Where clients connect: ADDRESS:PORT or unix:/path; repeatable. Sockets that systemd passes on
    /// are used in any case, and in place of the default [default: 127.0.0.1:7682]
    #[arg(long, env = "SLACKWATER_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    #[serde(deserialize_with = "list")]
    pub listen: Option<Vec<ListenAddress>>,
    /// The permissions of unix sockets among them, in octal [default: off]
    #[arg(long, env = "SLACKWATER_LISTEN_MODE", value_name = "MODE")]
    pub listen_mode: Option<FileMode>,
    /// Who owns these: USER, USER:GROUP or :GROUP [default: off]
    #[arg(long, env = "SLACKWATER_LISTEN_OWNER", value_name = "OWNER")]
    pub listen_owner: Option<Owner>,
    /// The bus to relay to: embedded: has demo services inside; redis://USER@HOST:PORT/ is that of
    /// OpenSRF 4, xmpp://USER@DOMAIN:PORT/ that of OpenSRF 3 [default: embedded:]
    #[arg(long, env = "SLACKWATER_BUS", value_name = "URL", hide_env_values = true)]
    pub bus: Option<BusText>,
    /// Take bus and logs from this opensrf_core.xml, as OpenSRF's own gateway does; every other
    /// option wins over it
    #[arg(long, env = "SLACKWATER_OPENSRF_CONFIG", value_name = "FILE")]
    pub opensrf_config: Option<PathBuf>,
    /// The section of that file [default: gateway]
    #[arg(long, env = "SLACKWATER_OPENSRF_SECTION", value_name = "NAME")]
    pub opensrf_section: Option<String>,
    /// Whether the bus of that file is redis or xmpp; unless given, its port tells, or it is asked
    #[arg(long, env = "SLACKWATER_TRANSPORT", value_name = "NAME")]
    pub transport: Option<TransportName>,
    /// The password for the bus is the first line of this file
    #[arg(long, env = "SLACKWATER_BUS_PASSWORD_FILE", value_name = "FILE")]
    pub bus_password_file: Option<PathBuf>,
    /// Encrypt the streams of an XMPP bus: off, offered or required [default: offered]
    #[arg(long, env = "SLACKWATER_BUS_TLS", value_name = "WHEN")]
    pub bus_tls: Option<BusTls>,
    /// Streams to an XMPP bus, which its server may slow down one by one [default: 4]
    #[arg(long, env = "SLACKWATER_BUS_STREAMS", value_name = "N")]
    pub bus_streams: Option<Count>,
    /// Where the next start reads what it must know: bus addresses to clean up, a drain to take back
    /// [default: $STATE_DIRECTORY, $XDG_STATE_HOME/slackwater or ~/.local/state/slackwater]
    #[arg(long, env = "SLACKWATER_STATE_DIR", value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// The control socket [default: PORT.sock in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/slackwater
    /// or /tmp/slackwater-UID]
    #[arg(long, env = "SLACKWATER_CONTROL", value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Serve the page, /metrics, /livez, /readyz and /status over HTTP here [default: off]
    #[arg(long, env = "SLACKWATER_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
    /// Answer HAProxy's agent-check here [default: off]
    #[arg(long, env = "SLACKWATER_AGENT_LISTEN", value_name = "ADDRESS")]
    pub agent_listen: Option<SocketAddr>,
    /// Put this into each message as its ingress [default: ws-translator-v2]
    #[arg(long, env = "SLACKWATER_INGRESS", value_name = "NAME")]
    pub ingress: Option<Ingress>,

    /// What a program's client is owed: osrf, jsonrpc, lines, quiet or program [default: quiet]
    #[arg(long, env = "SLACKWATER_TRACK", value_name = "NAME", help_heading = "Program")]
    pub track: Option<Track>,
    /// Under quiet, no byte must have passed for so long [default: 2s]
    #[arg(long, env = "SLACKWATER_TRACK_IDLE", value_name = "TIME", help_heading = "Program")]
    pub track_idle: Option<Period>,
    /// Send programs SIGUSR1 at a drain, whatever the tracker [default: false]
    #[arg(long, env = "SLACKWATER_RELAY_USR1", value_name = "true|false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", help_heading = "Program")]
    pub relay_usr1: Option<bool>,
    /// Messages in a program's stdin and stdout: lines, chunks (whatever one read brings), length
    /// (4 bytes before each) or json (a JSON string a line) [default: lines; chunks if binary]
    #[arg(long, env = "SLACKWATER_FRAMING", value_name = "NAME", help_heading = "Program")]
    pub framing: Option<Framing>,
    /// Send what programs say as binary messages [default: false]
    #[arg(long, env = "SLACKWATER_BINARY", value_name = "true|false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", help_heading = "Program")]
    pub binary: Option<bool>,
    /// Send clients what their program writes to stderr, too: {"stream":"stdout","data":...}
    /// [default: false]
    #[arg(long, env = "SLACKWATER_PASS_STDERR", value_name = "true|false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", help_heading = "Program")]
    pub pass_stderr: Option<bool>,
    /// Pass this variable of our environment on to programs; repeatable
    /// [default: PATH,LD_LIBRARY_PATH]
    #[arg(
        long,
        env = "SLACKWATER_PASS_ENV",
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Program"
    )]
    #[serde(deserialize_with = "list")]
    pub pass_env: Option<Vec<String>>,
    /// Wait so much longer before SIGINT, SIGTERM and SIGKILL [default: 0s]
    #[arg(long, env = "SLACKWATER_KILL_GRACE", value_name = "TIME", help_heading = "Program")]
    pub kill_grace: Option<Period>,
    /// Programs at a time; further clients are answered 503 [default: max_connections]
    #[arg(long, env = "SLACKWATER_MAX_PROGRAMS", value_name = "N", help_heading = "Program")]
    pub max_programs: Option<Count>,

    /// How long a drain may take; 0s waits for ever [default: 2m]
    #[arg(long, env = "SLACKWATER_DEADLINE", value_name = "TIME", help_heading = "Draining")]
    pub deadline: Option<Period>,
    /// Say "not ready" for so long before refusing, within the deadline [default: 0s]
    #[arg(long, env = "SLACKWATER_ANNOUNCE", value_name = "TIME", help_heading = "Draining")]
    pub announce: Option<Period>,
    /// Spread the closing of idle connections over this time [default: 5s]
    #[arg(long, env = "SLACKWATER_EBB_WINDOW", value_name = "TIME", help_heading = "Draining")]
    pub ebb_window: Option<Period>,
    /// A connection must be quiet for so long before it is closed [default: 200ms]
    #[arg(long, env = "SLACKWATER_QUIET_WINDOW", value_name = "TIME", help_heading = "Draining")]
    pub quiet_window: Option<Period>,
    /// Turn new clients away: close the port, or answer 503 [default: close]
    #[arg(long, env = "SLACKWATER_REFUSE", value_name = "HOW", help_heading = "Draining")]
    pub refuse: Option<Refuse>,
    /// Answer /readyz with this status meanwhile; HAProxy's disable-on-404 wants 404 [default: 503]
    #[arg(long, env = "SLACKWATER_DRAIN_STATUS", value_name = "CODE", help_heading = "Draining")]
    pub drain_status: Option<DrainStatus>,
    /// Close drained connections with this code [default: 1012]
    #[arg(long, env = "SLACKWATER_CLOSE_CODE", value_name = "CODE", help_heading = "Draining")]
    pub close_code: Option<CloseCode>,
    /// Send FIN: on-echo of our Close, or with-close if no proxy is in front [default: on-echo]
    #[arg(long, env = "SLACKWATER_CLOSE_FIN", value_name = "WHEN", help_heading = "Draining")]
    pub close_fin: Option<CloseFin>,
    /// Wait so long for a closing client in which no byte moves [default: 10s]
    #[arg(long, env = "SLACKWATER_CLOSE_TIMEOUT", value_name = "TIME", help_heading = "Draining")]
    pub close_timeout: Option<Patience>,

    /// Upgrade only this URL path [default: any]
    #[arg(long, env = "SLACKWATER_PATH", value_name = "PATH", help_heading = "Clients")]
    pub path: Option<UrlPath>,
    /// Answer balancers at PATH/livez and PATH/readyz where clients connect [default: off]
    #[arg(long, env = "SLACKWATER_HEALTH_PATH", value_name = "PATH", help_heading = "Clients")]
    pub health_path: Option<UrlPath>,
    /// Take browsers only from this origin; repeatable [default: any]
    #[arg(
        long,
        env = "SLACKWATER_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        help_heading = "Clients"
    )]
    #[serde(deserialize_with = "list")]
    pub origin: Option<Vec<Origin>>,
    /// Take browsers only from pages of the host that they connect to [default: false]
    #[arg(long, env = "SLACKWATER_SAME_ORIGIN", value_name = "true|false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", help_heading = "Clients")]
    pub same_origin: Option<bool>,
    /// Believe what proxies in this network say of clients; repeatable [default: none]
    #[arg(
        long,
        env = "SLACKWATER_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ',',
        help_heading = "Clients"
    )]
    #[serde(deserialize_with = "list")]
    pub trusted_proxy: Option<Vec<Network>>,
    /// Where these name the client: x-forwarded-for or forwarded [default: x-forwarded-for]
    #[arg(long, env = "SLACKWATER_CLIENT_HEADER", value_name = "NAME", help_heading = "Clients")]
    pub client_header: Option<ClientHeader>,
    /// Have these begin with a PROXY header, version 1 or 2 [default: false]
    #[arg(long, env = "SLACKWATER_PROXY_PROTOCOL", value_name = "true|false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", help_heading = "Clients")]
    pub proxy_protocol: Option<bool>,
    /// Speak TLS with the certificate in this PEM file, and those that vouch for it [default: off]
    #[arg(long, env = "SLACKWATER_TLS_CERTIFICATE", value_name = "FILE", help_heading = "Clients")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, env = "SLACKWATER_TLS_KEY", value_name = "FILE", help_heading = "Clients")]
    pub tls_key: Option<PathBuf>,
    /// Take only clients whose certificate one in this PEM file has signed [default: any]
    #[arg(
        long,
        env = "SLACKWATER_TLS_CLIENT_AUTHORITY",
        value_name = "FILE",
        help_heading = "Clients"
    )]
    pub tls_client_authority: Option<PathBuf>,
    /// Send browsers that come here by HTTP to where clients connect [default: off]
    #[arg(
        long,
        env = "SLACKWATER_REDIRECT_LISTEN",
        value_name = "ADDRESS",
        help_heading = "Clients"
    )]
    pub redirect_listen: Option<SocketAddr>,
    /// Ping clients that are silent for so long; 0s never [default: 30s]
    #[arg(long, env = "SLACKWATER_PING_INTERVAL", value_name = "TIME", help_heading = "Clients")]
    pub ping_interval: Option<Period>,
    /// Close clients that ask nothing for so long; 0s never [default: 0s]
    #[arg(long, env = "SLACKWATER_IDLE_TIMEOUT", value_name = "TIME", help_heading = "Clients")]
    pub idle_timeout: Option<Period>,
    /// A client's HTTP request must be complete within this time [default: 10s]
    #[arg(
        long,
        env = "SLACKWATER_HANDSHAKE_TIMEOUT",
        value_name = "TIME",
        help_heading = "Clients"
    )]
    pub handshake_timeout: Option<Patience>,
    /// Compress messages of so many bytes, to clients that offer it; off never [default: 2KiB]
    #[arg(long, env = "SLACKWATER_COMPRESS_FROM", value_name = "SIZE", help_heading = "Clients")]
    pub compress_from: Option<Threshold>,

    /// Connections at a time [default: what the open-files limit allows]
    #[arg(long, env = "SLACKWATER_MAX_CONNECTIONS", value_name = "N", help_heading = "Limits")]
    pub max_connections: Option<Count>,
    /// Bytes of one message from a client [default: 10MiB]
    #[arg(long, env = "SLACKWATER_MAX_MESSAGE_SIZE", value_name = "SIZE", help_heading = "Limits")]
    pub max_message_size: Option<Size>,
    /// Bytes of one message on an XMPP bus; its server ends the stream for more [default: 256KiB]
    #[arg(long, env = "SLACKWATER_MAX_STANZA_SIZE", value_name = "SIZE", help_heading = "Limits")]
    pub max_stanza_size: Option<Size>,
    /// Nesting of one message's JSON [default: 128]
    #[arg(long, env = "SLACKWATER_MAX_DEPTH", value_name = "N", help_heading = "Limits")]
    pub max_depth: Option<Count>,
    /// Unanswered requests of one client [default: 256]
    #[arg(
        long,
        env = "SLACKWATER_MAX_REQUESTS_IN_FLIGHT",
        value_name = "N",
        help_heading = "Limits"
    )]
    pub max_requests_in_flight: Option<Count>,
    /// Stateful sessions of one client [default: 64]
    #[arg(long, env = "SLACKWATER_MAX_SESSIONS", value_name = "N", help_heading = "Limits")]
    pub max_sessions: Option<Count>,
    /// Bytes that wait for one client [default: 64MiB]
    #[arg(long, env = "SLACKWATER_MAX_QUEUED_BYTES", value_name = "SIZE", help_heading = "Limits")]
    pub max_queued_bytes: Option<Size>,
    /// Bytes that wait for all clients; from half of it on new clients get 503 [default: 512MiB]
    #[arg(
        long,
        env = "SLACKWATER_MAX_TOTAL_QUEUED_BYTES",
        value_name = "SIZE",
        help_heading = "Limits"
    )]
    pub max_total_queued_bytes: Option<Size>,
    /// Connections at a time from one client address [default: off]
    #[arg(
        long,
        env = "SLACKWATER_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        help_heading = "Limits"
    )]
    pub max_connections_per_address: Option<Count>,
    /// Handshakes a second from one client address [default: off]
    #[arg(
        long,
        env = "SLACKWATER_MAX_HANDSHAKES_PER_ADDRESS",
        value_name = "N",
        help_heading = "Limits"
    )]
    pub max_handshakes_per_address: Option<Count>,
    /// Drop a client that takes no byte for so long [default: 30s]
    #[arg(
        long,
        env = "SLACKWATER_WRITE_STALL_TIMEOUT",
        value_name = "TIME",
        help_heading = "Limits"
    )]
    pub write_stall_timeout: Option<Patience>,

    /// Warn of messages for the bus from this size on [default: off]
    #[arg(
        long,
        env = "SLACKWATER_MESSAGE_SIZE_WARNING",
        value_name = "SIZE",
        help_heading = "Logs"
    )]
    pub message_size_warning: Option<Size>,
    /// Log from this level on; or a filter: info,slackwater::hub=debug [default: info]
    #[arg(long, env = "SLACKWATER_LOG_LEVEL", value_name = "LEVEL", help_heading = "Logs")]
    pub log_level: Option<LogFilter>,
    /// Log to stderr or stdout, to syslog, or to the end of this file [default: stderr]
    #[arg(long, env = "SLACKWATER_LOG_TO", value_name = "WHERE", help_heading = "Logs")]
    pub log_to: Option<LogTo>,
    /// How each line is written: text, json, websocketd, or opensrf, syslog's default [default: text]
    #[arg(long, env = "SLACKWATER_LOG_FORMAT", value_name = "FORMAT", help_heading = "Logs")]
    pub log_format: Option<LogFormat>,
    /// Put this behind the program's name in lines for syslog and OpenSRF [default: none]
    #[arg(long, env = "SLACKWATER_LOG_TAG", value_name = "TAG", help_heading = "Logs")]
    pub log_tag: Option<LogTag>,
    /// The facility of lines for syslog [default: local0]
    #[arg(long, env = "SLACKWATER_LOG_FACILITY", value_name = "NAME", help_heading = "Logs")]
    pub log_facility: Option<Facility>,
    /// Log a line for each request: who asked which method of which service [default: false]
    #[arg(long, env = "SLACKWATER_ACTIVITY_LOG", value_name = "true|false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", help_heading = "Logs")]
    pub activity_log: Option<bool>,
    /// The facility of these lines [default: local1]
    #[arg(long, env = "SLACKWATER_ACTIVITY_FACILITY", value_name = "NAME", help_heading = "Logs")]
    pub activity_facility: Option<Facility>,
    /// Show no parameters of methods that begin with this; repeatable [default: none]
    #[arg(
        long,
        env = "SLACKWATER_LOG_PROTECT",
        value_name = "METHOD",
        value_delimiter = ',',
        help_heading = "Logs"
    )]
    #[serde(deserialize_with = "list")]
    pub log_protect: Option<Vec<String>>,
    /// Cut parameters, and lines in the opensrf format, to so many bytes [default: 1536]
    #[arg(long, env = "SLACKWATER_MAX_LOG_LENGTH", value_name = "N", help_heading = "Logs")]
    pub max_log_length: Option<Count>,
}

/// Options that only one kind of gateway has: their names, and which of them are given.
macro_rules! only {
    ($(#[$what:meta])* $names:ident, $given:ident: $($option:ident),+ $(,)?) => {
        $(#[$what])*
        pub const $names: &[&str] = &[$(stringify!($option)),+];

        impl ServeOptions {
            fn $given(&self) -> Option<&'static str> {
                [$((stringify!($option), self.$option.is_some())),+]
                    .into_iter()
                    .find_map(|(key, given)| given.then_some(key))
            }
        }
    };
}

only!(
    /// What only a bus has: `slackwater run` takes none of these.
    OF_BUS, given_of_bus:
    bus,
    opensrf_config,
    opensrf_section,
    transport,
    bus_password_file,
    bus_tls,
    bus_streams,
    ingress,
    max_stanza_size,
    message_size_warning,
);
only!(
    /// What only programs have: `slackwater serve` takes none of these.
    OF_PROGRAM, given_of_program:
    track,
    track_idle,
    relay_usr1,
    framing,
    binary,
    pass_stderr,
    pass_env,
    kill_grace,
    max_programs,
);

impl ServeOptions {
    /// The first of these options that is given although nothing is there that it could be for.
    pub fn out_of_place(&self) -> Option<&'static str> {
        if self.program.is_some() { self.given_of_bus() } else { self.given_of_program() }
    }

    /// These options, and for what they leave open those of `lower`. `config`, `program` and `web`
    /// are not among them: a file cannot name another, nor what is run or served.
    pub fn over(self, lower: Self) -> Self {
        macro_rules! each {
            ($($option:ident),+ $(,)?) => {
                Self {
                    config: self.config,
                    program: self.program,
                    web: self.web,
                    $($option: self.$option.or(lower.$option)),+
                }
            };
        }
        each!(
            listen,
            listen_mode,
            listen_owner,
            bus,
            opensrf_config,
            opensrf_section,
            transport,
            bus_password_file,
            bus_tls,
            bus_streams,
            state_dir,
            control,
            admin_listen,
            agent_listen,
            ingress,
            track,
            track_idle,
            relay_usr1,
            framing,
            binary,
            pass_stderr,
            pass_env,
            kill_grace,
            max_programs,
            deadline,
            announce,
            ebb_window,
            quiet_window,
            refuse,
            drain_status,
            close_code,
            close_fin,
            close_timeout,
            path,
            health_path,
            origin,
            same_origin,
            trusted_proxy,
            client_header,
            proxy_protocol,
            tls_certificate,
            tls_key,
            tls_client_authority,
            redirect_listen,
            ping_interval,
            idle_timeout,
            handshake_timeout,
            compress_from,
            max_connections,
            max_message_size,
            max_stanza_size,
            max_depth,
            max_requests_in_flight,
            max_sessions,
            max_queued_bytes,
            max_total_queued_bytes,
            max_connections_per_address,
            max_handshakes_per_address,
            write_stall_timeout,
            message_size_warning,
            log_level,
            log_to,
            log_format,
            log_tag,
            log_facility,
            activity_log,
            activity_facility,
            log_protect,
            max_log_length,
        )
    }
}
