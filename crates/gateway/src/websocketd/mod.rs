//! websocketd's own command line, flag for flag, under `slackwater websocketd` or the name
//! `websocketd`: what people have in their unit files today starts the same gateway as
//! `slackwater run` does. Everything that websocketd has no flag for comes from the environment and
//! from the file that `SLACKWATER_CONFIG` names.
//!
//! The law: what websocketd accepts means the same here, or is listed in docs/websocketd.md as
//! different on purpose; and its exit codes are 0 for help and version, 1 for flags that do not go
//! together, 2 for one that cannot be read, 3 for an address that cannot be had, 4 for a console
//! beside files.

mod flags;

use std::ffi::{OsStr, OsString};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue};

pub use self::flags::{BadFlag, Flags};
use crate::config::{LogFormat, LogTo, ServeOptions, Threshold, Web};
use crate::front::ListenAddress;
use crate::serve::ServeError;

/// What `SERVER_SOFTWARE` and `--version` say: programs look for the beginning.
pub const SOFTWARE: &str = concat!("websocketd/0.4.1 (slackwater ", env!("CARGO_PKG_VERSION"), ")");

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// To say this on stdout and end.
    Version(String),
    /// To say this on stderr, as websocketd does, and end.
    Help(&'static str),
    /// To serve.
    Serve(Box<ServeOptions>),
}

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// The exit code that websocketd has for it.
    pub code: u8,
    /// What is wrong.
    pub text: String,
}

impl Refused {
    fn together(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }
}

/// Reads a command line without the name of the program. `others` is what the environment says.
///
/// # Errors
/// [`Refused`], to be said on stderr.
pub fn read(
    words: impl IntoIterator<Item = OsString>,
    others: ServeOptions,
) -> Result<Invocation, Refused> {
    let flags = Flags::read(words).map_err(|bad| Refused { code: 2, text: bad.to_string() })?;
    if flags.help {
        return Ok(Invocation::Help(HELP));
    }
    if flags.version {
        return Ok(Invocation::Version(SOFTWARE.to_owned()));
    }
    if flags.license {
        return Ok(Invocation::Version("MIT OR Apache-2.0".to_owned()));
    }
    let typed = options(flags)?;
    // The file that the environment names is read, and what it runs is typed here.
    let config = others.config.clone();
    Ok(Invocation::Serve(Box::new(ServeOptions { config, ..typed.over(others) })))
}

/// websocketd's exit code for what went wrong.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return refused.code;
    }
    match error.downcast_ref::<ServeError>() {
        Some(ServeError::Listen(_)) => 3,
        Some(
            ServeError::Control(_)
            | ServeError::Bus { .. }
            | ServeError::BusPassword { .. }
            | ServeError::Aside { .. }
            | ServeError::System { .. },
        )
        | None => 1,
    }
}

