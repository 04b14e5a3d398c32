//! Where log lines go, and what each level asks of an operator:
//!
//! * `error`: wake somebody; clients lose answers or cannot be served.
//! * `warn`: look at it today; something was cut off, refused or lost, and the gateway goes on.
//! * `info`: the life of the gateway and of each client, a line for a start and one for an end.
//! * `debug`: what a single client or message did wrong, for whoever looks into it.
//! * `trace`: every message.
//!
//! Beside them stands the activity log, a line for each request, whatever the level is.
//!
//! The law: whoever logs never waits for whoever reads, be it a disk, a syslog, a journal or a
//! terminal. All lines pass a queue with a bound to a thread; what it cannot take is dropped, and
//! counted in the log.

mod file;
mod opensrf;
mod queue;
mod syslog;
mod websocketd;

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use self::file::FollowedFile;
use self::opensrf::{Head, OpensrfFormat};
use self::queue::Queue;
use self::syslog::{Syslog, SyslogSocket};
use self::websocketd::WebsocketdFormat;
use crate::config::{Log, LogFormat, LogTo};

/// The target of the activity log's events.
pub(crate) const ACTIVITY: &str = "activity";

/// The target of the access log's events, a line for each request over HTTP.
pub(crate) const ACCESS: &str = "access";

/// What OpenSRF's gateway calls itself in its lines.
const PROGRAM: &str = "client";

/// Keeps the log running; what was logged before it is dropped is written, if there is somebody who
/// takes it.
#[derive(Debug)]
pub struct Logging {
    queue: Queue,
    switch: Switch,
}

/// So long the end of the process waits for the last lines to be taken.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What can be changed of a log that runs.
#[derive(Debug, Clone)]
pub struct Switch {
    filter: reload::Handle<EnvFilter, Registry>,
    look_now: Arc<AtomicBool>,
}

impl Logging {
    /// What can be changed of it.
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.queue.end(LAST_LINES);
    }
}

impl Switch {
    /// Writes the lines that the settings ask for from now on, and looks whether the file has been
    /// renamed. Where lines go, and in which form, stays.
    pub fn configure(&self, log: &Log) {
        self.look_now.store(true, Ordering::Relaxed);
        let changed =
            filter(log).and_then(|filter| self.filter.reload(filter).map_err(io::Error::other));
        if let Err(error) = changed {
            tracing::error!(%error, "log_level stays as it was");
        }
    }
}

/// Sends this process's log lines where the settings say. To be called once, before the first.
///
/// # Errors
/// The file or the syslog cannot be opened, or logs go somewhere already; the text says which.
pub fn install(log: &Log) -> io::Result<Logging> {
    let name = match &log.tag {
        Some(tag) => format!("{PROGRAM}/{}", tag.as_str()),
        None => PROGRAM.to_owned(),
    };
    let look_now = Arc::new(AtomicBool::new(false));
    let place: Box<dyn Write + Send> = match &log.to {
        LogTo::Stderr => Box::new(io::stderr()),
        LogTo::Stdout => Box::new(io::stdout()),
        LogTo::File(path) => {
            let file = FollowedFile::open(path, Arc::clone(&look_now));
            Box::new(file.map_err(|error| named(&format!("log_to {}", path.display()), &error))?)
        }
        LogTo::Syslog(path) => {
            let place = || format!("log_to syslog:{}", path.display());
            Box::new(SyslogSocket::open(path).map_err(|error| named(&place(), &error))?)
        }
    };
    let queue = Queue::start(place, missing(log.format))?;
    let taker = queue.clone();
    let lines = match &log.to {
        LogTo::Stderr => lines(log, Head::Dated(name), io::stderr().is_terminal(), taker),
        LogTo::Stdout => lines(log, Head::Dated(name), io::stdout().is_terminal(), taker),
        LogTo::File(_) => lines(log, Head::Dated(name), false, taker),
        LogTo::Syslog(_) => lines(log, Head::None, false, Syslog::new(log, name, taker)),
    };
    let (wanted, filter) = reload::Layer::new(filter(log)?);
    tracing_subscriber::registry()
        .with(lines.with_filter(wanted))
        .try_init()
        .map_err(io::Error::other)?;
    Ok(Logging { queue, switch: Switch { filter, look_now } })
}

/// The lines that are wanted.
fn filter(log: &Log) -> io::Result<EnvFilter> {
    let activity = if log.activity { "info" } else { "off" };
    EnvFilter::try_new(format!("{ACTIVITY}={activity},{}", log.level)).map_err(io::Error::other)
}

/// Whether log lines can go where the settings say.
///
/// # Errors
/// They cannot; the text says why.
pub(crate) fn try_place(to: &LogTo) -> io::Result<()> {
    match to {
        LogTo::Stderr | LogTo::Stdout => Ok(()),
        LogTo::File(path) => FollowedFile::open(path, Arc::default()).map(drop),
        LogTo::Syslog(path) => SyslogSocket::open(path).map(drop),
    }
}

/// What writes a line for each event in the form that was chosen.
fn lines<W>(log: &Log, head: Head, ansi: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(writer);
    match log.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Websocketd => layer.event_format(WebsocketdFormat).boxed(),
        LogFormat::Opensrf => layer.event_format(OpensrfFormat::new(head, log.max_length)).boxed(),
    }
}

/// What says in the log that so many lines of it are missing.
fn missing(format: LogFormat) -> fn(usize) -> String {
    match format {
        LogFormat::Text | LogFormat::Websocketd | LogFormat::Opensrf => {
            |lines| format!("{lines} log lines were dropped here\n")
        }
        LogFormat::Json => |lines| {
            let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            let message = format!("{lines} log lines were dropped here");
            let line = serde_json::json!({"timestamp": time, "level": "WARN", "message": message});
            format!("{line}\n")
        },
    }
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
