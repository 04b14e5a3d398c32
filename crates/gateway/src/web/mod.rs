//! What is served over HTTP beside WebSockets, as websocketd does: files, CGI scripts, a page to try
//! WebSockets with.
//!
//! Law: no listing, nothing that begins with a dot, nothing outside of the directories; and what a
//! client sends is in no answer.

mod cgi;
mod redirect;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tower_http::services::ServeDir;
use tower_service::Service as _;

pub(crate) use self::cgi::Cgi;
pub(crate) use self::redirect::{Keeps, redirect};
use crate::config::Web;
use crate::front::{Answer, ClientAddress, Page, page, text};
use crate::operate::logs::ACCESS;
use crate::program::scripts::find;
use crate::program::url;

/// Whether any of it is served.
pub(crate) fn serves(web: &Web) -> bool {
    web.console || web.static_directory.is_some() || web.cgi_directory.is_some()
}

/// Answers a request: by the first of console, CGI script and file that there is.
pub(crate) async fn serve(
    web: &Web,
    cgi: Cgi<'_>,
    request: Request<Incoming>,
    client: ClientAddress,
) -> Answer {
    let (parts, body) = request.into_parts();
    let url = url(&parts, cgi.environment.https);
    let told = |what: &str| tracing::info!(target: ACCESS, category = "http", url, "{what}");
    if web.console {
        told("DEVCONSOLE");
        return match parts.method {
            Method::GET | Method::HEAD => page(Page::Console),
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD"),
        };
    }
    if let Some(directory) = &web.cgi_directory
        && let Some(script) = find(directory, parts.uri.path())
    {
        told("CGI");
        return cgi.run(script, &parts, body, &client).await;
    }
    let Some(directory) = &web.static_directory else {
        told("NOT FOUND");
        return text(StatusCode::NOT_FOUND, "nothing here");
    };
    told("STATIC");
    let path = parts.uri.path();
    // A directory is shown by its index, which has to be in it, too.
    let names_file = find(directory, path).is_some_and(|found| found.info.is_empty())
        || find(directory, &format!("{path}/index.html")).is_some_and(|f| f.info.is_empty());
    if !names_file {
        return text(StatusCode::NOT_FOUND, "nothing here");
    }
    let mut files = ServeDir::new(directory);
    match files.call(Request::from_parts(parts, body)).await {
        Ok(answer) => answer.map(|body| body.map_err(std::io::Error::other).boxed_unsync()),
        Err(never) => match never {},
    }
}
