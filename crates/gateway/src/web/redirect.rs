//! A port from which browsers are sent to the gateway's own: `301` to the same host.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, LOCATION};
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts to accept when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers everyone who connects, for ever. `to` is where the gateway listens.
pub(crate) async fn redirect(listener: TcpListener, secure: bool, to: SocketAddr) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let service = service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(answer(&request, secure, to))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(timeout(PATIENCE, connection));
    }
}

fn answer(request: &Request<Incoming>, secure: bool, to: SocketAddr) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    // Only the name of a host that could be one is repeated.
    let named = host.and_then(|host| host.parse::<Authority>().ok());
    let host = named.map_or_else(|| to.ip().to_string(), |host| host.host().to_owned());
    let (scheme, standard) = if secure { ("https", 443) } else { ("http", 80) };
    let port = if to.port() == standard { String::new() } else { format!(":{}", to.port()) };
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if let Ok(location) = format!("{scheme}://{host}{port}/").parse() {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}
