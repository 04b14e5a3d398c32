//! What a proxy, or somebody in its place, begins a connection with.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use slackwater::front::proxy_header::read;

/// The most bytes that a header may have: what version 2 begins with, and its addresses.
const LONGEST: usize = 16 + 4 * 1024;

/// Whatever comes, a bounded piece of it is read, and of a good header every byte and none more.
pub fn proxy_header(data: &[u8]) {
    let (outcome, length) = of_bytes(data);
    assert!(length <= LONGEST, "{length} bytes read");
    let Ok(address) = outcome else { return };
    let header = &data[..length];
    if header.starts_with(b"PROXY ") {
        assert_eq!(header.iter().position(|byte| *byte == b'\n'), Some(length - 1));
    }
    assert_eq!(of_bytes(header).0.expect("good on its own"), address);
    let short = of_bytes(&header[..length - 1]).0.map_err(|error| error.kind());
    assert_eq!(short, Err(ErrorKind::UnexpectedEof), "its last byte is needed");
}

/// What is read, and how much of it.
fn of_bytes(data: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
    let mut rest = data;
    let outcome = match pin!(read(&mut rest)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("bytes in memory keep nobody waiting"),
    };
    (outcome, data.len() - rest.len())
}
