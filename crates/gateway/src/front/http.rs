//! One accepted connection, until it is a WebSocket or gone.
//!
//! Law: one request a connection, answered within the handshake's time whatever the client does;
//! and the moment the gate closes, whoever is not yet a client gets a 503. Only who came through a
//! socket that a successor will have may finish his handshake, for a second.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::header::{
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use slackwater_bus::turns::{self, BULK, Turns};
use slackwater_core::seldom::Seldom;
use slackwater_core::websocket::negotiate;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::address::{ClientAddress, Proxies};
use super::handshake::{self, Refused};
use super::page::{self, Page};
use super::quota::{Quota, Seat};
use super::stream::Stream;
use super::websocket::{self, Agreed, WebSocket};
use super::{Arrival, Client, Denied, Handler, Shared, Tls, proxy_header};
use crate::clock::now;
use crate::operate::readiness::Probe;

/// How requests are answered.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may open a WebSocket, and where.
    pub rules: handshake::Rules,
    /// Load balancers are answered at `/livez` and `/readyz` below this path; no `/` at its end.
    /// `None`: nowhere.
    pub health_path: Option<String>,
    /// Whom we believe when they name a client.
    pub proxies: Proxies,
    /// What one client address may take.
    pub quota: Quota,
    /// From the accept to the last byte of the answer.
    pub handshake_timeout: Duration,
    /// Whether the name of a client's host is looked for before it is let in.
    pub reverse_lookup: bool,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Put into every answer that opens a WebSocket.
    pub upgrade_headers: Vec<(HeaderName, HeaderValue)>,
    /// Put into every other answer.
    pub other_headers: Vec<(HeaderName, HeaderValue)>,
    /// What the WebSockets accept.
    pub websocket: websocket::Settings,
}

/// Bounds on the head of a request: its bytes, the request line and everything, and its headers.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

/// Turns that a handshake has like anybody, of which TLS and a request take fewer. What comes in more
/// pieces than that can wait.
const PROMPT: u32 = 6;

/// How long, and for how many bytes, we read on after an answer. Closing a socket that holds
/// unread bytes resets it, and a reset may destroy the answer on its way.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 256 * 1024;

/// Seconds after which somebody who was turned away may try again.
const RETRY: &str = "5";

/// How long who was accepted just before the process began to end may take for his handshake.
const FINISHING: Duration = Duration::from_secs(1);

/// An answer over HTTP.
pub type Answer = Response<Body>;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How long an answer of a web server, files and scripts, may take.
const SERVING: Duration = Duration::from_secs(300);

/// How a connection came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door {
    pub(super) peer: ClientAddress,
    /// Through a socket on which a successor may listen.
    pub(super) inherited: bool,
}

/// What was decided on the one request.
enum Decision<P> {
    Answered,
    Upgrade { client: ClientAddress, permit: P, seat: Seat, compression: Option<Agreed> },
}

/// Answers the request on this connection, or hands it over as a client.
pub(super) async fn serve<H: Handler>(
    stream: Stream,
    door: Door,
    shared: Arc<Shared<H>>,
    undecided: TaskTrackerToken,
) {
    match exchange(stream, door, &shared).await {
        Left::Nothing => {}
        Left::Answered(stream) => linger(stream, "", Some(undecided)).await,
        Left::Unanswered(stream, answer) => linger(stream, answer, Some(undecided)).await,
    }
}

/// Answers 503 to somebody who came while the gate was closed. `undecided` is held until the
/// answer is written.
pub(super) async fn turn_away(stream: Stream, undecided: Option<TaskTrackerToken>) {
    linger(stream, UNAVAILABLE, undecided).await;
}

