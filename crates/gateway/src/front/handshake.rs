//! The opening handshake (RFC 6455 §4.2), decided on the head of a request alone. Pure.
//!
//! Law: what is not a handshake by every letter of the RFC is refused with the status that says
//! why, before anything is reserved for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, ORIGIN, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode, Version, request::Parts};

use super::origin::{self, OriginRule};

/// Who may open a WebSocket, and where.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The only path that upgrades; `None`: any does.
    pub path: Option<String>,
    /// Pages that may connect ([`origin::allowed`]).
    pub origins: Vec<OriginRule>,
    /// Pages of our own host may connect, others only by `origins`.
    pub same_origin: bool,
    /// Who names no page is refused.
    pub requires_origin: bool,
}

/// Why a request is no handshake that we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The path is not the one for WebSockets.
    #[error("no WebSocket here")]
    Path,
    /// Not a GET.
    #[error("a WebSocket opens with GET")]
    Method,
    /// Not HTTP/1.1.
    #[error("a WebSocket opens with HTTP/1.1")]
    HttpVersion,
    /// `Host` is missing or there more than once.
    #[error("one Host header is required")]
    Host,
    /// `Connection` does not name `Upgrade`.
    #[error("the Connection header must name Upgrade")]
    Connection,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("only WebSocket version 13 is spoken here")]
    Version,
    /// `Sec-WebSocket-Key` is missing, there more than once, or not 16 bytes in base64.
    #[error("one Sec-WebSocket-Key of 16 bytes in base64 is required")]
    Key,
    /// A request body is announced.
    #[error("a WebSocket opens without a body")]
    Body,
    /// The page's origin may not connect.
    #[error("this origin may not connect")]
    Origin,
}

impl Refused {
    /// The HTTP status that says so.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::HttpVersion | Self::Host | Self::Connection | Self::Key | Self::Body => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

/// Whether a request asks for a WebSocket at all; if not, it is an ordinary one.
#[must_use]
pub fn asks_for_websocket(headers: &HeaderMap) -> bool {
    names(headers, &UPGRADE, "websocket")
}

/// Checks a request that asks for a WebSocket.
///
/// # Errors
/// The first thing that is wrong with it.
///
/// # Returns
/// The value of `Sec-WebSocket-Accept` that answers it.
pub fn check(request: &Parts, rules: &Rules) -> Result<String, Refused> {
    let headers = &request.headers;
    let require = |condition: bool, refused| if condition { Ok(()) } else { Err(refused) };

    require(rules.path.as_ref().is_none_or(|path| path == request.uri.path()), Refused::Path)?;
    require(request.method == Method::GET, Refused::Method)?;
    require(request.version == Version::HTTP_11, Refused::HttpVersion)?;
    let host = only(headers, &HOST).ok_or(Refused::Host)?;
    require(names(headers, &CONNECTION, "upgrade"), Refused::Connection)?;
    require(only(headers, &SEC_WEBSOCKET_VERSION) == Some("13"), Refused::Version)?;
    let key = only(headers, &SEC_WEBSOCKET_KEY).ok_or(Refused::Key)?;
    require(STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16), Refused::Key)?;
    let empty = only(headers, &CONTENT_LENGTH).is_none_or(|length| length == "0");
    require(empty && !headers.contains_key(TRANSFER_ENCODING), Refused::Body)?;
    if headers.contains_key(ORIGIN) || rules.requires_origin {
        let page = only(headers, &ORIGIN).ok_or(Refused::Origin)?;
        let allowed = origin::allowed(page, host, &rules.origins, rules.same_origin);
        require(allowed, Refused::Origin)?;
    }
    Ok(accept(key))
}

/// RFC 6455 §4.2.2, point 5.4.
fn accept(key: &str) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut hash = sha1_smol::Sha1::from(key);
    hash.update(GUID);
    STANDARD.encode(hash.digest().bytes())
}

/// The value of a header that is there exactly once, as text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

