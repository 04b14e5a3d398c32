//! What can be asked, and the answers: JSON, errors too.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::events::{Events, Following, follow};
use super::guard::{self, Key};
use crate::config::Period;
use crate::front::page::{self, Page};
use crate::operate::metrics;
use crate::operate::readiness::Probe;
use crate::operate::status::{Deadline, DrainRequest, Operations, Refused, Selection};

/// Which routes there are.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    /// All.
    Control {
        /// Where the page of the admin port is.
        page: Option<Arc<str>>,
    },
    /// The page, and those that only look and tell nothing of a client; the others that the page
    /// needs for who may.
    Admin(Arc<Key>),
}

/// What it takes to answer.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    pub(super) operations: Arc<dyn Operations>,
    pub(super) scope: Scope,
    /// Whether it comes from this machine.
    pub(super) is_local: bool,
    pub(super) ending: CancellationToken,
}

type Reply = Response<Either<Full<Bytes>, Events>>;

/// What the admin port does for who may, and for nobody else.
const GUARDED: [&str; 3] = ["/connections", "/drain", "/undrain"];

/// Where the page is.
#[derive(Debug, Serialize, Deserialize)]
pub struct PageAddress {
    /// With the key.
    pub url: String,
}

/// Bytes of a request's body.
const LONGEST_BODY: usize = 4 * 1024;

impl Conversation {
    pub(super) async fn answer(&self, request: Request<Incoming>, following: Following) -> Reply {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let posts = *request.method() == Method::POST;
        if let Some(probe) = Probe::at(request.uri().path()).filter(|_| reads) {
            let status = self.operations.status().await;
            let (status, reason) = probe.answer(&status, self.operations.drain_status());
            return plain(status, &reason);
        }
        let path = request.uri().path();
        if let Scope::Admin(key) = &self.scope
            && GUARDED.contains(&path)
            && let Err(kept) = guard::check(key, request.headers(), self.is_local)
        {
            return error(kept.status(), &kept.to_string());
        }
        match (&self.scope, path) {
            (Scope::Admin(_), "/") if reads => match page::response(Page::Admin) {
                Ok(page) => page.map(Either::Left),
                Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "no randomness"),
            },
            (Scope::Control { page }, "/page") if reads => match page {
                Some(url) => json(StatusCode::OK, &PageAddress { url: url.to_string() }),
                None => error(StatusCode::CONFLICT, "there is no page without admin_listen"),
            },
            (_, "/status") if reads => self.status().await,
            (_, "/metrics") if reads => match metrics::text(self.operations.figures()) {
                Ok(text) => whole(StatusCode::OK, metrics::MEDIA_TYPE, text),
                Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, &failed.to_string()),
            },
            (_, "/connections") if reads => match selection(request.uri().query()) {
                Some(which) => json(StatusCode::OK, &self.operations.connections(which).await),
                None => error(
                    StatusCode::BAD_REQUEST,
                    "expected no query, ?most=NUMBER or ?holding=NUMBER",
                ),
            },
            (Scope::Control { .. }, "/events") if reads => self.events(following),
            (_, "/drain") if posts => {
                match body(request).await.and_then(|text| drain_request(&text)) {
                    Ok(request) => self.outcome(self.operations.drain(request).await).await,
                    Err(message) => error(StatusCode::BAD_REQUEST, &message),
                }
            }
            (_, "/undrain") if posts => self.outcome(self.operations.undrain().await).await,
            (Scope::Control { .. }, "/reload") if posts => match self.operations.reload().await {
                Ok(reloaded) => json(StatusCode::OK, &reloaded),
                Err(Refused(reason)) => error(StatusCode::CONFLICT, &reason),
            },
            (_, "/livez" | "/readyz" | "/status" | "/metrics" | "/connections")
            | (Scope::Control { .. }, "/events" | "/page")
            | (Scope::Admin(_), "/") => not_allowed("GET, HEAD"),
            (_, "/drain" | "/undrain") | (Scope::Control { .. }, "/reload") => not_allowed("POST"),
            _ => error(StatusCode::NOT_FOUND, "no such path"),
        }
    }

    async fn status(&self) -> Reply {
        json(StatusCode::OK, &self.operations.status().await)
    }

    /// What was asked for is under way, and this is how it stands; or it was refused.
    async fn outcome(&self, outcome: Result<(), Refused>) -> Reply {
        match outcome {
            Ok(()) => self.status().await,
            Err(Refused(reason)) => error(StatusCode::CONFLICT, &reason),
        }
    }

    fn events(&self, following: Following) -> Reply {
        let events = follow(Arc::clone(&self.operations), self.ending.clone(), following);
        let mut reply = Response::new(Either::Right(events));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }
}

/// `GET /connections`, `GET /connections?most=100` for some of them, or `GET /connections?holding=10` for
/// those that hold a drain.
#[must_use]
pub fn selection(query: Option<&str>) -> Option<Selection> {
    match query {
        None => Some(Selection::All),
        Some(query) => {
            let (which, number) = query.split_once('=')?;
            let at_most = number.parse().ok()?;
            match which {
                "most" => Some(Selection::Some { at_most }),
                "holding" => Some(Selection::Holding { at_most }),
                _ => None,
            }
        }
    }
}

/// The body of `POST /drain`, as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DrainBody {
    deadline: Option<Period>,
}

async fn body(request: Request<Incoming>) -> Result<Bytes, String> {
    let body = Limited::new(request.into_body(), LONGEST_BODY).collect().await;
    Ok(body.map_err(|error| format!("the body could not be read: {error}"))?.to_bytes())
}

/// What the body of `POST /drain` asks for.
///
/// # Errors
/// What is wrong with it, in words.
pub fn drain_request(body: &[u8]) -> Result<DrainRequest, String> {
    let body = if body.is_empty() {
        DrainBody::default()
    } else {
        serde_json::from_slice(body)
            .map_err(|error| format!(r#"expected a body such as {{"deadline":"30s"}}: {error}"#))?
    };
    let deadline = |period: Period| period.unless_zero().map_or(Deadline::Never, Deadline::After);
    Ok(DrainRequest { deadline: body.deadline.map(deadline) })
}

/// The body of an error.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

fn error(status: StatusCode, message: &str) -> Reply {
    json(status, &ErrorBody { error: message })
}

fn not_allowed(methods: &'static str) -> Reply {
    let mut reply = error(StatusCode::METHOD_NOT_ALLOWED, &format!("expected {methods}"));
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    reply
}

fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let mut text = serde_json::to_string(value).expect("numbers, texts and lists always make JSON");
    text.push('\n');
    whole(status, "application/json", text)
}

fn plain(status: StatusCode, text: &str) -> Reply {
    whole(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn whole(status: StatusCode, kind: &'static str, text: String) -> Reply {
    let mut reply = Response::new(Either::Left(Full::from(text)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
