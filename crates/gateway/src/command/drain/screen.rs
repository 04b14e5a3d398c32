//! What `drain --wait` shows: a bar on a terminal, elsewhere a plain line an event.

use std::fmt::Write;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::command::{Failure, print, shown};
use crate::operate::control::Progress;
use crate::operate::status::Status;

/// Where the progress of a drain is shown.
pub(super) enum Screen {
    Bar(ProgressBar),
    Lines,
}

impl Screen {
    pub(super) fn new() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} closed, {msg}");
        Self::Bar(match style {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        })
    }

    pub(super) fn show(&mut self, progress: &Progress) -> Result<(), Failure> {
        match self {
            Self::Bar(bar) => {
                if let Some(drain) = &progress.status.drain {
                    bar.set_length(drain.total_at_start);
                    bar.set_position(drain.closed_so_far);
                }
                bar.set_message(with_holders(progress, "\n    "));
                Ok(())
            }
            Self::Lines => print::line(with_holders(progress, "; ")),
        }
    }

    /// Leaves room for the verdict.
    pub(super) fn clear(&self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::Lines => {}
        }
    }
}

/// One line on how far a drain is.
pub(super) fn progress(status: &Status) -> String {
    let connections = shown::counted(status.connections, "connection");
    let requests = shown::counted(status.pending_requests, "pending request");
    let sessions = shown::counted(status.sessions, "session");
    let phase = shown::phase(status.phase);
    let mut line = format!("{phase}: {connections} left, {requests}, {sessions}");
    if let Some(left) = status.drain.as_ref().and_then(|drain| drain.deadline_seconds_left) {
        let left = shown::seconds(left);
        write!(line, ", {left} to the deadline").unwrap_or_default();
    }
    line
}

fn with_holders(shown: &Progress, before_each: &str) -> String {
    let mut text = progress(&shown.status);
    for connection in &shown.holding {
        text.push_str(before_each);
        text.push_str(&shown::holder(connection));
    }
    text
}
