//! A port from which browsers are sent to the gateway's own: `301` to the same host.
//!
//! Law: nobody who connects here holds the gateway: connections are counted, each has ten seconds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, LOCATION};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts to accept when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections at a time; the next ones wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 256;

/// What of a request's address stands in the new one, beside the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Path and query.
    Path,
    /// Nothing, as websocketd does it.
    Nothing,
}

/// Answers everyone who connects, for ever. `to` is where the gateway listens.
pub(crate) async fn redirect(listener: TcpListener, secure: bool, to: SocketAddr, keeps: Keeps) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let service = service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(answer(&request, secure, to, keeps))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if !matches!(timeout(PATIENCE, connection).await, Ok(Ok(()))) {
                tracing::debug!("a browser was not redirected");
            }
            drop(place);
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    secure: bool,
    to: SocketAddr,
    keeps: Keeps,
) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    // Only the name of a host that could be one is repeated.
    let named = host.and_then(|host| host.parse::<Authority>().ok());
    let host = named.map_or_else(|| to.ip().to_string(), |host| host.host().to_owned());
    let (scheme, standard) = if secure { ("https", 443) } else { ("http", 80) };
    let port = if to.port() == standard { String::new() } else { format!(":{}", to.port()) };
    let path = match keeps {
        Keeps::Path => request.uri().path_and_query().map_or("/", PathAndQuery::as_str),
        Keeps::Nothing => "/",
    };
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if let Ok(location) = format!("{scheme}://{host}{port}{path}").parse() {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}
