//! websocketd's flags, in Go's syntax: `-flag`, `--flag`, `--flag=value`, `--flag value`; a boolean
//! takes a value only behind `=`; the first word that is no flag, or what follows `--`, is COMMAND.
//! Pure.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--port`
    pub port: Option<u16>,
    /// `--address`, repeatable
    pub addresses: Vec<String>,
    /// `--unixsocket`
    pub unix_socket: Option<PathBuf>,
    /// `--ssl`
    pub ssl: bool,
    /// `--sslcert`
    pub certificate: Option<PathBuf>,
    /// `--sslkey`
    pub key: Option<PathBuf>,
    /// `--sslca`
    pub client_authority: Option<PathBuf>,
    /// `--redirport`
    pub redirect_port: u16,
    /// `--sameorigin`
    pub same_origin: bool,
    /// `--origin`, separated by commas
    pub origins: Vec<String>,
    /// `--binary`
    pub binary: bool,
    /// `--passstderr`
    pub pass_stderr: bool,
    /// `--dir`
    pub scripts: Option<PathBuf>,
    /// `--staticdir`
    pub static_directory: Option<PathBuf>,
    /// `--cgidir`
    pub cgi_directory: Option<PathBuf>,
    /// `--devconsole`
    pub console: bool,
    /// `--maxforks`; no limit at 0 and below
    pub max_forks: i64,
    /// `--maxframesize`, in bytes
    pub max_frame_size: Option<u64>,
    /// `--closems`
    pub close: Duration,
    /// `--pingms`; off at 0
    pub ping: Option<Duration>,
    /// `--header`, repeatable
    pub headers: Vec<String>,
    /// `--header-ws`, repeatable
    pub upgrade_headers: Vec<String>,
    /// `--header-http`, repeatable
    pub http_headers: Vec<String>,
    /// `--passenv`
    pub pass_env: Option<Vec<String>>,
    /// `--reverselookup`
    pub reverse_lookup: bool,
    /// `--loglevel`
    pub log_level: Option<String>,
    /// `--version`
    pub version: bool,
    /// `--license`
    pub license: bool,
    /// `--help`
    pub help: bool,
    /// COMMAND and its arguments.
    pub command: Vec<OsString>,
}

/// A flag that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFlag {
    /// There is no such flag.
    #[error("no such flag: -{0}")]
    Unknown(String),
    /// It needs a value.
    #[error("-{0} needs a value")]
    NoValue(String),
    /// Its value is not what it takes.
    #[error("-{name}: {value:?} is not {expected}")]
    BadValue {
        /// The flag.
        name: String,
        /// What was given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
}

impl Flags {
    /// Reads a command line without the name of the program.
    ///
    /// # Errors
    /// The first flag that cannot be read.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, BadFlag> {
        let mut flags = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let text = word.to_str().unwrap_or_default();
            let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
            let (name, value) = match name {
                None | Some("") if text == "--" => {
                    flags.command = words.collect();
                    break;
                }
                None | Some("") => {
                    flags.command = std::iter::once(word).chain(words).collect();
                    break;
                }
                Some(flag) => match flag.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (flag, None),
                },
            };
            let mut next = || words.next().map(|word| word.to_string_lossy().into_owned());
            flags.set(name, value, &mut next)?;
        }
        Ok(flags)
    }

    fn set(
        &mut self,
        name: &str,
        value: Option<String>,
        next: &mut dyn FnMut() -> Option<String>,
    ) -> Result<(), BadFlag> {
        let bad = |value: &str, expected| BadFlag::BadValue {
            name: name.to_owned(),
            value: value.to_owned(),
            expected,
        };
        let switch = match name {
            "ssl" => Some(&mut self.ssl),
            "sameorigin" => Some(&mut self.same_origin),
            "binary" => Some(&mut self.binary),
            "passstderr" => Some(&mut self.pass_stderr),
            "devconsole" => Some(&mut self.console),
            "reverselookup" => Some(&mut self.reverse_lookup),
            "version" => Some(&mut self.version),
            "license" => Some(&mut self.license),
            "help" | "h" => Some(&mut self.help),
            _ => None,
        };
        if let Some(switch) = switch {
            // The words that Go's strconv.ParseBool takes.
            *switch = match value.as_deref() {
                None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
                Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
                Some(other) => return Err(bad(other, "true or false")),
            };
            return Ok(());
        }
        if !VALUED.contains(&name) {
            return Err(BadFlag::Unknown(name.to_owned()));
        }
        let value = match value {
            Some(value) => value,
            None => next().ok_or_else(|| BadFlag::NoValue(name.to_owned()))?,
        };
        let milliseconds = || {
            let number = value.parse().map_err(|_| bad(&value, "a number of milliseconds"));
            number.map(Duration::from_millis)
        };
        let list = || value.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        match name {
            "port" => self.port = Some(value.parse().map_err(|_| bad(&value, "a port"))?),
            "address" => self.addresses.push(value),
            "unixsocket" => self.unix_socket = Some(value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.key = Some(value.into()),
            "sslca" => self.client_authority = Some(value.into()),
            "redirport" => {
                self.redirect_port = value.parse().map_err(|_| bad(&value, "a port"))?;
            }
            "origin" => self.origins = list(),
            "dir" => self.scripts = Some(value.into()),
            "staticdir" => self.static_directory = Some(value.into()),
            "cgidir" => self.cgi_directory = Some(value.into()),
            "maxforks" => self.max_forks = value.parse().map_err(|_| bad(&value, "a number"))?,
            "maxframesize" => {
                let size = value.parse().ok().filter(|size| *size > 0);
                self.max_frame_size = Some(size.ok_or_else(|| bad(&value, "a number of bytes"))?);
            }
            "closems" => self.close = milliseconds()?,
            "pingms" => self.ping = Some(milliseconds()?),
            "header" => self.headers.push(value),
            "header-ws" => self.upgrade_headers.push(value),
            "header-http" => self.http_headers.push(value),
            "passenv" => self.pass_env = Some(list()),
            // The last of them: VALUED has no other.
            _ => self.log_level = Some(value),
        }
        Ok(())
    }
}

/// The flags that take a value.
const VALUED: [&str; 20] = [
    "port",
    "address",
    "unixsocket",
    "sslcert",
    "sslkey",
    "sslca",
    "redirport",
    "origin",
    "dir",
    "staticdir",
    "cgidir",
    "maxforks",
    "maxframesize",
    "closems",
    "pingms",
    "header",
    "header-ws",
    "header-http",
    "passenv",
    "loglevel",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Flags, BadFlag> {
        Flags::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_are_written_as_go_takes_them() {
        let flags =
            read("-port=80 --address 127.0.0.1 --address=[::1] -binary --ssl=false ls -l --port=1");
        let flags = flags.expect("flags");
        assert_eq!((flags.port, flags.binary, flags.ssl), (Some(80), true, false));
        assert_eq!(flags.addresses, ["127.0.0.1", "[::1]"]);
        assert_eq!(flags.command, ["ls", "-l", "--port=1"]);
        assert_eq!(read("--binary -- -odd").expect("flags").command, ["-odd"]);
        assert_eq!(read("--binary true").expect("flags").command, ["true"], "as in Go");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (line, told) in [
            ("--port=abc cat", "-port: \"abc\" is not a port"),
            ("--nonsense", "no such flag: -nonsense"),
            ("--port", "-port needs a value"),
            ("--ssl=maybe", "-ssl: \"maybe\" is not true or false"),
            ("--closems=-1", "-closems: \"-1\" is not a number of milliseconds"),
        ] {
            assert_eq!(read(line).expect_err(line).to_string(), told);
        }
    }
}