fn options(flags: Flags) -> Result<ServeOptions, Refused> {
    check(&flags)?;
    let headers = |texts: &[String]| -> Result<Vec<_>, Refused> {
        texts.iter().map(|text| header(text)).collect()
    };
    let everywhere = headers(&flags.headers)?;
    let upgrade = headers(&flags.upgrade_headers)?;
    let other = headers(&flags.http_headers)?;
    let restricts = flags.same_origin || !flags.origins.is_empty();
    let web = Web {
        scripts: directory("--dir", flags.scripts.as_ref())?,
        static_directory: directory("--staticdir", flags.static_directory.as_ref())?,
        cgi_directory: directory("--cgidir", flags.cgi_directory.as_ref())?,
        console: flags.console,
        redirect_port: Some(flags.redirect_port).filter(|port| *port != 0),
        reverse_lookup: flags.reverse_lookup,
        requires_origin: restricts,
        upgrade_headers: [everywhere.clone(), upgrade].concat(),
        other_headers: [everywhere, other].concat(),
    };
    let port = flags.port.unwrap_or(if flags.ssl { 443 } else { 80 });
    let listen = listen(&flags.addresses, port, flags.unix_socket, flags.port.is_some())?;
    let program = match flags.command.split_first() {
        Some((name, arguments)) => {
            let program = find(name).ok_or_else(|| {
                let name = name.display();
                Refused::together(format!("the COMMAND {name} is not there, or not in $PATH"))
            })?;
            [&[program.into_os_string()], arguments].concat()
        }
        // The URL names it.
        None => vec![OsString::new()],
    };
    let origins = flags.origins.iter().map(|origin| {
        // By websocketd's rule, port 80 means any, too.
        let rule = origin.strip_suffix(":80").unwrap_or(origin);
        rule.parse().map_err(|error| Refused::together(format!("--origin: {error}")))
    });
    let text = |key: &str, value: String| {
        Refused::together(format!("--{key}={value}: not a value that it takes"))
    };
    let count = |key: &str, number: u64| {
        number.to_string().parse().map_err(|_| text(key, number.to_string()))
    };
    let milliseconds = |key: &str, time: std::time::Duration| {
        let given = format!("{}ms", time.as_millis());
        given.parse().map_err(|_| text(key, given))
    };
    Ok(ServeOptions {
        program: Some(program),
        web: Some(web),
        listen: Some(listen),
        tls_certificate: flags.certificate,
        tls_key: flags.key,
        tls_client_authority: flags.client_authority,
        origin: Some(Result::from_iter(origins)?).filter(|origins: &Vec<_>| !origins.is_empty()),
        same_origin: Some(flags.same_origin).filter(|same| *same),
        binary: Some(flags.binary).filter(|binary| *binary),
        pass_stderr: Some(flags.pass_stderr).filter(|passes| *passes),
        pass_env: flags.pass_env,
        kill_grace: Some(milliseconds("closems", flags.close)?),
        ping_interval: flags.ping.map(|time| milliseconds("pingms", time)).transpose()?,
        max_programs: u64::try_from(flags.max_forks)
            .ok()
            .filter(|forks| *forks > 0)
            .map(|forks| count("maxforks", forks))
            .transpose()?,
        max_message_size: match flags.max_frame_size {
            Some(size) => {
                Some(size.to_string().parse().map_err(|_| text("maxframesize", size.to_string()))?)
            }
            None => None,
        },
        // It never did.
        compress_from: Some(Threshold::OFF),
        log_to: Some(LogTo::Stdout),
        log_format: Some(LogFormat::Websocketd),
        log_level: Some(filter(flags.log_level.as_deref().unwrap_or("access"))?),
        ..ServeOptions::default()
    })
}

/// What cannot be asked for at once.
fn check(flags: &Flags) -> Result<(), Refused> {
    let together =
        |wrong: bool, text: &str| if wrong { Err(Refused::together(text)) } else { Ok(()) };
    let serves = flags.static_directory.is_some() || flags.cgi_directory.is_some();
    let (certificate, key) = (flags.certificate.is_some(), flags.key.is_some());
    if flags.console && serves {
        let beside = if flags.static_directory.is_some() { "--staticdir" } else { "--cgidir" };
        return Err(Refused {
            code: 4,
            text: format!("--devconsole cannot be used with {beside}"),
        });
    }
    together(
        flags.command.is_empty() && flags.scripts.is_none() && !serves,
        "a COMMAND is needed, or --dir; --help tells more",
    )?;
    together(
        !flags.command.is_empty() && flags.scripts.is_some(),
        "a COMMAND cannot be given together with --dir",
    )?;
    together(
        flags.ssl != certificate || flags.ssl != key,
        "--ssl, --sslcert and --sslkey are given together or not at all",
    )?;
    together(flags.client_authority.is_some() && !flags.ssl, "--sslca needs --ssl")?;
    together(
        flags.binary && flags.pass_stderr,
        "--passstderr cannot be used with --binary: what it sends is JSON text",
    )
}

/// The addresses: every one of this host if none is named; none if there is a unix socket alone.
fn listen(
    addresses: &[String],
    port: u16,
    unix_socket: Option<PathBuf>,
    port_is_given: bool,
) -> Result<Vec<ListenAddress>, Refused> {
    let mut all = Vec::new();
    if let Some(path) = unix_socket {
        let path = std::path::absolute(&path).unwrap_or(path);
        all.push(ListenAddress::Unix(path));
        if addresses.is_empty() && !port_is_given {
            return Ok(all);
        }
    }
    for address in addresses {
        let host = address.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = host.unwrap_or(address);
        let found = (host, port).to_socket_addrs().ok().and_then(|mut found| found.next());
        let found = found.ok_or_else(|| Refused {
            code: 3,
            text: format!("--address={address}: no such address"),
        })?;
        all.push(ListenAddress::Tcp(found));
    }
    if addresses.is_empty() {
        let v6 = Path::new("/proc/net/if_inet6").exists();
        let any =
            if v6 { SocketAddr::from(([0_u16; 8], port)) } else { ([0, 0, 0, 0], port).into() };
        all.push(ListenAddress::Tcp(any));
    }
    Ok(all)
}