/// Whether one of a header's comma-separated values is this word, in any case.
fn names(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Request};

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        assert_eq!(
            check(&handshake(|_| {}), &Rules::default()).unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn every_letter_counts() {
        type Change = fn(&mut Parts);
        let cases: &[(Refused, Change)] = &[
            (Refused::Method, |r| r.method = Method::POST),
            (Refused::HttpVersion, |r| r.version = Version::HTTP_10),
            (Refused::Host, |r| drop(r.headers.remove(HOST))),
            (Refused::Host, |r| append(r, HOST, "other")),
            (Refused::Connection, |r| drop(r.headers.remove(CONNECTION))),
            (Refused::Connection, |r| insert(r, CONNECTION, "keep-alive")),
            (Refused::Version, |r| drop(r.headers.remove(SEC_WEBSOCKET_VERSION))),
            (Refused::Version, |r| insert(r, SEC_WEBSOCKET_VERSION, "8")),
            (Refused::Version, |r| append(r, SEC_WEBSOCKET_VERSION, "13")),
            (Refused::Key, |r| drop(r.headers.remove(SEC_WEBSOCKET_KEY))),
            (Refused::Key, |r| insert(r, SEC_WEBSOCKET_KEY, "c2hvcnQ=")),
            (Refused::Key, |r| insert(r, SEC_WEBSOCKET_KEY, "not base64!")),
            (Refused::Key, |r| append(r, SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")),
            (Refused::Body, |r| insert(r, CONTENT_LENGTH, "5")),
            (Refused::Body, |r| insert(r, TRANSFER_ENCODING, "chunked")),
        ];
        for (expected, change) in cases {
            let request = handshake(change);
            assert_eq!(check(&request, &Rules::default()), Err(*expected), "{request:?}");
        }
    }

    #[test]
    fn lists_and_case_do_not_matter() {
        let request = handshake(|r| {
            insert(r, CONNECTION, "keep-alive, UPGRADE");
            insert(r, UPGRADE, "h2c, WebSocket");
            insert(r, CONTENT_LENGTH, "0");
        });
        assert!(asks_for_websocket(&request.headers));
        check(&request, &Rules::default()).unwrap();
    }

    #[test]
    fn a_path_restricts() {
        let rules = Rules { path: Some("/gateway".to_owned()), ..Rules::default() };
        assert_eq!(check(&handshake(|_| {}), &rules), Err(Refused::Path));
        let there = handshake(|r| r.uri = "/gateway?client=1".parse().unwrap());
        check(&there, &rules).unwrap();
    }

    #[test]
    fn a_foreign_page_is_refused_and_a_client_that_is_no_page_passes() {
        let rules = Rules { same_origin: true, ..Rules::default() };
        check(&handshake(|_| {}), &rules).unwrap();
        let own = handshake(|r| insert(r, ORIGIN, "https://gateway.test"));
        check(&own, &rules).unwrap();
        let foreign = handshake(|r| insert(r, ORIGIN, "https://evil.test"));
        assert_eq!(check(&foreign, &rules), Err(Refused::Origin));
        let both = handshake(|r| {
            append(r, ORIGIN, "https://gateway.test");
            append(r, ORIGIN, "https://evil.test");
        });
        assert_eq!(check(&both, &rules), Err(Refused::Origin));
    }

    #[test]
    fn another_upgrade_is_an_ordinary_request() {
        assert!(!asks_for_websocket(&handshake(|r| insert(r, UPGRADE, "h2c")).headers));
    }

    fn handshake(change: impl Fn(&mut Parts)) -> Parts {
        let request = Request::get("/")
            .header(HOST, "gateway.test")
            .header(UPGRADE, "websocket")
            .header(CONNECTION, "Upgrade")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        change(&mut parts);
        parts
    }

    fn insert(request: &mut Parts, name: HeaderName, value: &'static str) {
        request.headers.insert(name, HeaderValue::from_static(value));
    }

    fn append(request: &mut Parts, name: HeaderName, value: &'static str) {
        request.headers.append(name, HeaderValue::from_static(value));
    }
}
