//! What only `slackwater websocketd` can be told: scripts by URL, and what is served beside
//! WebSockets.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

/// What is served, and how, as websocketd does it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Web {
    /// Below this directory, the URL's path names the program.
    pub scripts: Option<PathBuf>,
    /// Files in here are served.
    pub static_directory: Option<PathBuf>,
    /// Programs in here are run as CGI scripts.
    pub cgi_directory: Option<PathBuf>,
    /// A page to try WebSockets with is served at every path.
    pub console: bool,
    /// A port of each address from which browsers are sent to the first one.
    pub redirect_port: Option<u16>,
    /// `REMOTE_HOST` is looked up.
    pub reverse_lookup: bool,
    /// Who names no origin is refused if any is.
    pub requires_origin: bool,
    /// Put into every answer that opens a WebSocket.
    pub upgrade_headers: Vec<(HeaderName, HeaderValue)>,
    /// Put into every other answer.
    pub other_headers: Vec<(HeaderName, HeaderValue)>,
}
