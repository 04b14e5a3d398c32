//! Where a bus's server is, and the byte stream to it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Error;
use crate::prompt::Prompt;
use crate::quiet::Quiet;

/// Where a bus's server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// By TCP.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// Port; that of the other domains too.
        port: u16,
    },
    /// By TCP and TLS, with the host's name in its certificate.
    Tls {
        /// Host name or IP address.
        host: String,
        /// Port; that of the other domains too.
        port: u16,
        /// A PEM file of the certificates to trust; without it, those that the system trusts.
        authorities: Option<PathBuf>,
    },
    /// By a unix socket. All domains are taken to be served there.
    Unix {
        /// The socket.
        path: PathBuf,
    },
}

impl Endpoint {
    /// The same for another domain, whose name is that of its host.
    pub(crate) fn of_domain(&self, domain: &str) -> Self {
        let host = domain.to_owned();
        match self {
            Self::Tcp { port, .. } => Self::Tcp { host, port: *port },
            Self::Tls { port, authorities, .. } => {
                Self::Tls { host, port: *port, authorities: authorities.clone() }
            }
            Self::Unix { .. } => self.clone(),
        }
    }

    pub(crate) fn host(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => Some((host, *port)),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Tls { host, port, .. } => write!(formatter, "{host}:{port} (TLS)"),
            Self::Unix { path } => write!(formatter, "{}", path.display()),
        }
    }
}

/// A stream of any kind.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {
    /// From now on the reader need not be woken before so many bytes are there, or the end. The
    /// streams that cannot do so wake it for each.
    fn wake_at(&mut self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    /// The next read finds what is there though nobody was woken for it.
    fn look(&mut self) {}
}

impl Duplex for Prompt {}

impl Duplex for UnixStream {}

#[cfg(test)]
impl Duplex for tokio::io::DuplexStream {}

impl Duplex for Box<dyn Duplex> {
    fn wake_at(&mut self, bytes: usize) -> io::Result<()> {
        (**self).wake_at(bytes)
    }

    fn look(&mut self) {
        (**self).look();
    }
}

impl<S: Duplex> Duplex for TlsStream<S> {
    fn wake_at(&mut self, bytes: usize) -> io::Result<()> {
        self.get_mut().0.wake_at(bytes)
    }

    fn look(&mut self) {
        self.get_mut().0.look();
    }
}

/// A peer that is gone without a word is noticed after this and some more.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Connects. The outer error is an operator's to mend.
pub(crate) async fn connect(endpoint: &Endpoint) -> Result<io::Result<Box<dyn Duplex>>, Error> {
    connect_by(endpoint, Quiet::new).await
}

/// The same to a server that may gather what is small.
pub(crate) async fn connect_promptly(
    endpoint: &Endpoint,
) -> Result<io::Result<Box<dyn Duplex>>, Error> {
    connect_by(endpoint, Prompt).await
}

async fn connect_by<S: Duplex + 'static>(
    endpoint: &Endpoint,
    by: fn(TcpStream) -> S,
) -> Result<io::Result<Box<dyn Duplex>>, Error> {
    Ok(match endpoint {
        Endpoint::Tcp { host, port } => tcp(host, *port).await.map(|tcp| Box::new(by(tcp)) as _),
        Endpoint::Unix { path } => UnixStream::connect(path).await.map(|s| Box::new(s) as _),
        Endpoint::Tls { host, port, authorities } => {
            let connector = TlsConnector::from(Arc::new(tls_client(authorities.as_deref())?));
            let opening = async { secured(&connector, host, by(tcp(host, *port).await?)).await };
            opening.await.map(|stream| Box::new(stream) as _)
        }
    })
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(stream)
}

async fn secured<S: Duplex>(
    connector: &TlsConnector,
    host: &str,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    connector.connect(name, stream).await
}

/// How to be a client over TLS: trusting the certificates in a PEM file, or without one those that
/// the system trusts.
///
/// # Errors
/// The file cannot be read, or there is no certificate in it.
pub fn tls_client(authorities: Option<&Path>) -> Result<ClientConfig, Error> {
    let mut trusted = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let unusable = |source| Error::Certificates { path: path.to_owned(), source };
            let pem = std::fs::read(path).map_err(unusable)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.map(|certificate| trusted.add(certificate));
                let reason = match added {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                return Err(unusable(io::Error::other(reason)));
            }
            if trusted.is_empty() {
                return Err(unusable(io::Error::other("there is no certificate in it")));
            }
        }
        None => {
            // One that cannot be read is one fewer; with none, no server is trusted.
            let found = rustls_native_certs::load_native_certs();
            trusted.add_parsable_certificates(found.certs);
        }
    }
    let versions =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| Error::Certificates {
        path: authorities.map(Path::to_owned).unwrap_or_default(),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(config.with_root_certificates(trusted).with_no_client_auth())
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
