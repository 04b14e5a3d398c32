//! A way to a server that is as long as one wants: every byte, and every end, arrives half a round
//! trip after it was sent, in order.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A running one; it accepts nobody any more when it is dropped.
#[derive(Debug)]
pub struct Delay {
    listen: SocketAddr,
    accepting: JoinHandle<()>,
}

/// Bytes, or nothing at their end, and when they arrive.
type Sent = (Instant, Bytes);

/// Pieces that may be under way at once; more wait at the sender, as in a real window.
const WINDOW: usize = 256;
const PIECE: usize = 16 * 1024;

impl Delay {
    /// Listens on a port of its own.
    ///
    /// # Errors
    /// It cannot.
    pub async fn start(server: SocketAddr, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let listen = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Err(error) = carry(client, server, round_trip / 2).await {
                        tracing::debug!(%error, "a connection has ended");
                    }
                });
            }
        });
        Ok(Self { listen, accepting })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listen
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An error on one side resets the other; an orderly end leaves what is on its way to be read.
async fn carry(mut client: TcpStream, server: SocketAddr, way: Duration) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let carried = tokio::try_join!(
        one_way(from_client, to_server, way),
        one_way(from_server, to_client, way)
    );
    if carried.is_err() {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    carried.map(drop)
}

async fn one_way(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    way: Duration,
) -> io::Result<()> {
    let (under_way, arriving) = mpsc::channel(WINDOW);
    tokio::try_join!(take(from, under_way, way), deliver(to, arriving)).map(drop)
}

async fn take(
    mut from: impl AsyncRead + Unpin,
    under_way: mpsc::Sender<Sent>,
    way: Duration,
) -> io::Result<()> {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        let is_end = from.read_buf(&mut piece).await? == 0;
        let sent = (Instant::now() + way, piece.freeze());
        if under_way.send(sent).await.is_err() || is_end {
            return Ok(());
        }
    }
}

async fn deliver(
    mut to: impl AsyncWrite + Unpin,
    mut arriving: mpsc::Receiver<Sent>,
) -> io::Result<()> {
    while let Some((due, piece)) = arriving.recv().await {
        tokio::time::sleep_until(due).await;
        if piece.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&piece).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_comes_back_a_round_trip_later_and_in_order() {
        const ROUND_TRIP: Duration = Duration::from_millis(60);
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = echo.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = echo.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let delay = Delay::start(server, ROUND_TRIP).await.unwrap();
        let mut client = TcpStream::connect(delay.address()).await.unwrap();
        let all: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
        let began = Instant::now();
        let (mut read, mut write) = client.split();
        let sending = async {
            write.write_all(&all).await?;
            write.shutdown().await
        };
        let mut back = Vec::new();
        let first = async {
            let first = read.read_u32().await?;
            let took = began.elapsed();
            read.read_to_end(&mut back).await?;
            Ok::<_, io::Error>((first, took))
        };
        let ((), (first, took)) = tokio::try_join!(sending, first).unwrap();
        assert!(took >= ROUND_TRIP, "back after {took:?}");
        assert_eq!((first, back.as_slice()), (0, &all[4..]));
    }
}