/// What is left to do after the exchange.
enum Left {
    /// It became a client, or is gone.
    Nothing,
    Answered(Stream),
    Unanswered(Stream, &'static str),
}

enum Interruption {
    Refused,
    TimedOut,
}

async fn exchange<H: Handler>(mut stream: Stream, door: Door, shared: &Arc<Shared<H>>) -> Left {
    let Door { mut peer, inherited } = door;
    let settings = Arc::clone(&shared.settings.borrow());
    let time_is_up = Instant::now() + settings.handshake_timeout;
    let mut turns = 0;
    if settings.proxies.protocol && settings.proxies.trust(peer) {
        let named = tokio::select! {
            biased;
            named = counted(&mut turns, || true, proxy_header::read(&mut stream)) => named,
            () = refusing(shared, inherited) => return Left::Unanswered(stream, UNAVAILABLE),
            () = giving_up(time_is_up) => return Left::Nothing,
        };
        match named {
            Ok(None) => {}
            Ok(Some(client)) => peer = ClientAddress::of_peer(client),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                static SELDOM: Seldom = Seldom::new();
                if let Some(left_out) = SELDOM.again(now()) {
                    let what = "a trusted proxy does not name its client";
                    tracing::warn!(proxy = %peer, %error, left_out, "{what}");
                }
                return Left::Unanswered(stream, BAD_REQUEST);
            }
            Err(error) => {
                tracing::debug!(proxy = %peer, %error, "gone before it named its client");
                return Left::Nothing;
            }
        }
    }
    if let Some(tls) = &settings.tls {
        let secured = tokio::select! {
            biased;
            secured = counted(&mut turns, || true, tls.acceptor().accept(stream)) => secured,
            // Nobody can be told anything yet.
            () = refusing(shared, inherited) => return Left::Nothing,
            () = giving_up(time_is_up) => return Left::Nothing,
        };
        match secured {
            Ok(secured) => stream = Stream::Tls(Box::new(secured)),
            Err(error) => {
                tracing::debug!(client = %peer, %error, "no TLS");
                return Left::Nothing;
            }
        }
    }
    let decision = OnceLock::new();
    let serving = Notify::new();
    let service = service_fn(|request: Request<Incoming>| {
        let door = Door { peer, inherited };
        let (settings, decision, serving) = (&settings, &decision, &serving);
        Box::pin(async move {
            Ok::<_, Infallible>(answer(request, door, shared, settings, decision, serving).await)
        })
    });
    let mut http = http1::Builder::new();
    // The time of the whole exchange is bounded below.
    http.header_read_timeout(None);
    http.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let mut connection = http.serve_connection(TokioIo::new(stream), service);

    let interruption = {
        let refusing = async {
            refusing(shared, inherited).await;
            if decision.get().is_some() {
                std::future::pending::<()>().await;
            }
        };
        let time_is_up = async {
            tokio::select! {
                () = giving_up(time_is_up) => {}
                () = serving.notified() => sleep(SERVING).await,
            }
        };
        let (refusing, time_is_up) = (pin!(refusing), pin!(time_is_up));
        let requested = poll_fn(|context| connection.poll_without_shutdown(context));
        tokio::select! {
            biased;
            result = counted(&mut turns, || decision.get().is_none(), requested) => {
                if let Err(error) = result {
                    tracing::debug!(client = %peer, %error, "no request");
                }
                None
            }
            () = refusing => Some(Interruption::Refused),
            () = time_is_up => Some(Interruption::TimedOut),
        }
    };

    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let stream = io.into_inner();
    match (decision.into_inner(), interruption) {
        (Some(Decision::Upgrade { client: address, permit, seat, compression }), None) => {
            let websocket = WebSocket::new(stream, &read_buf, settings.websocket, compression);
            let client = Client { websocket, address, permit };
            let connected = Arc::clone(&shared.handler).connected(client);
            // An async block that awaits it would hold it twice, as it came and as it runs.
            tokio::spawn(Turns::after_full(&BULK, connected.map(|()| drop(seat))));
            Left::Nothing
        }
        (None, Some(Interruption::Refused)) => Left::Unanswered(stream, UNAVAILABLE),
        // Browsers open connections that they may never use; these end in silence.
        (None, Some(Interruption::TimedOut)) if read_buf.is_empty() => Left::Nothing,
        (None, Some(Interruption::TimedOut)) => Left::Unanswered(stream, TIMED_OUT),
        // The answer itself did not get through in time.
        (Some(_), Some(_)) => Left::Nothing,
        (Some(Decision::Answered) | None, None) => Left::Answered(stream),
    }
}

/// A part of a handshake. Counts its turns while it `counts` them, and has the next ones wait once
/// they are many.
async fn counted<T>(
    turns: &mut u32,
    counts: impl Fn() -> bool,
    part: impl Future<Output = T>,
) -> T {
    let mut part = pin!(part);
    poll_fn(|context| {
        if counts() {
            *turns += 1;
            if *turns >= PROMPT {
                turns::next_can_wait();
            }
        }
        part.as_mut().poll(context)
    })
    .await
}

