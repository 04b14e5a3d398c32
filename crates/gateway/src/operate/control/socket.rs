//! The control socket's file: only its owner can use it, it never replaces a live gateway's, and
//! it is gone when we are.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use crate::config::Surroundings;
use crate::front::ListenAddress;

/// A bound control socket. Dropping it removes the file, if it still is ours.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the file may have been replaced by another gateway's since.
    identity: (u64, u64),
}

/// Why there is no control socket; for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A gateway answers there.
    #[error("{}: another gateway listens here; give this one its own --control", .0.display())]
    Live(PathBuf),
    /// A file that is no socket is in the way.
    #[error("{}: is not a socket, and stays as it is; give --control another path", .0.display())]
    NotASocket(PathBuf),
    /// The default directory could be somebody else's trap.
    #[error("{}: belongs to another user, or others may write to it; give --control a path", .0.display())]
    NotOurs(PathBuf),
    /// The operating system refused.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The socket, or its directory.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

impl ControlSocket {
    /// Binds the control socket at the path that the operator chose, or else at the default path
    /// of a gateway that listens at `listening`. To be called in a tokio runtime, when the
    /// listeners are bound: a busy port should be reported as such.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(
        chosen: Option<&Path>,
        surroundings: &Surroundings,
        listening: &[ListenAddress],
    ) -> Result<Self, SocketError> {
        let path = match chosen {
            Some(path) => path.to_owned(),
            None => {
                let path = surroundings.control_path(listening);
                if let Some(directory) = path.parent() {
                    make_private(directory, surroundings.user)?;
                }
                path
            }
        };
        clear(&path)?;
        let refused = |reason| SocketError::Io { path: path.clone(), reason };
        let (listener, identity) = listen(&path).map_err(refused)?;
        Ok(Self { listener, path, identity })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let still_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| identity(&found) == self.identity);
        if still_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "control socket not removed");
        }
    }
}

/// Between bind and listen nobody can connect, so that the mode is right before the first one.
fn listen(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let identity = identity(&std::fs::symlink_metadata(path)?);
    socket.listen(BACKLOG)?;
    let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?;
    Ok((listener, identity))
}

/// Removes what a gateway left behind that could not clean up.
fn clear(path: &Path) -> Result<(), SocketError> {
    let refused = |reason| SocketError::Io { path: path.to_owned(), reason };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
    }
    if is_live(path).map_err(refused)? {
        return Err(SocketError::Live(path.to_owned()));
    }
    std::fs::remove_file(path).map_err(refused)
}

/// Whether somebody listens at a unix socket. Asked without blocking: a gateway whose queue is
/// full lives as well.
pub(crate) fn is_live(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the directory if it is not there, and sees that nobody else can put files into it.
fn make_private(directory: &Path, user: u32) -> Result<(), SocketError> {
    let refused = |reason| SocketError::Io { path: directory.to_owned(), reason };
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(refused(error)),
    }
    if is_private(directory, user).map_err(refused)? {
        return Ok(());
    }
    Err(SocketError::NotOurs(directory.to_owned()))
}

/// Whether this is a directory, no link to one, that belongs to the user and is written by no one
/// else.
pub(crate) fn is_private(directory: &Path, user: u32) -> io::Result<bool> {
    let found = std::fs::symlink_metadata(directory)?;
    Ok(found.is_dir() && found.uid() == user && found.mode() & 0o022 == 0)
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use super::*;

    fn bind(path: &Path) -> Result<ControlSocket, SocketError> {
        ControlSocket::bind(Some(path), &Surroundings::default(), &[])
    }

    #[tokio::test]
    async fn only_the_owner_can_connect_and_the_file_goes_with_us() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let socket = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(is_live(&path).unwrap());
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists() && !is_live(&path).unwrap());
        let socket = bind(&path).unwrap();
        assert!(is_live(socket.path()).unwrap());
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let first = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(&error, SocketError::Live(_)), "{error}");
        assert!(is_live(first.path()).unwrap());
    }

    #[tokio::test]
    async fn a_live_socket_with_a_full_queue_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let first = bind(&path).unwrap();
        let waiting: Vec<_> = (0..100)
            .map_while(|_| {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket.connect(&SockAddr::unix(&path).unwrap()).ok().map(|()| socket)
            })
            .collect();
        assert!(waiting.len() < 100, "the queue never filled");
        assert!(matches!(bind(first.path()), Err(SocketError::Live(_))));
    }

    #[tokio::test]
    async fn another_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_socket_of_a_successor_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let ours = bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let successor = bind(&path).unwrap();
        drop(ours);
        assert!(is_live(successor.path()).unwrap());
    }

    #[tokio::test]
    async fn the_default_directory_is_made_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let surroundings = Surroundings {
            xdg_runtime_dir: Some(directory.path().into()),
            ..Surroundings::of_process(&[])
        };
        let surroundings = Surroundings { runtime_directory: None, ..surroundings };
        let listening = ["127.0.0.1:4711".parse().unwrap()];
        let socket = ControlSocket::bind(None, &surroundings, &listening).unwrap();
        assert_eq!(socket.path(), directory.path().join("slackwater/4711.sock"));
        let made = std::fs::metadata(directory.path().join("slackwater")).unwrap();
        assert_eq!(made.mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_default_directory_that_others_can_write_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let trap = directory.path().join("slackwater");
        std::fs::create_dir(&trap).unwrap();
        std::fs::set_permissions(&trap, Permissions::from_mode(0o777)).unwrap();
        let surroundings = Surroundings {
            runtime_directory: None,
            xdg_runtime_dir: Some(directory.path().into()),
            ..Surroundings::of_process(&[])
        };
        let bound = ControlSocket::bind(None, &surroundings, &[]);
        assert!(matches!(bound, Err(SocketError::NotOurs(_))));
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = bind(&directory.path().join("x".repeat(120))).unwrap_err();
        assert!(matches!(error, SocketError::Io { .. }), "{error}");
    }
}
