//! Which bus is at an address that does not say. Neither server speaks first; to the beginning of
//! an XML stream each answers in its own way.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::{Endpoint, Error, socket, xmpp};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const SERVER: &str = "Redis or an XMPP server";

/// A kind of bus that has a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// OpenSRF 4's.
    Redis,
    /// OpenSRF 3's.
    Xmpp,
}

/// Asks what is there, in a connection of its own.
///
/// # Errors
/// Nothing is there, or says so in time.
pub async fn probe(endpoint: &Endpoint) -> Result<Found, Error> {
    let asking = async {
        let mut wire = match socket::connect(endpoint).await? {
            Ok(wire) => wire,
            Err(error) => return Err(Error::explained(SERVER, &error, endpoint).await),
        };
        let asked = async {
            // To Redis it is a command that it does not know.
            wire.write_all(format!("{}\r\n", xmpp::login::header("")).as_bytes()).await?;
            wire.flush().await?;
            wire.read_u8().await
        };
        match asked.await {
            Ok(b'<') => Ok(Found::Xmpp),
            Ok(b'-') => Ok(Found::Redis),
            Ok(_) => Err(unknown(endpoint, &io::Error::other("it speaks otherwise"))),
            Err(error) => Err(unknown(endpoint, &error)),
        }
    };
    let late = |_| Error::no_answer(SERVER, endpoint, PATIENCE);
    timeout(PATIENCE, asking).await.map_err(late)?
}

fn unknown(endpoint: &Endpoint, error: &io::Error) -> Error {
    let reason = crate::error::in_one_line(error);
    Error::Connection { server: SERVER, place: endpoint.to_string(), reason }
}
