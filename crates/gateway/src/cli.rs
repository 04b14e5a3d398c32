//! What an operator types: the one binary's subcommands. Only what works is here.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{OF_BUS, OF_PROGRAM, Patience, Period, ServeOptions, check_variables};
use crate::front::ListenAddress;

/// A WebSocket gateway that can be drained, stopped and upgraded without losing an answer
#[derive(Debug, Parser)]
#[command(name = "slackwater", version, subcommand_required = true)]
#[command(
    after_help = "Without a command: serve, with the options of serve. `slackwater COMMAND --help` tells more."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Serve(Box<ServeOptions>),
    /// Run a program for each client, with its stdin and stdout as the two ends of a WebSocket
    Run(Box<RunOptions>),
    /// Do what websocketd does, by its own command line; also under the name websocketd
    #[command(disable_help_flag = true)]
    Websocketd(WebsocketdOptions),
    /// Serve one client on stdin and stdout, as osrf-websocket-stdio does; also under that name
    OsrfStdio(Box<OsrfStdioOptions>),
    /// What is done to, or seen of, a gateway that runs.
    #[command(flatten)]
    Client(ClientCommand),
}

/// `slackwater run`
#[derive(Debug, Clone, Default, Args)]
pub struct RunOptions {
    /// How.
    #[command(flatten)]
    pub options: ServeOptions,
    /// The program, and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

impl From<RunOptions> for ServeOptions {
    fn from(run: RunOptions) -> Self {
        Self { program: Some(run.program), ..run.options }
    }
}

/// `slackwater websocketd`
#[derive(Debug, Clone, Default, Args)]
pub struct WebsocketdOptions {
    /// As websocketd takes them: --help names them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS AND COMMAND")]
    pub words: Vec<OsString>,
}

/// `slackwater osrf-stdio`
#[derive(Debug, Clone, Default, Args)]
pub struct OsrfStdioOptions {
    /// OpenSRF's opensrf_core.xml [default: /openils/conf/opensrf_core.xml, unless a bus is named]
    #[arg(value_name = "CONFIG")]
    pub opensrf_core: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub options: ServeOptions,
}

impl From<OsrfStdioOptions> for ServeOptions {
    fn from(given: OsrfStdioOptions) -> Self {
        let OsrfStdioOptions { opensrf_core, mut options } = given;
        if opensrf_core.is_some() {
            options.opensrf_config = opensrf_core;
        } else if options.bus.is_none() && options.config.is_none() {
            options.opensrf_config.get_or_insert_with(|| OPENSRF_CORE.into());
        }
        options
    }
}

/// Where OpenSRF's packages put it.
const OPENSRF_CORE: &str = "/openils/conf/opensrf_core.xml";

/// What the environment says of options.
///
/// # Errors
/// A value that is none for its option.
pub fn options_of_environment(variables: &[String]) -> Result<ServeOptions, clap::Error> {
    let words = ["slackwater", "run", "--", "program"].map(OsString::from);
    match parse(words, variables)? {
        Command::Run(run) => Ok(run.options),
        Command::Serve(_) | Command::Websocketd(_) | Command::OsrfStdio(_) | Command::Client(_) => {
            Ok(ServeOptions::default())
        }
    }
}

/// The command line as it is: each command shows what it takes.
pub fn definition() -> clap::Command {
    let hides = |keys: &'static [&'static str]| {
        move |command: clap::Command| {
            keys.iter().fold(command, |command, key| command.mut_arg(key, |arg| arg.hide(true)))
        }
    };
    Cli::command()
        .mut_subcommand("serve", hides(OF_PROGRAM))
        .mut_subcommand("check", hides(OF_PROGRAM))
        .mut_subcommand("osrf-stdio", hides(OF_PROGRAM))
        .mut_subcommand("osrf-stdio", hides(&OF_CLIENTS))
        .mut_subcommand("run", hides(OF_BUS))
}

/// The subcommands that do their work and end.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Take a gateway out of service without losing an answer
    Drain(DrainOptions),
    /// Call a drain off: accept clients again
    Undrain(Target),
    /// Have a gateway read its configuration again; one that is wrong changes nothing
    Reload(Target),
    /// Show what a gateway is doing
    Status(StatusOptions),
    /// Print the address of a gateway's page, with the key to its buttons
    Page(Target),
    /// Send one request through a gateway and print its answers
    Request(RequestOptions),
    /// Say what is wrong with a configuration, without serving
    Check(Box<ServeOptions>),
    /// Write man pages and completions for shells into a directory
    #[command(hide = true)]
    Manual(ManualOptions),
}

/// Which gateway on this host is meant.
#[derive(Debug, Clone, Default, Args)]
pub struct Target {
    /// The gateway's control socket [default: that of the gateway on this host]
    #[arg(long, env = "SLACKWATER_CONTROL", value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// The gateway that listens here
    #[arg(long, env = "SLACKWATER_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Option<Vec<ListenAddress>>,
}

/// `slackwater drain`
///
/// Exit status: 0 nothing was cut off, 3 the deadline cut something off, 2 no gateway.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Exit status: 0 if nothing was cut off, 3 if the deadline cut something \
                        off, 2 if the gateway cannot be reached, 1 if it refuses.")]
