//! Certificates that nobody but a test trusts.

use std::io;

use base64::Engine as _;
use tokio_rustls::rustls::pki_types::CertificateDer;

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
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
