//! A listening socket: bound, shut so that the kernel refuses, opened again.
//!
//! Law: the descriptor of a TCP socket is kept from its first bind to the end of the process, since
//! the privilege to bind may be gone; and what we did not bind ourselves is never shut.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep};

use super::access::Access;
use super::address::ClientAddress;
use super::inherited::Inherited;
use super::stream::Stream;

/// `ADDR:PORT` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// IPv4 or IPv6. Port 0: the kernel chooses.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Why a text is no [`ListenAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// It is neither of the two.
    #[error("expected ADDRESS:PORT such as 127.0.0.1:7682 or [::1]:7682, or unix:/path")]
    Neither,
    /// The path of a unix socket must be absolute.
    #[error("expected an absolute path behind unix:, as in unix:/run/slackwater.sock")]
    Path,
}

impl FromStr for ListenAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(NotAnAddress::Path),
            None => text.parse().map(Self::Tcp).map_err(|_| NotAnAddress::Neither),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The operator asked for an address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(.source))]
pub struct ListenError {
    /// What was asked for.
    pub address: ListenAddress,
    /// Why not.
    pub source: io::Error,
}

/// What a listener does when the front refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is shut: the kernel refuses connects.
    Shut,
    /// It goes on accepting, and answers 503.
    Answer,
}

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    address: ListenAddress,
    refusal: Refusal,
    /// Of a unix socket's file, whenever it is made.
    access: Access,
    inherited: bool,
    socket: Listening,
    /// When an accept error was logged last.
    complained: Option<Instant>,
    /// Removes the file of a unix socket that we bound.
    file: Option<SocketFile>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
    /// Not known to the runtime: tokio never forgets that a socket was shut.
    Idle(Option<Idle>),
}

/// A socket apart from the runtime.
#[derive(Debug)]
pub(super) enum Idle {
    Tcp(StdTcpListener),
    Unix(StdUnixListener),
}

/// Connections that wait in the kernel to be accepted; it may allow fewer (net.core.somaxconn).
const BACKLOG: i32 = 4096;

/// The pause after an accept that failed for want of something: descriptors, memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Emptying the queue before the socket is shut takes no longer, whoever keeps filling it.
const EMPTYING: Duration = Duration::from_secs(2);

impl Listener {
    /// Binds and listens. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is taken, not of this host, or not permitted; a unix socket at that path has a
    /// server behind it. One that has none is replaced. Its file cannot be made `access`.
    pub fn bind(
        address: ListenAddress,
        refusal: Refusal,
        access: &Access,
    ) -> Result<Self, ListenError> {
        match listen(&address, access) {
            Ok((socket, address, file)) => Ok(Self {
                address,
                refusal,
                access: access.clone(),
                inherited: false,
                socket,
                complained: None,
                file,
            }),
            Err(source) => Err(ListenError { address, source }),
        }
    }

    /// Listens on a socket on which somebody else listens as well, such as the service manager.
    /// It will never be shut. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The runtime does not take it.
    pub fn inherited(Inherited { address, socket }: Inherited) -> io::Result<Self> {
        let socket = match socket {
            Idle::Tcp(socket) => Listening::Tcp(TcpListener::from_std(socket)?),
            Idle::Unix(socket) => Listening::Unix(UnixListener::from_std(socket)?),
        };
        Ok(Self {
            address,
            refusal: Refusal::Answer,
            access: Access::default(),
            inherited: true,
            socket,
            complained: None,
            file: None,
        })
    }

    /// Where it listens, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    pub(super) fn is_inherited(&self) -> bool {
        self.inherited
    }

    pub(super) fn may_be_shut(&self) -> bool {
        !self.inherited && self.refusal == Refusal::Shut
    }

    /// The next connection. Cancel-safe. Waits for ever while the socket is shut or left.
    pub(super) async fn accept(&mut self) -> (Stream, ClientAddress) {
        loop {
            let accepted = match &self.socket {
                Listening::Tcp(socket) => socket.accept().await.map(from_tcp),
                Listening::Unix(socket) => {
                    socket.accept().await.map(|(stream, _)| from_unix(stream))
                }
                Listening::Idle(_) => std::future::pending().await,
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    self.complain(&error);
                    sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    /// Empties the queue, giving each connection to `each`, and shuts the socket.
    pub(super) async fn shut(&mut self, mut each: impl FnMut(Stream)) -> io::Result<()> {
        let Some(idle) = self.make_idle()? else { return Ok(()) };
        let deadline = Instant::now() + EMPTYING;
        let mut accepted = 0_u32;
        loop {
            match accept_now(&idle) {
                Ok(Some(stream)) => each(stream),
                Ok(None) => break,
                Err(error) if concerns_one_connection(&error) => {}
                // Those that are being answered will give their descriptors back.
                Err(_) => sleep(EXHAUSTED_PAUSE).await,
            }
            accepted += 1;
            if accepted.is_multiple_of(64) {
                tokio::task::yield_now().await;
            }
            if Instant::now() > deadline {
                break;
            }
        }
        // Nothing is awaited between finding the queue empty and this.
        SockRef::from(&idle).shutdown(std::net::Shutdown::Read)?;
        self.socket = Listening::Idle(match idle {
            Idle::Tcp(_) => Some(idle),
            // A unix socket that was shut cannot listen again.
            Idle::Unix(_) => None,
        });
        Ok(())
    }

    /// Stops accepting; the queue is left to whoever else listens on this socket.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        if let Some(idle) = self.make_idle()? {
            self.socket = Listening::Idle(Some(idle));
        }
        Ok(())
    }

    /// Listens again. Does nothing if it never stopped.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let Listening::Idle(idle) = &mut self.socket else { return Ok(()) };
        self.socket = match idle.take() {
            Some(idle) => {
                let listening =
                    if self.inherited { Ok(()) } else { SockRef::from(&idle).listen(BACKLOG) };
                match (listening, idle) {
                    (Ok(()), Idle::Tcp(socket)) => Listening::Tcp(TcpListener::from_std(socket)?),
                    (Ok(()), Idle::Unix(socket)) => {
                        Listening::Unix(UnixListener::from_std(socket)?)
                    }
                    (Err(error), idle) => {
                        self.socket = Listening::Idle(Some(idle));
                        return Err(error);
                    }
                }
            }
            None => {
                // The old file goes first: the new one may get its inode.
                self.file = None;
                let (socket, _, file) = listen(&self.address, &self.access)?;
                self.file = file;
                socket
            }
        };
        Ok(())
    }

    /// Takes the socket away from the runtime; `None` if it is not there.
    fn make_idle(&mut self) -> io::Result<Option<Idle>> {
        match std::mem::replace(&mut self.socket, Listening::Idle(None)) {
            Listening::Tcp(socket) => Ok(Some(Idle::Tcp(socket.into_std()?))),
            Listening::Unix(socket) => Ok(Some(Idle::Unix(socket.into_std()?))),
            idle @ Listening::Idle(_) => {
                self.socket = idle;
                Ok(None)
            }
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::error!(address = %self.address, %error, "cannot accept; trying on");
        }
    }
}

