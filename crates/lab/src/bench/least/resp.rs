//! Redis's own words (RESP2), as far as an OpenSRF bus uses them, on a blocking socket.
//!
//! Law: no more work than the bytes demand. What a client library costs must not be hidden in the
//! bare client that others are compared with.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use crate::bus::Account;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Nil,
    Number(i64),
    Word(String),
    Text(Vec<u8>),
    List(Vec<Self>),
}

impl Reply {
    /// The texts in it: of BLPOP's answer the message alone, without the name of the list.
    pub(super) fn messages(self) -> Vec<Vec<u8>> {
        let Self::List(items) = self else { return Vec::new() };
        let text = |item| if let Self::Text(text) = item { Some(text) } else { None };
        items.into_iter().filter_map(text).collect()
    }

    /// The message that BLPOP brings, if one came in time.
    pub(super) fn popped(self) -> Option<Vec<u8>> {
        self.messages().pop()
    }
}

/// Appends a command.
pub(super) fn write(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend(format!("${}\r\n", word.len()).as_bytes());
        out.extend(*word);
        out.extend(b"\r\n");
    }
}

/// The first answer in `bytes` and its length; `None` if it is not all there.
pub(super) fn read(bytes: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    // Looked through before anything is copied: a large answer comes in many pieces.
    match length_of(bytes)? {
        Some(length) => Ok(Some((parse(bytes)?.0, length))),
        None => Ok(None),
    }
}

/// A line without its end: its kind, what stands in it, and its length with the end.
fn line(bytes: &[u8]) -> io::Result<Option<(u8, &str, usize)>> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let (kind, text) = bytes[..end].split_first().ok_or_else(strange)?;
    let text = std::str::from_utf8(text).map_err(|_| strange())?;
    Ok(Some((*kind, text, end + 2)))
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an answer of Redis's")
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| strange())
}

/// How long the first answer is, once all of it is there.
fn length_of(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some((kind, text, mut length)) = line(bytes)? else { return Ok(None) };
    match (kind, usize::try_from(number(text).unwrap_or(-1))) {
        (b'$', Ok(size)) => length += size + 2,
        (b'*', Ok(count)) => {
            for _ in 0..count {
                let rest = bytes.get(length..).unwrap_or_default();
                let Some(item) = length_of(rest)? else { return Ok(None) };
                length += item;
            }
        }
        _ => {}
    }
    Ok((bytes.len() >= length).then_some(length))
}

/// An answer that is there as a whole, and its length.
fn parse(bytes: &[u8]) -> io::Result<(Reply, usize)> {
    let (kind, text, mut length) = line(bytes)?.ok_or_else(strange)?;
    let reply = match kind {
        b':' => Reply::Number(number(text)?),
        b'+' => Reply::Word(text.to_owned()),
        b'-' => return Err(io::Error::other(text.to_owned())),
        b'$' => match usize::try_from(number(text)?) {
            Err(_) => Reply::Nil,
            Ok(size) => {
                let text = bytes.get(length..length + size).ok_or_else(strange)?.to_vec();
                length += size + 2;
                Reply::Text(text)
            }
        },
        b'*' => match usize::try_from(number(text)?) {
            Err(_) => Reply::Nil,
            Ok(count) => {
                let mut items = Vec::new();
                for _ in 0..count {
                    let (item, more) = parse(bytes.get(length..).unwrap_or_default())?;
                    items.push(item);
                    length += more;
                }
                Reply::List(items)
            }
        },
        _ => return Err(strange()),
    };
    Ok((reply, length))
}

/// The words that log in.
pub(super) fn login(account: &Account) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, &[b"AUTH", account.user.as_bytes(), account.password.as_bytes()]);
    out
}

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// How much of `unread` was taken.
    taken: usize,
    unsent: Vec<u8>,
}

impl Wire {
    pub(super) fn connect(account: &Account) -> io::Result<Self> {
        let stream = TcpStream::connect((account.domain.as_str(), account.port))?;
        stream.set_nodelay(true)?;
        let (unread, unsent) = (Vec::new(), login(account));
        let mut wire = Self { stream, unread, taken: 0, unsent };
        wire.flush()?;
        wire.reply()?;
        Ok(wire)
    }

    /// Puts a command behind those that wait to be sent.
    pub(super) fn queue(&mut self, words: &[&[u8]]) {
        write(&mut self.unsent, words);
    }

    /// Bytes that wait to be sent.
    pub(super) fn waits(&self) -> usize {
        self.unsent.len()
    }

    /// Sends all that waits, in one write.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.unsent)?;
        self.unsent.clear();
        Ok(())
    }

    /// Waits for the next answer.
    pub(super) fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some((reply, length)) = read(&self.unread[self.taken..])? {
                self.taken += length;
                return Ok(reply);
            }
            self.unread.drain(..self.taken);
            self.taken = 0;
            let mut space = [0; 64 * 1024];
            match self.stream.read(&mut space)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.unread.extend(&space[..length]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_redis_reads_it() {
        let mut out = Vec::new();
        write(&mut out, &[b"RPUSH", b"list", "é".as_bytes()]);
        assert_eq!(out, "*3\r\n$5\r\nRPUSH\r\n$4\r\nlist\r\n$2\r\né\r\n".as_bytes());
    }

    #[test]
    fn an_answer_is_read_once_all_of_it_is_there() {
        let whole = b"*2\r\n$4\r\nlist\r\n$3\r\na\r\n\r\n:7\r\n";
        let first = whole.len() - 4;
        for length in 0..first {
            assert_eq!(read(&whole[..length]).unwrap(), None, "{length}");
        }
        let (reply, length) = read(whole).unwrap().unwrap();
        assert_eq!((reply.popped(), length), (Some(b"a\r\n".to_vec()), first));
        assert_eq!(read(&whole[first..]).unwrap(), Some((Reply::Number(7), 4)));
        assert_eq!(read(b"*-1\r\n").unwrap(), Some((Reply::Nil, 5)));
        assert_eq!(read(b"-NOPERM no\r\n").unwrap_err().to_string(), "NOPERM no");
    }
}
