//! Lines as OpenSRF's own programs write them, for whoever has tools that read those:
//! `client 2026-11-22 13:05:13 [WARN:15000:gateway.rs:101:XID] words key=value`, and for the
//! activity log `… [ACT:15000:told.rs:40:XID] [ADDRESS] [] SERVICE METHOD PARAMS`.

use std::fmt::{self, Debug, Write as _};

use chrono::Local;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::ACTIVITY;

/// What a line begins with.
#[derive(Debug)]
pub(super) enum Head {
    /// This name and the time of day.
    Dated(String),
    /// Nothing: syslog puts both there itself.
    None,
}

/// The format.
#[derive(Debug)]
pub(super) struct OpensrfFormat {
    head: Head,
    pid: u32,
    max_length: usize,
}

impl OpensrfFormat {
    /// Words longer than `max_length` bytes are cut.
    pub(super) fn new(head: Head, max_length: usize) -> Self {
        Self { head, pid: std::process::id(), max_length }
    }
}

impl<S, N> FormatEvent<S, N> for OpensrfFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let is_activity = metadata.target() == ACTIVITY;
        let label = if is_activity { "ACT" } else { label(metadata.level()) };
        let mut words = Words { is_activity, ..Words::default() };
        event.record(&mut words);
        let file = metadata.file().unwrap_or_default();
        let file = file.rsplit_once('/').map_or(file, |(_, name)| name);
        let (pid, line, xid) = (self.pid, metadata.line().unwrap_or_default(), &words.xid);
        if let Head::Dated(name) = &self.head {
            write!(writer, "{name} {} ", Local::now().format("%Y-%m-%d %H:%M:%S"))?;
        }
        write!(writer, "[{label}:{pid}:{file}:{line}:")?;
        write_plain(&mut writer, xid, self.max_length)?;
        writer.write_str("] ")?;
        write_plain(&mut writer, words.text.trim(), self.max_length)?;
        writer.write_char('\n')
    }
}

fn label(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERR ",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBG",
        _ => "INT ",
    }
}

/// What an event says.
#[derive(Default)]
struct Words {
    is_activity: bool,
    xid: String,
    text: String,
}

impl Words {
    fn add(&mut self, name: &str, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _infallible = match (name, self.is_activity) {
            ("xid", _) => write!(self.xid, "{value}"),
            ("client", true) => write!(self.text, "[{value}] []"),
            ("message", true) => Ok(()),
            ("message", false) => write!(self.text, "{value}"),
            (_, true) => write!(self.text, " {value}"),
            (_, false) => write!(self.text, " {name}={value}"),
        };
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), format_args!("{value:?}"));
    }
}

/// A text without anything that could end the line or that a terminal obeys.
fn write_plain(writer: &mut Writer<'_>, text: &str, max_length: usize) -> fmt::Result {
    for (at, letter) in text.char_indices() {
        if at >= max_length {
            return writer.write_str("...");
        }
        if letter.is_control() {
            write!(writer, "\\u{:04x}", u32::from(letter))?;
        } else {
            writer.write_char(letter)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().map_err(|_| io::ErrorKind::Other)?.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(head: Head, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(OpensrfFormat::new(head, 60));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = kept.0.lock().expect("whole").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_line_reads_as_one_of_opensrf() {
        let pid = std::process::id();
        let line = logged(Head::Dated("client/x".into()), || {
            tracing::warn!(xid = "x-1", size = 7, reason = "a b", "too large");
        });
        let (head, rest) = line.split_once(" [").expect("a bracket");
        let (name, time) = head.split_once(' ').expect("a time");
        assert_eq!(name, "client/x");
        assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").is_ok(), "{time}");
        let (place, words) = rest.split_once("] ").expect("words");
        assert!(place.starts_with(&format!("WARN:{pid}:opensrf.rs:")), "{place}");
        assert!(place.ends_with(":x-1"), "{place}");
        assert_eq!(words, "too large size=7 reason=a b\n");
    }

    #[test]
    fn activity_reads_as_that_of_opensrf() {
        let line = logged(Head::None, || {
            let (client, service, method) = ("127.0.0.1", "opensrf.math", "add");
            tracing::info!(target: "activity", client, service, method, params = "1, 2", xid = "x", "request");
            tracing::info!(target: "activity", client, service, method, params = "", xid = "x", "request");
        });
        let lines: Vec<&str> =
            line.lines().map(|line| line.split_once("] ").expect("]").1).collect();
        assert_eq!(
            lines,
            ["[127.0.0.1] [] opensrf.math add 1, 2", "[127.0.0.1] [] opensrf.math add"]
        );
        assert!(line.starts_with("[ACT:") && line.contains(":x] ["), "{line}");
    }

    #[test]
    fn nobody_can_forge_a_line_or_fill_the_log() {
        let line = logged(Head::None, || {
            tracing::info!(target: "activity", client = "c", method = "a\n\u{9b}b", "request");
            tracing::error!(xid = "x\n", "{}", "y".repeat(1_000));
        });
        assert_eq!(line.lines().count(), 2, "{line}");
        assert!(line.contains(r"a\u000a\u009bb") && line.contains(r":x\u000a]"), "{line}");
        assert!(line.ends_with(&format!("] {}...\n", "y".repeat(60))), "{line}");
    }
}