/// Waits until the time is up of somebody who is then let go when there is nothing better to do.
async fn giving_up(time_is_up: Instant) {
    sleep_until(time_is_up).await;
    turns::can_wait().await;
}

/// Waits until who has not been answered yet is refused.
async fn refusing<H: Handler>(shared: &Shared<H>, inherited: bool) {
    let mut gate = shared.gate.clone();
    // A gate that is gone refuses too: the process is ending.
    let order = gate.wait_for(|order| order.refuses()).await.map(|order| *order);
    if inherited && order.is_ok_and(|order| order.leaves()) {
        sleep(FINISHING).await;
    }
}

async fn answer<H: Handler>(
    request: Request<Incoming>,
    door: Door,
    shared: &Shared<H>,
    settings: &Settings,
    decision: &OnceLock<Decision<H::Permit>>,
    serving: &Notify,
) -> Answer {
    let order = *shared.gate.borrow();
    let (decided, mut answer) = if order.refuses() && !(door.inherited && order.leaves()) {
        (Decision::Answered, unavailable("this server takes no new clients now"))
    } else if handshake::asks_for_websocket(request.headers()) {
        let (request, _no_body_is_read) = request.into_parts();
        let client = door.peer.behind(&settings.proxies, &request.headers);
        let host = if settings.reverse_lookup { client.look_up().await } else { None };
        let arrival = Arrival { request: &request, client, host: host.as_deref() };
        upgrade(arrival, shared, settings)
    } else {
        // From here on it is not interrupted any more.
        decision.set(Decision::Answered).ok();
        (Decision::Answered, ordinary(request, door, shared, settings, serving).await)
    };
    let headers = match decided {
        // Not by hyper's `keep_alive(false)`: that writes `close` into the 101 as well.
        Decision::Answered => {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            &settings.other_headers
        }
        Decision::Upgrade { .. } => &settings.upgrade_headers,
    };
    for (name, value) in headers {
        answer.headers_mut().append(name, value.clone());
    }
    // One request a connection: the first decision is the only one.
    decision.set(decided).ok();
    answer
}

/// A request that asks for a WebSocket.
fn upgrade<H: Handler>(
    arrival: Arrival<'_>,
    shared: &Shared<H>,
    settings: &Settings,
) -> (Decision<H::Permit>, Answer) {
    let Arrival { request, client, .. } = arrival;
    let seat = match shared.taken.admit(client, settings.quota, now()) {
        Ok(seat) => seat,
        Err(exceeded) => {
            tracing::debug!(%client, %exceeded, "handshake refused");
            return (
                Decision::Answered,
                later(StatusCode::TOO_MANY_REQUESTS, &exceeded.to_string()),
            );
        }
    };
    let accept = match handshake::check(request, &settings.rules) {
        Ok(accept) => accept,
        Err(refused) => {
            tracing::debug!(%refused, "handshake refused");
            return (Decision::Answered, refusal(refused));
        }
    };
    let permit = match shared.handler.admit(arrival) {
        Ok(permit) => permit,
        Err(Denied { status: StatusCode::SERVICE_UNAVAILABLE, why }) => {
            return (Decision::Answered, unavailable(why));
        }
        Err(Denied { status, why }) => return (Decision::Answered, text(status, why)),
    };
    let compression = settings.websocket.compress_from.and_then(|_| {
        let offers = request.headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
        negotiate(offers.filter_map(|offer| offer.to_str().ok()))
    });
    let answer = switching(&accept, compression);
    (Decision::Upgrade { client, permit, seat, compression }, answer)
}

/// A request that asks for no WebSocket.
async fn ordinary<H: Handler>(
    request: Request<Incoming>,
    door: Door,
    shared: &Shared<H>,
    settings: &Settings,
    serving: &Notify,
) -> Answer {
    let path = request.uri().path();
    let below = settings.health_path.as_deref().and_then(|health| path.strip_prefix(health));
    let probe = below.and_then(Probe::at);
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if let Some(probe) = probe.filter(|_| reads) {
        let (status, reason) = shared.handler.health(probe);
        let mut answer = text(status, &reason);
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return answer;
    }
    let is_front_page = path == "/" || probe.is_some();
    if shared.handler.serves() {
        serving.notify_one();
        let client = door.peer.behind(&settings.proxies, request.headers());
        return shared.handler.serve(request, client).await;
    }
    if !is_front_page {
        return text(StatusCode::NOT_FOUND, "nothing here");
    }
    if !reads {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    page(Page::Form(settings.rules.path.as_deref().unwrap_or("/")))
}

/// A page to try WebSockets with.
pub(crate) fn page(page: Page<'_>) -> Answer {
    match page::response(page) {
        Ok(answer) => answer.map(whole),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no randomness"),
    }
}

/// A body that is there already.
fn whole(body: Full<Bytes>) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}

