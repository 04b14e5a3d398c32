//! The page at `/`: a form that sends one request and lists its answers.
//!
//! Law: it loads nothing from elsewhere and runs no script but its own, which a nonce per response
//! vouches for.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderName, Response};
use http_body_util::Full;

/// The page, for WebSockets at this path. `nonce` must be new for every response.
pub(super) fn response(websocket_path: &str, nonce: &[u8; 16]) -> Response<Full<Bytes>> {
    let nonce = hex(nonce);
    let page = include_str!("page.html")
        .replace("{nonce}", &nonce)
        .replace("{path}", &escape(websocket_path));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = Response::new(Full::from(page));
    let headers: [(HeaderName, &str); 6] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, &policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// For use inside a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn the_policy_vouches_for_what_the_page_holds_and_nothing_else() {
        let response = response("/a\"<b>&", &[0xab; 16]);
        let nonce = "ab".repeat(16);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.contains(&format!("script-src 'nonce-{nonce}';")), "{policy}");
        let page = response.into_body().collect().await.unwrap().to_bytes();
        let page = str::from_utf8(&page).unwrap();
        assert!(page.contains("\"/a&quot;&lt;b>&amp;\""), "the path is escaped");
        assert_eq!(
            page.matches("<script").count(),
            page.matches(&format!("<script nonce=\"{nonce}\"")).count()
        );
        assert_eq!(
            page.matches("<style").count(),
            page.matches(&format!("<style nonce=\"{nonce}\"")).count()
        );
        for elsewhere in ["http://", "https://", "//cdn", "src=", "style=", "onclick="] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        assert!(!page.contains("{nonce}") && !page.contains("{path}"));
    }
}
