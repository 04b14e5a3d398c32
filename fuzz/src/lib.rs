//! Each target takes any bytes and panics where a promise is broken. The fuzzer calls them, and so
//! does the test that replays the corpus on a stable toolchain (`cargo test`).
//!
//! To look for more: `RUSTC_BOOTSTRAP=1 cargo fuzz run --features libfuzzer TARGET` in this folder.
#![forbid(unsafe_code)]

mod answers;
mod config_files;
mod control_requests;
mod frames;
mod handshakes;
mod json;
mod opensrf_files;
mod proxy_headers;
mod redis_envelopes;
mod script;
mod wrappers;
mod xmpp_streams;

pub use self::answers::envelope;
pub use self::config_files::config_file;
pub use self::control_requests::control_api;
pub use self::handshakes::http_upgrade;
pub use self::json::json_check;
pub use self::opensrf_files::opensrf_core;
pub use self::proxy_headers::proxy_header;
pub use self::redis_envelopes::redis_envelope;
pub use self::script::session;
pub use self::frames::websocket;
pub use self::wrappers::wrapper;
pub use self::xmpp_streams::xmpp_stream;

/// A target, by the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 12] = [
    ("session", session),
    ("wrapper", wrapper),
    ("envelope", envelope),
    ("json_check", json_check),
    ("websocket", websocket),
    ("http_upgrade", http_upgrade),
    ("proxy_header", proxy_header),
    ("redis_envelope", redis_envelope),
    ("opensrf_core", opensrf_core),
    ("xmpp_stream", xmpp_stream),
    ("config_file", config_file),
    ("control_api", control_api),
];
