//! The byte stream under a connection: one type for every kind of socket that a client can be on.
//!
//! Law: what only a socket can tell or do (what the peer has not taken yet, a reset instead of an
//! orderly end) is asked here, so that nothing above knows which kind it has.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::ioctl::{Getter, Opcode, ioctl};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A connected stream socket.
#[derive(Debug)]
pub enum Stream {
    /// Over IPv4 or IPv6.
    Tcp(TcpStream),
    /// Through a socket in the file system.
    Unix(UnixStream),
    /// Over TLS on one of these.
    Tls(Box<TlsStream<Self>>),
}

impl Stream {
    /// What was written and not yet taken by the peer, in bytes (SIOCOUTQ, tcp(7), unix(7)).
    ///
    /// For TCP: not acknowledged by the peer's kernel. For a unix socket: not read by the peer, in
    /// kernel memory, which is somewhat more than was written. 0 when the socket cannot tell.
    #[must_use]
    pub fn unsent(&self) -> usize {
        let queued = send_queue(self.socket()).unwrap_or(0);
        usize::try_from(queued).unwrap_or(0)
    }

    /// Drops the connection with a reset: what is unsent is thrown away, the peer is told.
    ///
    /// A unix socket has no reset; it is closed.
    pub fn abort(self) {
        match self {
            Self::Tcp(socket) => {
                if let Err(error) = socket.set_zero_linger() {
                    tracing::debug!(%error, "an aborted connection ends without a reset");
                }
            }
            Self::Unix(socket) => drop(socket),
            Self::Tls(tls) => tls.into_inner().0.abort(),
        }
    }

    /// The socket under it.
    fn socket(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.get_ref().0.socket(),
        }
    }
}

const SIOCOUTQ: Opcode = 0x5411;

#[expect(
    unsafe_code,
    reason = "no crate asks for SIOCOUTQ, and a slow reader is known by nothing else"
)]
fn send_queue(socket: BorrowedFd<'_>) -> rustix::io::Result<i32> {
    // SAFETY: SIOCOUTQ writes one int and reads nothing, on any descriptor that knows it.
    unsafe { ioctl(socket, Getter::<SIOCOUTQ, i32>::new()) }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(context),
            Self::Unix(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn unsent_is_what_the_peer_has_not_taken() {
        let (mut ours, mut peer) = tcp_pair().await;
        assert_eq!(ours.unsent(), 0);
        let megabytes = vec![b'x'; 32 << 20];
        let written = ours.write(&megabytes).await.unwrap();
        // More than a socket's buffers hold: some of it is still on our side.
        let mut total = written;
        while let Ok(Ok(more)) = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            ours.write(&megabytes[..1 << 20]),
        )
        .await
        {
            total += more;
        }
        assert!(ours.unsent() > 0 && ours.unsent() <= total);
        let mut taken = vec![0; total];
        peer.read_exact(&mut taken).await.unwrap();
        until(|| ours.unsent() == 0).await;
    }

    #[tokio::test]
    async fn unsent_on_a_unix_socket_falls_to_zero_when_read() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let mut ours = Stream::Unix(ours);
        ours.write_all(b"hello").await.unwrap();
        assert!(ours.unsent() >= 5);
        peer.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(ours.unsent(), 0);
    }

    #[tokio::test]
    async fn an_abort_is_a_reset() {
        let (ours, mut peer) = tcp_pair().await;
        ours.abort();
        let error = peer.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    async fn tcp_pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        (Stream::Tcp(ours), peer)
    }

    /// Waits for what the kernel does in its own time; fails after ten seconds.
    async fn until(condition: impl Fn() -> bool) {
        for _ in 0..1000 {
            if condition() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("did not come true in ten seconds");
    }
}
