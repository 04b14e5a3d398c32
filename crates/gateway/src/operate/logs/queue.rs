//! The queue between whoever logs and the thread that writes: bounded, and never waited for.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait for a disk or a syslog that is slow.
const LINES: usize = 8_192;

/// Starts the thread. The first value takes lines, the second keeps the thread going.
pub(super) fn start(place: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    let dropped = Arc::new(OnceLock::new());
    let counting = Counting { place, dropped: Arc::clone(&dropped), told: 0 };
    let (queue, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES)
        .thread_name("log")
        .finish(counting);
    dropped.get_or_init(|| queue.error_counter());
    (queue, guard)
}

/// Tells in the log itself how much of it is missing.
struct Counting<W> {
    place: W,
    dropped: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.place.write(line)
    }

    /// Called whenever nothing waits.
    fn flush(&mut self) -> io::Result<()> {
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        if dropped > self.told {
            let missing = dropped - self.told;
            self.place.write_all(format!("{missing} log lines were dropped here\n").as_bytes())?;
            self.told = dropped;
        }
        self.place.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A disk that stands still until it is let go.
    struct Slow {
        go: Receiver<()>,
        written: std::sync::mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.go.recv().ok();
            self.written.send(String::from_utf8_lossy(line).into_owned()).ok();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_stands_still_holds_nobody_up_and_what_is_missing_is_told() {
        let (let_go, go) = channel();
        let (written, lines) = channel();
        let (mut queue, guard) = start(Slow { go, written });
        for number in 0..LINES + 1_000 {
            queue.write_all(format!("{number}\n").as_bytes()).expect("taken or dropped");
        }
        drop(let_go);
        let mut told = None;
        for line in lines.iter() {
            if let Some(missing) = line.strip_suffix(" log lines were dropped here\n") {
                told = missing.parse::<usize>().ok();
                break;
            }
        }
        let missing = told.expect("told");
        assert!((900..=1_000).contains(&missing), "{missing}");
        drop(guard);
    }
}