fn directory(flag: &str, path: Option<&PathBuf>) -> Result<Option<PathBuf>, Refused> {
    let Some(path) = path else { return Ok(None) };
    let whole = path.canonicalize().ok().filter(|whole| whole.is_dir());
    let none = || Refused::together(format!("{flag}={}: no directory", path.display()));
    whole.map(Some).ok_or_else(none)
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), Refused> {
    let parsed = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| {
        Refused::together(format!("--header: {text:?} is not of the form Name: value"))
    })
}

/// The file of a program, as a shell finds it.
fn find(name: &OsStr) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let path = Path::new(name);
    if path.components().count() > 1 || path.is_absolute() {
        return Some(path.to_owned()).filter(runs);
    }
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories).map(|directory| directory.join(name)).find(runs)
}

/// The lines that websocketd writes at a level. Its order: debug, trace, access, info, error, fatal.
fn filter(level: &str) -> Result<crate::config::LogFilter, Refused> {
    let filter = match level {
        "debug" => "debug,slackwater::client=warn",
        "trace" => "info,slackwater::program=debug,slackwater::client=warn",
        "access" => "info,slackwater::client=warn",
        "info" => "info,slackwater::client=warn,access=off",
        "error" => "warn,access=off",
        "fatal" => "off",
        other => {
            return Err(Refused::together(format!(
                "--loglevel={other}: not debug, trace, access, info, error or fatal"
            )));
        }
    };
    filter.parse().map_err(|error| Refused::together(format!("--loglevel: {error}")))
}

const HELP: &str = "\
Runs a program for each WebSocket, as websocketd does, and drains.

  websocketd [OPTIONS] COMMAND [ARGUMENTS]
  websocketd [OPTIONS] --dir=DIRECTORY

Where clients come in:
  --port=N            port [default: 80, or 443 with --ssl]
  --address=A         address of this host, IPv6 in brackets; repeatable [default: all]
  --unixsocket=PATH   unix socket; without --port or --address, nothing else
  --ssl, --sslcert=FILE, --sslkey=FILE   TLS, all three together
  --sslca=FILE        take only clients whose certificate one of these has signed
  --redirport=N       send browsers from this port to the first address
Who may:
  --sameorigin        only pages of the host that they connect to
  --origin=LIST       only pages of these: [scheme://]host[:port], separated by commas
  --maxforks=N        programs at a time; more clients are answered 429 [default: 0, any]
What is run:
  --dir=DIRECTORY     the URL's path names the program
  --binary            whatever one read brings is a message, sent as a binary one
  --passstderr        stderr, too: {\"stream\":\"stdout\",\"data\":\"...\"}
  --passenv=A,B       variables that programs get [default: PATH,LD_LIBRARY_PATH]
  --closems=N         milliseconds more before SIGINT, SIGTERM and SIGKILL
  --pingms=N          ping silent clients after so many milliseconds; 0 never
  --maxframesize=N    bytes of one message [default: 10 MiB]
  --reverselookup     REMOTE_HOST is looked up
What is served beside:
  --staticdir=DIR     files; no listings, nothing that begins with a dot
  --cgidir=DIR        CGI scripts
  --devconsole        a page to try WebSockets with; not with the two above
  --header=H, --header-ws=H, --header-http=H   headers of all answers, of upgrades, of others
And:
  --loglevel=L        debug, trace, access, info, error or fatal [default: access]
  --version, --license, --help

Drained by SIGTERM and SIGUSR1, and by `slackwater drain`. Everything else is set by the environment
(SLACKWATER_DEADLINE) and by the file that SLACKWATER_CONFIG names: see slackwater-run(1).
";