fn switching(accept: &str, compression: Option<Agreed>) -> Answer {
    let mut answer = Response::new(whole(Full::default()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    let extension = compression.map(|agreed| HeaderValue::try_from(agreed.header()));
    if let Some(Ok(extension)) = extension {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, extension);
    }
    answer
}

fn refusal(refused: Refused) -> Answer {
    let mut answer = text(refused.status(), &refused.to_string());
    match refused {
        Refused::Method => {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        Refused::Version => {
            answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        Refused::Path
        | Refused::HttpVersion
        | Refused::Host
        | Refused::Connection
        | Refused::Key
        | Refused::Body
        | Refused::Origin => {}
    }
    answer
}

fn unavailable(why: &str) -> Answer {
    later(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// An answer to somebody who may try again.
fn later(status: StatusCode, why: &str) -> Answer {
    let mut answer = text(status, why);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY));
    answer
}

/// A line of text as an answer.
pub(crate) fn text(status: StatusCode, line: &str) -> Answer {
    let mut answer = Response::new(whole(Full::from(format!("{line}\n"))));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

/// For those whose request hyper has not seen, or not whole.
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Length: 0\r\n\r\n";
const BAD_REQUEST: &str =
    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const TIMED_OUT: &str =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Sends the last bytes and our FIN, and reads to the client's.
async fn linger(mut stream: Stream, last: &str, undecided: Option<TaskTrackerToken>) {
    let end = async {
        stream.write_all(last.as_bytes()).await?;
        drop(undecided);
        stream.shutdown().await?;
        let (mut rest, mut nowhere) = (stream.take(LINGER_BYTES), tokio::io::sink());
        counted(&mut { PROMPT }, || true, tokio::io::copy(&mut rest, &mut nowhere)).await?;
        Ok::<_, io::Error>(())
    };
    if let Ok(Err(error)) = timeout(LINGER, end).await {
        tracing::debug!(%error, "a connection ended before its answer was taken");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::available_parallelism;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_handshake_in_many_pieces_waits_for_those_who_can_wait() {
        // So many that a place in the lane does not come soon, however many processors there are.
        let many = 50 * available_parallelism().map_or(1, usize::from);
        let passed = Arc::<AtomicUsize>::default();
        for _ in 0..many {
            let passed = Arc::clone(&passed);
            let labour = async move {
                loop {
                    passed.fetch_add(1, Ordering::Relaxed);
                    turns::can_wait().await;
                }
            };
            tokio::spawn(Turns::after_full(&turns::CAN_WAIT, labour));
        }
        let (sender, mut pieces) = mpsc::channel(1);
        let (taken, mut acknowledged) = mpsc::channel(1);
        let handshake = async move {
            let part = async {
                while let Some(piece) = pieces.recv().await {
                    taken.send(piece).await.expect("he counts them");
                }
            };
            counted(&mut 0, || true, part).await;
        };
        tokio::spawn(Turns::after_full(&turns::CAN_WAIT, handshake));
        while passed.load(Ordering::Relaxed) < 2 * many {
            tokio::task::yield_now().await;
        }
        for piece in 1..=2 * PROMPT {
            let before = passed.load(Ordering::Relaxed);
            sender.send(piece).await.expect("they are read");
            acknowledged.recv().await;
            let meanwhile = passed.load(Ordering::Relaxed) - before;
            // The first turn was before there was a piece.
            assert_eq!(meanwhile >= many / 2, piece >= PROMPT, "{piece}: {meanwhile} of {many}");
        }
    }

    #[test]
    fn the_two_ways_of_saying_503_agree() {
        assert!(UNAVAILABLE.contains(&format!("Retry-After: {RETRY}\r\n")));
    }
}
