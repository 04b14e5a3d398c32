//! Listening sockets that somebody bound for us: systemd, or who else speaks sd_listen_fds(3).
//!
//! Law: they are taken once, before the process has a second thread, and only if they are meant
//! for this very process; no child gets them or hears of them.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;

use socket2::{Domain, SockRef, Type};

use super::listener::{Idle, ListenAddress};

/// A listening socket on which somebody else listens as well.
#[derive(Debug)]
pub struct Inherited {
    pub(super) address: ListenAddress,
    pub(super) socket: Idle,
}

/// A socket was passed on with which nothing can be done.
#[derive(Debug, thiserror::Error)]
#[error("inherited socket {name:?}: {reason}")]
pub struct InheritError {
    /// Its `FileDescriptorName`.
    pub name: String,
    /// What is wrong with it.
    pub reason: io::Error,
}

/// The sockets that this process was started with (`LISTEN_PID`, `LISTEN_FDS`), in their order;
/// none the second time.
///
/// # Errors
/// One is no listening TCP or unix socket; or the process has more than one thread by now.
pub fn take() -> Result<Vec<Inherited>, InheritError> {
    let failed = |reason| InheritError { name: String::new(), reason };
    if std::env::var_os("LISTEN_PID").is_none() {
        return Ok(Vec::new());
    }
    if std::fs::read_dir("/proc/self/task").map_err(failed)?.count() != 1 {
        return Err(failed(io::Error::other("asked for when there are threads already")));
    }
    adopt()
        .map_err(failed)?
        .into_iter()
        .map(|(socket, name)| {
            Inherited::try_from(socket).map_err(|reason| InheritError { name, reason })
        })
        .collect()
}

#[expect(
    unsafe_code,
    reason = "a number in the environment becomes a descriptor, and the environment is changed: \
              no safe way is made for either"
)]
fn adopt() -> io::Result<Vec<(OwnedFd, String)>> {
    // SAFETY: there is no other thread that could look at the environment meanwhile.
    let passed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() }?;
    // SAFETY: they are open, which sd_notify has seen, and ours: LISTEN_PID says for whom they
    // are. With the variables gone nobody takes them a second time.
    Ok(passed.map(|(number, name)| (unsafe { OwnedFd::from_raw_fd(number) }, name)).collect())
}

impl Inherited {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }
}

impl TryFrom<OwnedFd> for Inherited {
    type Error = io::Error;

    fn try_from(socket: OwnedFd) -> io::Result<Self> {
        let asked = SockRef::from(&socket);
        let domain = asked.domain()?;
        if asked.r#type()? != Type::STREAM || !asked.is_listener()? {
            return Err(io::Error::other("it does not listen for streams (is it Accept=no?)"));
        }
        asked.set_nonblocking(true)?;
        if domain == Domain::UNIX {
            let socket = StdUnixListener::from(socket);
            let address = socket.local_addr()?;
            let path =
                address.as_pathname().ok_or_else(|| io::Error::other("it has no path"))?.to_owned();
            return Ok(Self { address: ListenAddress::Unix(path), socket: Idle::Unix(socket) });
        }
        let socket = StdTcpListener::from(socket);
        Ok(Self { address: ListenAddress::Tcp(socket.local_addr()?), socket: Idle::Tcp(socket) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_listens_is_taken_over() {
        let listening = StdTcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listening.local_addr().expect("its address");
        let peer = std::net::TcpStream::connect(address).expect("connected");
        let wrong = Inherited::try_from(OwnedFd::from(peer)).expect_err("a connection");
        assert!(wrong.to_string().contains("does not listen"), "{wrong}");
        let taken = Inherited::try_from(OwnedFd::from(listening)).expect("taken over");
        assert_eq!(*taken.address(), ListenAddress::Tcp(address));

        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let listening = StdUnixListener::bind(&path).expect("a socket");
        let taken = Inherited::try_from(OwnedFd::from(listening)).expect("taken over");
        assert_eq!(*taken.address(), ListenAddress::Unix(path));
    }
}
