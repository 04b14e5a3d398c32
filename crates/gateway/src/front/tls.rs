//! TLS on the sockets where clients come in: the certificate, its key, and whose clients are taken.
//!
//! Law: what is in the files is checked when they are read, so that a wrong file is an error at the
//! start and changes nothing at a reload; a connection keeps what it began with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// What TLS is spoken with.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The file of the certificate and of those that vouch for it, in PEM.
    pub certificate: PathBuf,
    /// The file of its key, in PEM.
    pub key: PathBuf,
    /// If given, only clients whose certificate one of these has signed are taken.
    pub client_authority: Option<PathBuf>,
    /// What was in the files.
    read: Vec<Vec<u8>>,
    config: Arc<ServerConfig>,
}

/// Two are the same if the same was read from the same files.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        let Self { certificate, key, client_authority, read, config: _ } = self;
        (certificate, key, client_authority, read)
            == (&other.certificate, &other.key, &other.client_authority, &other.read)
    }
}

impl Eq for Tls {}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or they do not fit together; the text names the file.
    pub fn read(
        certificate: PathBuf,
        key: PathBuf,
        client_authority: Option<PathBuf>,
    ) -> io::Result<Self> {
        let files = [Some(&certificate), Some(&key), client_authority.as_ref()];
        let read: Vec<Vec<u8>> =
            files.into_iter().flatten().map(|path| contents(path)).collect::<io::Result<_>>()?;
        let chain = certificates(&certificate, &read[0])?;
        let wrong = |path: &Path, error: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {error}", path.display()))
        };
        let private =
            PrivateKeyDer::from_pem_slice(&read[1]).map_err(|error| wrong(&key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match &client_authority {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path, &read[2])? {
                    roots.add(authority).map_err(|error| wrong(path, &error))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(
                    verifier.build().map_err(|error| wrong(path, &error))?,
                )
            }
        };
        let mut config = builder
            .with_single_cert(chain, private)
            .map_err(|error| wrong(&certificate, &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { certificate, key, client_authority, read, config: Arc::new(config) })
    }

    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        Arc::clone(&self.config).into()
    }
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn certificates(path: &Path, text: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(io::Error::other(format!("{}: no certificate in it", path.display()))),
        Err(error) => Err(io::Error::other(format!("{}: {error}", path.display()))),
    }
}
