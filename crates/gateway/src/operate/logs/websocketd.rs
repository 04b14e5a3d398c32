//! Lines as websocketd writes them, for whoever has tools that read those:
//! `Thu, 26 Nov 2026 00:48:08 +0000 | ACCESS | session    | url:'…' remote:'…' | CONNECT`.

use std::fmt::{self, Debug, Write as _};

use chrono::Local;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::ACCESS;

/// The format.
#[derive(Debug)]
pub(super) struct WebsocketdFormat;

impl<S, N> FormatEvent<S, N> for WebsocketdFormat
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
        let target = metadata.target();
        let mut words = Words::default();
        event.record(&mut words);
        let category = if words.category.is_empty() { category(target) } else { &words.category };
        let level = if target == ACCESS { "ACCESS" } else { label(metadata.level()) };
        let date = Local::now().format("%a, %d %b %Y %H:%M:%S %z");
        let (fields, text) = (words.fields.trim_end(), &words.text);
        writeln!(writer, "{date} | {level:<6} | {category:<10} | {fields} | {text}")
    }
}

/// websocketd knows no warnings: what it has to complain of is an error.
fn label(level: &Level) -> &'static str {
    match *level {
        Level::ERROR | Level::WARN => "ERROR",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        _ => "TRACE",
    }
}

fn category(target: &str) -> &'static str {
    let of =
        |module: &str| target.strip_prefix("slackwater::").is_some_and(|t| t.starts_with(module));
    if of("program") {
        "process"
    } else if of("client") {
        "websocket"
    } else if of("front") {
        "http"
    } else {
        "server"
    }
}

/// What an event says.
#[derive(Default)]
struct Words {
    category: String,
    fields: String,
    text: String,
}

impl Words {
    fn add(&mut self, name: &str, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _infallible = match name {
            "category" => write!(self.category, "{value}"),
            "message" => write!(self.text, "{value}"),
            _ => write!(self.fields, "{name}:'{value}' "),
        };
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Nothing that a client sends begins a line of its own.
        let plain = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
        let value: String = value.chars().map(plain).collect();
        self.add(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), format_args!("{value:?}"));
    }
}
