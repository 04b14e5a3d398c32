//! One stream to an XMPP server, from nothing to a bound address.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use slackwater_core::osrf::envelope::Address;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::SERVER;
use super::login::{Account, Encryption, Failure, Login, Step};
use super::parser::{Item, Parser};
use super::site::Site;
use crate::socket::{self, Duplex};
use crate::{Endpoint, Error, names};

/// A stream that is logged in.
pub(super) struct Stream {
    pub(super) wire: Box<dyn Duplex>,
    pub(super) parser: Parser,
    /// What has come behind the login.
    pub(super) items: Vec<Item>,
    pub(super) address: Address,
    /// The largest stanza that may be sent, bytes.
    pub(super) limit: usize,
}

/// ejabberd counts whole blocks of what it reads: the beginning of what follows a stanza counts with
/// it. So much is kept free for that: some segments of TCP, or a record of TLS.
const BLOCK: usize = 2 * 1024;
const ENCRYPTED_BLOCK: usize = 18 * 1024;

/// Why there is no stream.
enum Trouble {
    Io(io::Error),
    Tls(io::Error),
    Login(Failure),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Stream {
    pub(super) async fn open(
        site: &Site,
        account: &Account,
        patience: Duration,
    ) -> Result<Self, Error> {
        let endpoint = &site.endpoint;
        let opening = async {
            let trouble = match attempt(site, account, site.encryption).await? {
                Ok(stream) => return Ok(stream),
                Err(Trouble::Tls(error)) if site.encryption == Encryption::Offered => {
                    // A stock Prosody offers what it has no certificate for.
                    if !site.warned_of_tls.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, "the TLS that the server offers does not work");
                    }
                    attempt(site, account, Encryption::Off).await?
                }
                Err(trouble) => Err(trouble),
            };
            trouble.map_err(|trouble| explained(trouble, endpoint, account))
        };
        let late = |_| Error::no_answer(SERVER, endpoint, patience);
        timeout(patience, opening).await.map_err(late)?
    }
}

/// Connects and logs in once. The outer error is that there is no connection.
async fn attempt(
    site: &Site,
    account: &Account,
    encryption: Encryption,
) -> Result<Result<Stream, Trouble>, Error> {
    let nonce = format!("{:032x}", names::random()?);
    let login = Login::new(account.clone(), encryption, nonce);
    match socket::connect_promptly(&site.endpoint).await? {
        Ok(wire) => Ok(log_in(site, wire, login).await),
        Err(error) => Err(Error::explained(SERVER, &error, &site.endpoint).await),
    }
}

fn explained(trouble: Trouble, endpoint: &Endpoint, account: &Account) -> Error {
    let (server, place) = (SERVER, endpoint.to_string());
    let reason = match trouble {
        Trouble::Login(Failure::Refused) => {
            return Error::Login { server, place, user: account.user.clone() };
        }
        Trouble::Login(Failure::Other(reason)) => reason,
        Trouble::Tls(error) => format!("TLS: {}", crate::error::in_one_line(&error)),
        Trouble::Io(error) => crate::error::in_one_line(&error),
    };
    Error::Connection { server, place, reason }
}

async fn log_in(
    site: &Site,
    mut wire: Box<dyn Duplex>,
    mut login: Login,
) -> Result<Stream, Trouble> {
    let most = inbound_limit(site);
    let (mut parser, mut items) = (Parser::new(most), Vec::new());
    let mut bytes = BytesMut::with_capacity(4 * 1024);
    let mut block = BLOCK;
    say(&mut wire, &login.header()).await?;
    loop {
        bytes.clear();
        if wire.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::other("it closes the connection").into());
        }
        parser.feed(&bytes, &mut items).map_err(io::Error::other)?;
        let mut heard = std::mem::take(&mut items).into_iter();
        while let Some(item) = heard.next() {
            match login.hear(item).map_err(Trouble::Login)? {
                Step::Wait => {}
                Step::Send(text) => say(&mut wire, &text).await?,
                Step::Done(address) => {
                    let limit = site.max_stanza_size.saturating_sub(block);
                    return Ok(Stream { wire, parser, items: heard.collect(), address, limit });
                }
                step @ (Step::Secure | Step::Restart) => {
                    if heard.next().is_some() {
                        // What was said in the clear must not be taken for what is encrypted.
                        return Err(io::Error::other("it says too much at once").into());
                    }
                    if step == Step::Secure {
                        wire = secured(site, wire).await.map_err(Trouble::Tls)?;
                        block = ENCRYPTED_BLOCK;
                    }
                    parser = Parser::new(most);
                    say(&mut wire, &login.header()).await?;
                }
            }
        }
    }
}

/// How large a stanza that comes may be: the server lets nobody send a larger one, and may escape
/// every character of it anew.
fn inbound_limit(site: &Site) -> usize {
    site.max_stanza_size.saturating_mul(6)
}

async fn say(wire: &mut Box<dyn Duplex>, text: &str) -> io::Result<()> {
    wire.write_all(text.as_bytes()).await?;
    wire.flush().await
}

async fn secured(site: &Site, wire: Box<dyn Duplex>) -> io::Result<Box<dyn Duplex>> {
    let name = ServerName::try_from(site.domain.clone()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(std::sync::Arc::clone(&site.tls));
    Ok(Box::new(connector.connect(name, wire).await?))
}
