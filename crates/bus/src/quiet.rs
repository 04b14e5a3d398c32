//! A TCP stream that can be told not to wake its reader for little.
//!
//! Law: nothing is lost by it, only late. Less than the mark (`SO_RCVLOWAT`, socket(7)) is read by
//! whoever looks for it; the mark's worth, an error and the end wake the reader as ever.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::SetSockOpt as _;
use nix::{libc, setsockopt_impl, sockopt_impl};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::socket::Duplex;

sockopt_impl!(
    /// How many bytes have to be there.
    LowWater, SetOnly, libc::SOL_SOCKET, libc::SO_RCVLOWAT, usize
);

/// The stream.
#[derive(Debug)]
pub(crate) struct Quiet {
    tcp: TcpStream,
    /// It is to look for what nobody was woken for.
    looks: bool,
}

impl Quiet {
    pub(crate) const fn new(tcp: TcpStream) -> Self {
        Self { tcp, looks: false }
    }
}

impl Duplex for Quiet {
    fn wake_at(&mut self, bytes: usize) -> io::Result<()> {
        Ok(LowWater.set(&self.tcp, &bytes)?)
    }

    fn look(&mut self) {
        self.looks = true;
    }
}

impl AsyncRead for Quiet {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.tcp).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        if !std::mem::take(&mut self.looks) {
            return Poll::Pending;
        }
        match (&*SockRef::from(&self.tcp)).read(buffer.initialize_unfilled()) {
            Ok(length) => {
                buffer.advance(length);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Quiet {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::{sleep, timeout};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A quiet stream and its far end.
    async fn pair() -> io::Result<(Quiet, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (near, far) =
            tokio::try_join!(TcpStream::connect(listener.local_addr()?), listener.accept())?;
        Ok((Quiet::new(near), far.0))
    }

    async fn read(quiet: &mut Quiet) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        let length = timeout(SOON, quiet.read(&mut bytes)).await.expect("in time").expect("read");
        bytes.truncate(length);
        bytes
    }

    #[tokio::test]
    async fn little_wakes_nobody_and_is_found_by_whoever_looks() {
        let (mut quiet, mut far) = pair().await.expect("a pair");
        quiet.wake_at(8).expect("set");
        let wakes = Arc::new(Wakes::default());
        let (waker, mut bytes) = (Waker::from(Arc::clone(&wakes)), [0; 64]);
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut quiet).poll_read(&mut context, &mut buffer).is_pending());
        far.write_all(b"little").await.expect("written");
        sleep(Duration::from_millis(50)).await;
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        quiet.look();
        assert_eq!(read(&mut quiet).await, b"little");
    }

    #[tokio::test]
    async fn much_wakes_and_so_does_the_end_and_a_lower_mark() {
        let (mut quiet, mut far) = pair().await.expect("a pair");
        quiet.wake_at(8).expect("set");
        far.write_all(b"a little").await.expect("written");
        assert_eq!(read(&mut quiet).await, b"a little");
        far.write_all(b"less").await.expect("written");
        quiet.wake_at(1).expect("set");
        assert_eq!(read(&mut quiet).await, b"less");
        quiet.wake_at(8).expect("set");
        far.write_all(b"last").await.expect("written");
        drop(far);
        assert_eq!(read(&mut quiet).await, b"last");
        assert_eq!(read(&mut quiet).await, b"");
    }
}
