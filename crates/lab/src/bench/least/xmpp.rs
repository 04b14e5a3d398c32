//! OpenSRF's stanzas in as few words as they take, on a blocking socket: log in by PLAIN, bind, send
//! and take messages, which are found by their marks and not parsed.
//!
//! Law: no more work than the bytes demand, as in [`resp`](super::resp).

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::text::{XID, between};
use crate::bus::Account;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stanza {
    /// Who has asked.
    pub(super) from: String,
    pub(super) thread: String,
    pub(super) body: String,
}

/// The text of a message. `asker`: who a router passes it on for.
pub(super) fn message(to: &str, asker: &str, thread: &str, body: &str) -> String {
    let body = body.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        r#"<message to="{to}"><opensrf router_from="{asker}" router_to="" router_class="" router_command="" osrf_xid="{XID}"/><thread>{thread}</thread><body>{body}</body></message>"#
    )
}

/// The first message in `bytes` and its length; `None` if it is not all there.
pub(super) fn read(bytes: &[u8]) -> Option<(Stanza, usize)> {
    const END: &[u8] = b"</message>";
    let length = memmem(bytes, END)? + END.len();
    let text = String::from_utf8_lossy(&bytes[..length]);
    let attribute = |name: &str| {
        let either = |quote: &str| between(&text, &format!(" {name}={quote}"), quote);
        either("'").or_else(|| either("\"")).unwrap_or_default()
    };
    let asker = attribute("router_from");
    let from = if asker.is_empty() { attribute("from") } else { asker };
    let inside = |name: &str| between(&text, &format!("<{name}>"), "</").unwrap_or_default();
    let body = inside("body").replace("&quot;", "\"").replace("&apos;", "'");
    let body = body.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let stanza = Stanza { from: from.to_owned(), thread: inside("thread").to_owned(), body };
    Some((stanza, length))
}

fn memmem(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|some| some == wanted)
}

/// A stream that is logged in.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

impl Wire {
    /// Logs in, no two at a time: ejabberd lets five connections wait to be accepted, and whoever
    /// is the next is heard after seconds or not at all.
    pub(super) fn connect(account: &Account, resource: &str) -> io::Result<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = TcpStream::connect((account.host.as_str(), account.port))?;
        stream.set_nodelay(true)?;
        let mut wire = Self { stream, unread: Vec::new(), unsent: Vec::new() };
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>",
            account.domain
        );
        wire.ask(&header, "</stream:features>")?;
        let proof = STANDARD.encode(format!("\0{}\0{}", account.user, account.password));
        let sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
        wire.ask(&format!("<auth xmlns='{sasl}' mechanism='PLAIN'>{proof}</auth>"), "<success")?;
        wire.ask(&header, "</stream:features>")?;
        let bind = "urn:ietf:params:xml:ns:xmpp-bind";
        let bind = format!("<bind xmlns='{bind}'><resource>{resource}</resource></bind>");
        wire.ask(&format!("<iq type='set' id='bind'>{bind}</iq>"), "</iq>")?;
        Ok(wire)
    }

    /// Puts a message behind those that wait to be sent.
    pub(super) fn queue(&mut self, message: &str) {
        self.unsent.extend(message.as_bytes());
    }

    /// Sends all that waits, in one write.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.unsent)?;
        self.unsent.clear();
        Ok(())
    }

    /// Waits for a message, and takes all that have come with it.
    pub(super) fn take(&mut self) -> io::Result<Vec<Stanza>> {
        let mut all = Vec::new();
        loop {
            let mut taken = 0;
            while let Some((stanza, length)) = read(&self.unread[taken..]) {
                taken += length;
                all.push(stanza);
            }
            self.unread.drain(..taken);
            if !all.is_empty() {
                return Ok(all);
            }
            self.read_more()?;
        }
    }

    fn ask(&mut self, text: &str, answer: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())?;
        self.unread.clear();
        while memmem(&self.unread, answer.as_bytes()).is_none() {
            if memmem(&self.unread, b"<failure").is_some() {
                return Err(io::Error::other("login refused"));
            }
            self.read_more()?;
        }
        self.unread.clear();
        Ok(())
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut space = [0; 16 * 1024];
        match self.stream.read(&mut space)? {
            0 => {
                let last = &self.unread[self.unread.len().saturating_sub(300)..];
                let last = String::from_utf8_lossy(last);
                Err(io::Error::other(format!("the server has ended the stream: {last}")))
            }
            length => {
                self.unread.extend(&space[..length]);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_as_it_was_written_by_whichever_server() {
        let sent = message("a@b/c", "", "t", r#"["<&'"]"#);
        let of_prosody = sent.replace("to=", "from='w@x/y' to=");
        let of_ejabberd = "<message xml:lang='en' to='a@b/c' from='r@x/s'><opensrf router_from='w@x/y' \
             osrf_xid='x'/><body>[&quot;&lt;&amp;&apos;&quot;]</body><thread>t</thread></message>";
        let expected =
            Stanza { from: "w@x/y".into(), thread: "t".into(), body: r#"["<&'"]"#.into() };
        for text in [of_prosody.as_str(), of_ejabberd] {
            let more = format!("{text} <message");
            assert_eq!(read(more.as_bytes()), Some((expected.clone(), text.len())));
            assert_eq!(read(&text.as_bytes()[..text.len() - 1]), None);
        }
    }
}
