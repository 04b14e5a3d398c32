//! The header with which a proxy begins a connection to name the client (PROXY protocol, version 1
//! and 2, as HAProxy's `send-proxy` and nginx's `proxy_protocol` write it).
//!
//! Law: exactly the header is read, and not a byte of what follows it; its length is bounded before
//! it is read.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What version 2 begins with.
const SECOND: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Both versions can be told apart by so many bytes, and neither is shorter.
const FIRST: usize = SECOND.len();
/// Version 2: what says how much follows.
const LENGTH_AT: usize = 14;
const HEAD: usize = 16;
/// Version 1: the longest line, with its end.
const LONGEST_LINE: usize = 107;
/// Version 2: the most that may follow. Addresses take 36 bytes; what certificates and the like add
/// (type-length-values) is skipped.
const MOST_FOLLOWS: usize = 4 * 1024;

/// Reads the header. `None`: the proxy speaks for itself (a health check), or of no IP address.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if there is no such header; else the connection's own error.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; FIRST];
    stream.read_exact(&mut header).await?;
    if header == SECOND {
        header.resize(HEAD, 0);
        stream.read_exact(&mut header[FIRST..]).await?;
        let follows = usize::from(u16::from_be_bytes([header[LENGTH_AT], header[LENGTH_AT + 1]]));
        if follows > MOST_FOLLOWS {
            return Err(none("it is too long"));
        }
        header.resize(HEAD + follows, 0);
        stream.read_exact(&mut header[HEAD..]).await?;
    } else {
        if !header.starts_with(b"PROXY ") {
            return Err(none("it begins otherwise"));
        }
        // A line has no length: a byte at a time, or something of the request would be read, too.
        while !header.ends_with(b"\n") {
            if header.len() == LONGEST_LINE {
                return Err(none("the line has no end"));
            }
            header.push(stream.read_u8().await?);
        }
    }
    parse(&header)
}

/// Reads a whole header.
fn parse(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (header, _length) = ProxyHeader::parse(header, config).map_err(none)?;
    Ok(header.proxied_address().map(|address| address.source))
}

fn none(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("no PROXY header: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn told(header: &[u8]) -> Result<Option<String>, ErrorKind> {
        let whole = [header, b"GET /"].concat();
        let mut rest = &whole[..];
        let read = read(&mut rest).await;
        if read.is_ok() {
            assert_eq!(rest, b"GET /", "exactly the header is read");
        }
        read.map(|address| address.map(|a| a.to_string())).map_err(|error| error.kind())
    }

    fn second(command: u8, family: u8, follows: &[u8]) -> Vec<u8> {
        let length = u16::try_from(follows.len()).expect("short").to_be_bytes();
        [SECOND, &[0x20 | command, family], &length, follows].concat()
    }

    #[tokio::test]
    async fn the_first_version_is_read() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443", Ok(Some("192.0.2.7:56324"))),
            ("PROXY TCP6 2001:db8::7 ::1 5 443", Ok(Some("[2001:db8::7]:5"))),
            ("PROXY UNKNOWN", Ok(None)),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535", Ok(None)),
            ("PROXY TCP4 2001:db8::7 ::1 5 443", Err(ErrorKind::InvalidData)),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 563240 443", Err(ErrorKind::InvalidData)),
            ("GET / HTTP/1.1", Err(ErrorKind::InvalidData)),
        ] {
            let expected = expected.map(|address| address.map(str::to_owned));
            assert_eq!(told(format!("{line}\r\n").as_bytes()).await, expected, "{line}");
        }
        let endless = format!("PROXY TCP4 {}", "1".repeat(200));
        assert_eq!(told(endless.as_bytes()).await, Err(ErrorKind::InvalidData));
    }

    #[tokio::test]
    async fn the_second_version_is_read() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb];
        let more = [&four[..], &[4, 0, 2, 9, 9]].concat();
        let six = [&[0x20; 32][..], &[0, 5, 1, 0xbb]].concat();
        for (header, expected) in [
            (second(1, 0x11, &four), Ok(Some("192.0.2.7:56324"))),
            (second(1, 0x11, &more), Ok(Some("192.0.2.7:56324"))),
            (second(1, 0x21, &six), Ok(Some("[2020:2020:2020:2020:2020:2020:2020:2020]:5"))),
            (second(0, 0, &[]), Ok(None)),
            (second(0, 0x11, &four), Ok(None)),
            (second(1, 0x31, &[0; 216]), Ok(None)),
            (second(1, 0x11, &four[..8]), Err(ErrorKind::InvalidData)),
            (second(7, 0x11, &four), Err(ErrorKind::InvalidData)),
            (second(1, 0x11, &[0; MOST_FOLLOWS + 1]), Err(ErrorKind::InvalidData)),
        ] {
            let expected = expected.map(|address| address.map(str::to_owned));
            assert_eq!(told(&header).await, expected, "{header:?}");
        }
        let half = read(&mut &SECOND[..]).await.map_err(|error| error.kind());
        assert_eq!(half, Err(ErrorKind::UnexpectedEof));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(
            begin in prop_oneof![Just(SECOND), Just(&b"PROXY TCP4 "[..]), Just(&b"PROXY "[..]), Just(&b""[..])],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
            text in "[0-9a-f.: ]{0,60}\r\n",
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for rest in [&rest[..], text.as_bytes()] {
                let bytes = [begin, rest].concat();
                // What matters is that it comes to an end.
                runtime.block_on(read(&mut &bytes[..])).ok();
                parse(&bytes).ok();
            }
        }
    }
}
