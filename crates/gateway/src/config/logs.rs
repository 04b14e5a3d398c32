//! Which log lines are written, where to, and in what form.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::choices::parse_as_value;
use super::text::{Unfit, deserialize_as_text};

/// Where syslog listens, whichever program it is.
const SYSLOG: &str = "/dev/log";

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTo {
    /// Where systemd's journal, a container engine or a terminal reads them.
    Stderr,
    /// Where websocketd's are looked for.
    Stdout,
    /// The syslog that listens at this unix socket.
    Syslog(PathBuf),
    /// The end of this file, which may be renamed at any time.
    File(PathBuf),
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// As OpenSRF's own programs write it.
    Opensrf,
    /// As websocketd writes it.
    Websocketd,
}

/// A syslog facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Facility {
    /// Programs of users.
    User,
    /// System services.
    Daemon,
    /// For local use, as are the others.
    Local0,
    /// What OpenSRF takes for its activity log.
    Local1,
    /// For local use.
    Local2,
    /// For local use.
    Local3,
    /// For local use.
    Local4,
    /// For local use.
    Local5,
    /// For local use.
    Local6,
    /// For local use.
    Local7,
}

/// Which log lines are written: a level, or a filter in tracing's syntax
/// (`info,slackwater::hub=debug`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// What is put behind the program's name in each line, to tell one site's lines from another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTag(String);

deserialize_as_text!(LogTo, LogFormat, Facility, LogFilter, LogTag);
parse_as_value!(LogFormat, Facility);

impl FromStr for LogTo {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match (text, text.strip_prefix("syslog:")) {
            ("stderr", _) => Ok(Self::Stderr),
            ("stdout", _) => Ok(Self::Stdout),
            ("syslog", _) => Ok(Self::Syslog(SYSLOG.into())),
            (_, Some(path)) if path.starts_with('/') => Ok(Self::Syslog(path.into())),
            // A word alone is a misspelt one of these, not a file.
            (path, None) if path.contains('/') => Ok(Self::File(path.into())),
            _ => Err(Unfit::expected("stderr, stdout, syslog, or the path of a file")),
        }
    }
}

impl Facility {
    /// Its number (RFC 3164 section 4.1.1).
    pub const fn number(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Daemon => 3,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = Unfit;

    /// tracing takes an unknown word for a module's name, so that `inof` would silently mean
    /// "everything from module inof"; here a word alone must be a level.
    fn from_str(text: &str) -> Result<Self, Unfit> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let fits = !text.is_empty()
            && EnvFilter::try_new(text).is_ok()
            && text.split(',').all(|part| part.contains('=') || LEVELS.contains(&part));
        fits.then(|| Self(text.to_owned())).ok_or_else(|| {
            Unfit::expected("a level (error, warn, info, debug, trace), or a filter such as info,slackwater::hub=debug")
        })
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl LogTag {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogTag {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| Unfit::expected("1 to 64 letters, digits, or any of . _ -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for filter in ["info", "off", "warn,slackwater::hub=trace", "slackwater[client]=debug"] {
            assert!(filter.parse::<LogFilter>().is_ok(), "{filter}");
        }
        for filter in ["", "inof", "info,hub", "a=b=c", "INFO "] {
            assert!(filter.parse::<LogFilter>().is_err(), "{filter}");
        }
    }

    #[test]
    fn a_misspelt_place_is_not_taken_for_a_file() {
        assert_eq!("stderr".parse(), Ok(LogTo::Stderr));
        assert_eq!("syslog".parse(), Ok(LogTo::Syslog("/dev/log".into())));
        assert_eq!("syslog:/run/log".parse(), Ok(LogTo::Syslog("/run/log".into())));
        assert!("syslog:".parse::<LogTo>().is_err());
        assert_eq!("./log".parse(), Ok(LogTo::File("./log".into())));
        assert!("sylog".parse::<LogTo>().is_err() && "".parse::<LogTo>().is_err());
        let format = "xml".parse::<LogFormat>().unwrap_err().to_string();
        assert_eq!(format, "expected text or json or opensrf or websocketd");
        assert_eq!("local7".parse::<Facility>().map(Facility::number), Ok(23));
        assert!("local8".parse::<Facility>().is_err());
        assert!("a b".parse::<LogTag>().is_err() && "site-1".parse::<LogTag>().is_ok());
    }
}
