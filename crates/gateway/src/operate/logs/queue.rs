//! The queue between whoever logs and the thread that writes: bounded, and never waited for.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for a disk, a journal or a terminal that is slow.
const LINES: usize = 8_192;
/// Their bytes: a line of the activity log has in it what a client has sent.
const BYTES: usize = 16 << 20;

/// Takes lines, or drops them.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    words: SyncSender<Word>,
    level: Arc<Level>,
}

#[derive(Debug)]
enum Word {
    Line(Vec<u8>),
    /// Whoever ends wants to know when all that went before is written.
    End(Sender<()>),
}

#[derive(Debug, Default)]
struct Level {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Lines that were dropped and not told of yet.
    dropped: AtomicUsize,
}

impl Queue {
    /// Starts the thread that writes. `missing` says in the log itself that so many lines of it are
    /// missing.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        place: impl Write + Send + 'static,
        missing: fn(usize) -> String,
    ) -> io::Result<Self> {
        let (words, heard) = sync_channel(LINES);
        let level = Arc::<Level>::default();
        let writer = Writer { place, heard, level: Arc::clone(&level), missing };
        std::thread::Builder::new().name("log".to_owned()).spawn(|| writer.run())?;
        Ok(Self { words, level })
    }

    /// Waits until all is written that has been taken, but no longer than `patience`.
    pub(super) fn end(&self, patience: Duration) {
        let (tell, written) = channel();
        let words = self.words.clone();
        // There may be no room, even for this.
        let ending = std::thread::Builder::new().spawn(move || words.send(Word::End(tell)));
        if ending.is_ok() {
            written.recv_timeout(patience).ok();
        }
    }
}

impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waiting = self.level.waiting.fetch_add(line.len(), Ordering::Relaxed);
        let has_room = waiting == 0 || waiting + line.len() <= BYTES;
        if !has_room || self.words.try_send(Word::Line(line.to_vec())).is_err() {
            self.level.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.level.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// The thread's part.
struct Writer<W> {
    place: W,
    heard: Receiver<Word>,
    level: Arc<Level>,
    missing: fn(usize) -> String,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        loop {
            let word = match self.heard.try_recv() {
                Ok(word) => word,
                Err(TryRecvError::Empty) => {
                    self.pause();
                    let Ok(word) = self.heard.recv() else { return };
                    word
                }
                Err(TryRecvError::Disconnected) => return,
            };
            match word {
                Word::Line(line) => {
                    // There is nobody to tell that it cannot be written.
                    self.place.write_all(&line).ok();
                    self.level.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                }
                Word::End(tell) => {
                    self.pause();
                    tell.send(()).ok();
                }
            }
        }
    }

    /// Nothing waits: time to say what is missing.
    fn pause(&mut self) {
        let dropped = self.level.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.place.write_all((self.missing)(dropped).as_bytes()).ok();
        }
        self.place.flush().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that stands still until it is let go.
    struct Slow {
        go: Receiver<()>,
        written: Sender<String>,
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

    fn missing(lines: usize) -> String {
        format!("{lines} missing")
    }

    /// Writes lines on a disk that stands still, lets it go, and gives what is said to be missing,
    /// and what was written before that was said.
    fn missing_of(lines: impl IntoIterator<Item = String>) -> (usize, Vec<String>) {
        let (let_go, go) = channel();
        let (written, on_disk) = channel();
        let queue = Queue::start(Slow { go, written }, missing).expect("a thread");
        for line in lines {
            (&queue).write_all(line.as_bytes()).expect("taken or dropped");
        }
        drop(let_go);
        queue.end(Duration::from_secs(60));
        drop(queue);
        let mut before = Vec::new();
        for line in on_disk {
            if let Some(missing) = line.strip_suffix(" missing") {
                return (missing.parse().expect("a number"), before);
            }
            before.push(line);
        }
        panic!("nothing is said to be missing")
    }

    #[test]
    fn a_disk_that_stands_still_holds_nobody_up_and_what_is_missing_is_told() {
        let (missing, written) = missing_of((0..LINES + 1_000).map(|number| number.to_string()));
        // The thread may have taken one out of the queue, to write it.
        assert!((999..=1_000).contains(&missing), "{missing}");
        assert_eq!(written.len() + missing, LINES + 1_000);
        assert_eq!((&*written[0], &*written[LINES - 1]), ("0", &*(LINES - 1).to_string()));
    }

    #[test]
    fn lines_that_wait_take_no_more_than_their_room_but_one_is_taken_however_long() {
        let long = || "x".repeat(BYTES / 4 + 1);
        let (missing, written) = missing_of((0..10).map(|_| long()));
        assert_eq!((missing, written.len()), (7, 3));
        let (missing, written) = missing_of(["y".repeat(BYTES + 1), "z".to_owned()]);
        assert_eq!((missing, written.len()), (1, 1));
    }

    #[test]
    fn whoever_ends_waits_for_the_last_line_and_not_for_ever() {
        let (let_go, go) = channel();
        let (written, on_disk) = channel();
        let queue = Queue::start(Slow { go, written }, missing).expect("a thread");
        for line in 0..=LINES {
            (&queue).write_all(line.to_string().as_bytes()).expect("taken");
        }
        queue.end(Duration::from_millis(50));
        assert!(on_disk.try_recv().is_err(), "it stands still");
        drop(let_go);
        queue.end(Duration::from_secs(60));
        assert!(on_disk.try_iter().count() >= LINES, "all was written by then");
    }
}