pub struct DrainOptions {
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// Show what is left and who holds it, until the drain ends
    #[arg(long)]
    pub wait: bool,
    /// How long the drain may take; 0s waits for ever [default: the gateway's own]
    #[arg(long, value_name = "TIME")]
    pub deadline: Option<Period>,
}

/// `slackwater status`
#[derive(Debug, Clone, Default, Args)]
pub struct StatusOptions {
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// Show it again each second
    #[arg(long)]
    pub watch: bool,
    /// Print the gateway's own JSON
    #[arg(long)]
    pub json: bool,
}

/// `slackwater request`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Exit status: 0 if the request was completed, 1 if it was not, 2 if the \
                        gateway cannot be reached.")]
pub struct RequestOptions {
    /// The service, for example opensrf.math
    pub service: String,
    /// The method, for example add
    pub method: String,
    /// Its parameters, each a JSON text: 1 '"text"' '{"a":true}'
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub params: Vec<String>,
    /// The gateway: ws://HOST:PORT/, or wss: over TLS
    #[arg(
        long,
        env = "SLACKWATER_URL",
        value_name = "URL",
        default_value = "ws://127.0.0.1:7682/"
    )]
    pub url: String,
    /// Trust the certificates in this PEM file, in place of those that the system trusts
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How long the whole may take
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub timeout: Patience,
}

/// `slackwater manual`
#[derive(Debug, Clone, Args)]
pub struct ManualOptions {
    /// Where they are to be
    pub directory: PathBuf,
}

/// What means nothing where nobody connects.
const OF_CLIENTS: [&str; 30] = [
    "listen",
    "listen_mode",
    "listen_owner",
    "redirect_listen",
    "control",
    "admin_listen",
    "agent_listen",
    "announce",
    "ebb_window",
    "refuse",
    "drain_status",
    "close_code",
    "close_fin",
    "path",
    "health_path",
    "origin",
    "same_origin",
    "trusted_proxy",
    "client_header",
    "proxy_protocol",
    "tls_certificate",
    "tls_key",
    "tls_client_authority",
    "ping_interval",
    "handshake_timeout",
    "compress_from",
    "max_connections",
    "max_connections_per_address",
    "max_handshakes_per_address",
    "max_total_queued_bytes",
];

/// A program that is called `websocketd` has websocketd's command line, and one that is called
/// `osrf-websocket-stdio` has its.
pub fn by_name(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().and_then(|path| Path::new(path).file_name());
    let command = match name.and_then(std::ffi::OsStr::to_str) {
        Some("websocketd") => Some("websocketd"),
        Some("osrf-websocket-stdio") => Some("osrf-stdio"),
        Some(_) | None => None,
    };
    if let Some(command) = command {
        arguments.insert(1, command.into());
    }
    arguments
}

/// Reads a command line, its first word being the program's name, and the environment.
///
/// # Errors
/// What clap says, to be printed with its [`exit`](clap::Error::exit): help and version, too.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variables: &[String],
) -> Result<Command, clap::Error> {
    let arguments = with_command(arguments.into_iter().collect());
    let mut definition = definition();
    let matches = definition
        .try_get_matches_from_mut(&arguments)
        .map_err(|error| naming_variable(error, &arguments))?;
    check_variables(variables, &variables_of(&definition))
        .map_err(|error| definition.error(ErrorKind::UnknownArgument, error))?;
    Cli::from_arg_matches(&matches).map(|cli| cli.command)
}

/// `slackwater --listen …` means `slackwater serve --listen …`. (Flattening the options of serve
/// into the top would put all of them before the commands in `slackwater --help`.)
fn with_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let for_the_top = |argument: &OsString| {
        !argument.to_string_lossy().starts_with('-')
            || ["-h", "--help", "-V", "--version"].iter().any(|option| argument == option)
    };
    if !arguments.get(1).is_some_and(for_the_top) {
        let behind_the_name = arguments.len().min(1);
        arguments.insert(behind_the_name, "serve".into());
    }
    arguments
}

/// The environment variables of all options of all commands.
fn variables_of(definition: &clap::Command) -> BTreeSet<String> {
    definition
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter_map(clap::Arg::get_env)
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// clap blames the flag when a variable is wrong: say which variable if no such flag was typed.
fn naming_variable(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(blamed)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = blamed.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
    let typed = arguments.iter().any(|argument| argument.to_string_lossy().starts_with(&flag));
    if flag.starts_with("--") && !typed {
        let name = flag.trim_start_matches("--").replace('-', "_").to_uppercase();
        let named = format!("{flag} (from SLACKWATER_{name})");
        error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_its_options_anywhere_and_negative_numbers_too() {
        let words = "slackwater request s m --url ws://x/ 1 -5 -1.5e3 --timeout 3s \"-\"";
        let parsed = parse(words.split(' ').map(OsString::from), &[]).expect("understood");
        let Command::Client(ClientCommand::Request(request)) = parsed else { panic!("{parsed:?}") };
        assert_eq!(request.params, ["1", "-5", "-1.5e3", "\"-\""]);
        assert_eq!(request.url, "ws://x/");
    }
}
