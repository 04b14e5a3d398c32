//! A way to a redis-server that can be cut: all its connections are reset at one moment, as by a
//! firewall that has lost its state.

use std::io;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::redis::server::{DOMAIN, OTHER_DOMAIN};

/// A running one; it ends when it is dropped.
#[derive(Debug)]
pub struct Cutter {
    port: u16,
    cuts: watch::Sender<u64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Cutter {
    /// Listens in both domains, on a port of its own, for connections to the server's port.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(server: u16) -> io::Result<Self> {
        let first = TcpListener::bind((DOMAIN, 0)).await?;
        let port = first.local_addr()?.port();
        let second = TcpListener::bind((OTHER_DOMAIN, port)).await?;
        let (cuts, _) = watch::channel(0);
        let tasks = [(first, DOMAIN), (second, OTHER_DOMAIN)].map(|(listener, domain)| {
            let cut = cuts.subscribe();
            tokio::spawn(accept(listener, (domain, server), cut))
        });
        Ok(Self { port, cuts, tasks: tasks.into() })
    }

    /// The port that leads to the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resets every connection that there is. New ones are let through.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, server: (&'static str, u16), cut: watch::Receiver<u64>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cut = cut.clone();
        cut.mark_unchanged();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            if let Err(error) = carry(client, server, cut).await {
                tracing::debug!(%error, "a connection has ended");
            }
        });
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    mut cut: watch::Receiver<u64>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::select! {
        done = copy_bidirectional(&mut client, &mut server) => done.map(drop),
        _ = cut.changed() => {
            // To be dropped without lingering is to be reset.
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
    }
}
