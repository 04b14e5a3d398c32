//! A plain stream to an XMPP server, for those who are not the gateway: in the clear, one account,
//! one resource.

use std::collections::VecDeque;
use std::io;

use slackwater_bus::xmpp::Encryption;
use slackwater_bus::xmpp::login::{self, Failure, Login, Step};
use slackwater_bus::xmpp::parser::{Item, Parser, STREAMS};
use slackwater_bus::xmpp::stanza::{self, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bus::account::Account;

/// The largest stanza that is read, bytes.
const LARGEST: usize = 16 << 20;

/// A stream that is logged in.
#[derive(Debug)]
pub struct Stream {
    wire: TcpStream,
    parser: Parser,
    items: VecDeque<Item>,
    bytes: Vec<u8>,
    /// Its own address.
    pub address: String,
}

impl Stream {
    /// Logs in.
    ///
    /// # Errors
    /// The server is not there, or refuses.
    pub async fn open(account: &Account, resource: &str) -> io::Result<Self> {
        let mut wire = TcpStream::connect((account.host.as_str(), account.port)).await?;
        wire.set_nodelay(true)?;
        let who = login::Account {
            user: account.user.clone(),
            password: account.password.clone(),
            domain: account.domain.clone(),
            resource: resource.to_owned(),
        };
        let nonce = format!("{:016x}", getrandom::u64().map_err(io::Error::other)?);
        let mut login = Login::new(who, Encryption::Off, nonce);
        let mut header = login.header();
        loop {
            wire.write_all(header.as_bytes()).await?;
            let mut stream = Self {
                wire,
                parser: Parser::new(LARGEST),
                items: VecDeque::new(),
                bytes: vec![0; 64 * 1024],
                address: String::new(),
            };
            header = loop {
                let item = stream.item().await?;
                match login.hear(item) {
                    Ok(Step::Wait) => {}
                    Ok(Step::Send(text)) => stream.send(&text).await?,
                    Ok(Step::Done(address)) => {
                        stream.address = address;
                        return Ok(stream);
                    }
                    Ok(Step::Restart | Step::Secure) => break login.header(),
                    Err(Failure::Refused) => return Err(io::Error::other("login refused")),
                    Err(Failure::Other(why)) => return Err(io::Error::other(why)),
                }
            };
            wire = stream.wire;
        }
    }

    /// The next message. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn next(&mut self) -> io::Result<Message> {
        loop {
            match self.item().await? {
                Item::Stanza(stanza) if stanza.is("error", STREAMS) => {
                    return Err(io::Error::other("the server ends the stream"));
                }
                Item::Stanza(stanza) => {
                    if let Some(message) = stanza::read(stanza) {
                        return Ok(message);
                    }
                }
                Item::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                Item::Opened(_) | Item::TooLarge(_) => {}
            }
        }
    }

    /// Sends a stanza.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn send(&mut self, stanza: &str) -> io::Result<()> {
        self.wire.write_all(stanza.as_bytes()).await
    }

    async fn item(&mut self) -> io::Result<Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(item);
            }
            let length = self.wire.read(&mut self.bytes).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut items = Vec::new();
            let fed = self.parser.feed(&self.bytes[..length], &mut items);
            self.items.extend(items);
            fed.map_err(io::Error::other)?;
        }
    }
}
