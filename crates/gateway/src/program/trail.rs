//! The lines about a client that tools look for in websocketd's output: who has connected, what its
//! program complains of, and that it has gone.

use http::header::{HOST, ORIGIN};

use crate::front::{Arrival, ClientAddress};
use crate::operate::logs::ACCESS;

/// What every line about one client says.
#[derive(Debug)]
pub(crate) struct Trail {
    url: String,
    id: String,
    remote: String,
    command: String,
    origin: String,
}

/// The address of a request, as it is shown.
pub(crate) fn url(request: &http::request::Parts, https: bool) -> String {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if https { "https" } else { "http" };
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{scheme}://{host}{path}")
}

impl Trail {
    /// Says that somebody has connected.
    pub(crate) fn begin(arrival: Arrival<'_>, https: bool, id: &str, command: String) -> Self {
        let origin = arrival.request.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let trail = Self {
            url: url(arrival.request, https),
            id: id.to_owned(),
            remote: remote(&arrival.client),
            command,
            origin: origin.unwrap_or("file:").to_owned(),
        };
        let Self { url, id, remote, command, origin } = &trail;
        tracing::info!(target: ACCESS, category = "session", url, id, remote, command, origin, "CONNECT");
        trail
    }

    /// A line of its program's stderr.
    pub(crate) fn complaint(&self, pid: i32, line: &str) {
        let Self { url, id, remote, command, origin } = self;
        tracing::warn!(category = "stderr", url, id, remote, command, origin, pid, "{line}");
    }

    /// Says that it has gone.
    pub(crate) fn end(&self, pid: i32) {
        let Self { url, id, remote, command, origin } = self;
        tracing::info!(target: ACCESS, category = "session", url, id, remote, command, origin, pid, "DISCONNECT");
    }
}

/// As websocketd shows clients: without their port.
fn remote(client: &ClientAddress) -> String {
    match client {
        ClientAddress::Direct(_) | ClientAddress::Forwarded(_) => client.host(),
        ClientAddress::Unix => "unix-socket".to_owned(),
    }
}