impl AsFd for Idle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

fn accept_now(idle: &Idle) -> io::Result<Option<Stream>> {
    let accepted = match idle {
        Idle::Tcp(socket) => socket.accept().and_then(|(stream, _)| {
            stream.set_nonblocking(true)?;
            Ok(Stream::Tcp(TcpStream::from_std(stream)?))
        }),
        Idle::Unix(socket) => socket.accept().and_then(|(stream, _)| {
            stream.set_nonblocking(true)?;
            Ok(Stream::Unix(UnixStream::from_std(stream)?))
        }),
    };
    match accepted {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn from_tcp((stream, peer): (TcpStream, SocketAddr)) -> (Stream, ClientAddress) {
    // An answer is written whole; waiting to fill a segment would only delay its end. No TCP
    // keepalive: pings find a dead peer sooner.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    (Stream::Tcp(stream), ClientAddress::of_peer(peer))
}

fn from_unix(stream: UnixStream) -> (Stream, ClientAddress) {
    (Stream::Unix(stream), ClientAddress::Unix)
}

/// Errors of the connection that was to be accepted, not of the socket that listens (accept(2)).
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
        NetworkDown, NetworkUnreachable,
    };
    let kinds = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        HostUnreachable,
        Interrupted,
        NetworkDown,
        NetworkUnreachable,
    ];
    kinds.contains(&error.kind())
}

fn listen(
    address: &ListenAddress,
    access: &Access,
) -> io::Result<(Listening, ListenAddress, Option<SocketFile>)> {
    match address {
        ListenAddress::Tcp(address) => {
            let socket = listen_tcp(*address)?;
            let address = ListenAddress::Tcp(socket.local_addr()?);
            Ok((Listening::Tcp(TcpListener::from_std(socket)?), address, None))
        }
        ListenAddress::Unix(path) => {
            let (socket, file) = listen_unix(path, access)?;
            Ok((Listening::Unix(UnixListener::from_std(socket)?), address.clone(), Some(file)))
        }
    }
}

fn listen_tcp(address: SocketAddr) -> io::Result<StdTcpListener> {
    let bind = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        Ok::<_, io::Error>(socket)
    };
    let mut socket = bind(address)?;
    if address.port() == 0 {
        // The kernel takes a port that it chose back when the socket is shut, so that it could not
        // be reopened. Bound by name, it stays. Nobody can come between: two sockets that do not
        // listen may share an address, and the first holds it until the second has it.
        let chosen = socket.local_addr()?.as_socket().map_or(0, |chosen| chosen.port());
        socket = bind(SocketAddr::new(address.ip(), chosen))?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn listen_unix(path: &Path, access: &Access) -> io::Result<(StdUnixListener, SocketFile)> {
    match StdUnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // Only what is a socket is replaced: connecting to another file is refused as well.
            if std::fs::symlink_metadata(path)?.file_type().is_socket() {
                std::fs::remove_file(path)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    let file = SocketFile::new(path)?;
    // Before anybody can connect.
    access.apply(path)?;
    socket.listen(BACKLOG)?;
    Ok((socket.into(), file))
}

/// The file of a unix socket. Dropped, it is removed, unless another has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|file| file.dev() == self.device && file.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the socket's file stays behind");
        }
    }
}

fn reason(error: &io::Error) -> String {
    let words = [
        (io::ErrorKind::AddrInUse, "address already in use"),
        (io::ErrorKind::AddrNotAvailable, "not an address of this host"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
    ];
    let known = words.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tcp_or_unix() {
        for text in ["127.0.0.1:7682", "[::1]:0", "unix:/run/a b.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "7682", ":7682", "localhost:7682", "127.0.0.1:65536"] {
            assert_eq!(text.parse::<ListenAddress>(), Err(NotAnAddress::Neither), "{text}");
        }
        for text in ["unix:", "unix:here", "unix:/a\0b"] {
            assert_eq!(text.parse::<ListenAddress>(), Err(NotAnAddress::Path), "{text}");
        }
    }
}
