//! The head of a request that may become a WebSocket.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY};
use http::{Method, Request, Version};
use slackwater::front::handshake::{Rules, asks_for_websocket, check};
use slackwater::front::{ClientAddress, ClientHeader, Proxies};

/// Whatever a client writes into its headers, it is answered with a status or with an accept key,
/// and what a stranger says of who he is, in either header, is not believed.
pub fn http_upgrade(data: &[u8]) {
    let Some(request) = read_head(data) else { return };
    let (head, ()) = request.into_parts();
    let peer = ClientAddress::of_peer(SocketAddr::new(IpAddr::from([192, 0, 2, 1]), 1));
    for header in [ClientHeader::XForwardedFor, ClientHeader::Forwarded] {
        let nobody = Proxies { header, ..Proxies::default() };
        assert_eq!(peer.behind(&nobody, &head.headers).to_string(), peer.to_string());
        let networks = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a network")).to_vec();
        let everyone = Proxies { networks, ..nobody };
        assert!(peer.behind(&everyone, &head.headers).to_string().len() < 64);
    }

    if !asks_for_websocket(&head.headers) {
        return;
    }
    let strict = Rules { path: Some("/".to_owned()), same_origin: true, ..Rules::default() };
    for rules in [Rules::default(), strict] {
        match check(&head, &rules) {
            Ok(accept) => {
                assert_eq!(accept.len(), 28, "a SHA-1 in base64");
                assert_eq!((&head.method, head.version), (&Method::GET, Version::HTTP_11));
                assert_eq!(head.headers.get_all(SEC_WEBSOCKET_KEY).iter().count(), 1);
                assert!(head.headers.get_all(ORIGIN).iter().count() <= 1);
            }
            Err(refused) => assert!(refused.status().is_client_error()),
        }
    }
}

/// Reads what the HTTP library would have read, leniently.
fn read_head(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let mut words = first.split(' ');
    let mut request = Request::builder().method(words.next()?).uri(words.next()?);
    request = request.version(match words.next()? {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/2.0" => Version::HTTP_2,
        _ => Version::HTTP_11,
    });
    for line in lines.take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request = request.header(name, value);
        }
    }
    request.body(()).ok()
}
