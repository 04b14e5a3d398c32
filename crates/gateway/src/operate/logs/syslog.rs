//! Lines for the host's syslog, in the form that libc's `syslog` gives them (RFC 3164 section 4.1):
//! `<priority>Nov 22 13:05:13 name: line`, a datagram each.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use chrono::Local;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::ACTIVITY;
use super::queue::Queue;
use crate::config::{Facility, Log};

/// Makes a writer for each event.
#[derive(Debug)]
pub(super) struct Syslog {
    name: String,
    facility: Facility,
    activity: Facility,
    queue: Queue,
}

impl Syslog {
    pub(super) fn new(log: &Log, name: String, queue: Queue) -> Self {
        Self { name, facility: log.facility, activity: log.activity_facility, queue }
    }

    fn line(&self, facility: Facility, severity: u8) -> SyslogLine<'_> {
        let priority = facility.number() * 8 + severity;
        SyslogLine { priority, name: &self.name, queue: &self.queue }
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = SyslogLine<'a>;

    fn make_writer(&'a self) -> SyslogLine<'a> {
        self.line(self.facility, severity(&Level::INFO))
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> SyslogLine<'a> {
        let facility = if event.target() == ACTIVITY { self.activity } else { self.facility };
        self.line(facility, severity(event.level()))
    }
}

/// The severity of a level (RFC 3164 section 4.1.1).
fn severity(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// One line on its way.
#[derive(Debug)]
pub(super) struct SyslogLine<'a> {
    priority: u8,
    name: &'a str,
    queue: &'a Queue,
}

impl Write for SyslogLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (priority, name) = (self.priority, self.name);
        let time = Local::now().format("%b %e %H:%M:%S");
        let mut datagram = format!("<{priority}>{time} {name}: ").into_bytes();
        datagram.extend_from_slice(line.trim_ascii_end());
        self.queue.write_all(&datagram)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The socket of a syslog that may be restarted at any time.
#[derive(Debug)]
pub(super) struct SyslogSocket {
    path: PathBuf,
    socket: UnixDatagram,
}

impl SyslogSocket {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), socket: connect(path)? })
    }
}

impl Write for SyslogSocket {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.socket.send(datagram).or_else(|_| {
            self.socket = connect(&self.path)?;
            self.socket.send(datagram)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syslog_that_was_restarted_is_found_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        assert!(SyslogSocket::open(&path).is_err());
        let receive = |server: &UnixDatagram| {
            let mut bytes = [0; 100];
            let length = server.recv(&mut bytes).expect("a datagram");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        let server = UnixDatagram::bind(&path).expect("a server");
        let mut socket = SyslogSocket::open(&path).expect("connected");
        socket.write_all(b"first").expect("sent");
        assert_eq!(receive(&server), "first");
        drop(server);
        std::fs::remove_file(&path).expect("removed");
        assert!(socket.write_all(b"lost").is_err());
        let server = UnixDatagram::bind(&path).expect("a server");
        socket.write_all(b"second").expect("sent");
        assert_eq!(receive(&server), "second");
    }
}
