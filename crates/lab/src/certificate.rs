//! Certificates that nobody but a test trusts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::raw::{RawClient, handshake};

/// A certificate that has signed itself, and its key, as PEM.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// What to trust.
    pub certificate: String,
    /// What to keep.
    pub key: String,
}

impl Certificate {
    /// One for these names.
    ///
    /// # Errors
    /// A name cannot stand in one.
    pub fn of(names: &[&str]) -> io::Result<Self> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        Ok(Self {
            der: made.cert.der().clone(),
            certificate: pem("CERTIFICATE", made.cert.der()),
            key: pem("PRIVATE KEY", &made.signing_key.serialize_der()),
        })
    }

    /// A WebSocket client that trusts it, for the server `localhost` at this address. Its handshake
    /// is sent and not yet answered.
    ///
    /// # Errors
    /// No connection, or no TLS.
    pub async fn connect(&self, server: SocketAddr) -> io::Result<RawClient<TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let mut client = RawClient::on(stream);
        client.send_bytes(handshake("/", "").as_bytes()).await?;
        Ok(client)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
