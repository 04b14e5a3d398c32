//! The only place that writes for people and pipes: a closed pipe is no panic.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::Failure;

/// A line on stdout, seen at once.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    raw(format_args!("{text}\n"))
}

/// Text on stdout as it is, seen at once.
pub(crate) fn raw(text: impl Display) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    write!(output, "{text}").and_then(|()| output.flush()).map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            return Failure::OutputClosed;
        }
        Failure::Failed(format!("cannot write the output: {error}"))
    })
}

/// Text on stderr as it is.
pub(crate) fn aside(text: impl Display) {
    write!(io::stderr().lock(), "{text}").unwrap_or_default();
}

/// A line on stderr for what went wrong. If even that cannot be written, the exit status says it.
pub(crate) fn error(text: impl Display) {
    writeln!(io::stderr().lock(), "error: {text}").unwrap_or_default();
}
