//! The pages: where clients connect, at `/` a form that sends one request and lists its answers, and a
//! console for messages of any kind; at the admin port, how the gateway stands.
//!
//! Law: each loads nothing from elsewhere and runs no script but its own, which a nonce per response
//! vouches for.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderName, Response};
use http_body_util::Full;

/// A page.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Page<'a> {
    /// The form, for WebSockets at this path.
    Form(&'a str),
    /// The console, for WebSockets at its own path.
    Console,
    /// How the gateway stands, and what an operator may do. Its form opens WebSockets at other ports
    /// than its own.
    Admin,
}

/// A page as an answer.
///
/// # Errors
/// There is no randomness.
pub(crate) fn response(page: Page<'_>) -> Result<Response<Full<Bytes>>, getrandom::Error> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)?;
    Ok(with_nonce(page, &nonce))
}

/// `nonce` must be new for every response.
fn with_nonce(page: Page<'_>, nonce: &[u8; 16]) -> Response<Full<Bytes>> {
    let nonce = format!("{:032x}", u128::from_be_bytes(*nonce));
    let (page, connects) = match page {
        Page::Form(path) => (include_str!("page.html").replace("{path}", &escape(path)), "'self'"),
        Page::Console => (include_str!("console.html").to_owned(), "'self'"),
        Page::Admin => (include_str!("admin.html").to_owned(), "'self' ws: wss:"),
    };
    let page = page.replace("{nonce}", &nonce).replace("{opensrf}", include_str!("opensrf.js"));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src {connects}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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
        for page in [Page::Form("/a\"<b>&"), Page::Console, Page::Admin] {
            policy_vouches_for(page).await;
        }
    }

    async fn policy_vouches_for(shown: Page<'_>) {
        let response = with_nonce(shown, &[0xab; 16]);
        let nonce = "ab".repeat(16);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.contains(&format!("script-src 'nonce-{nonce}';")), "{policy}");
        let page = response.into_body().collect().await.unwrap().to_bytes();
        let page = str::from_utf8(&page).unwrap();
        match shown {
            Page::Form(_) => assert!(page.contains("\"/a&quot;&lt;b>&amp;\""), "it is escaped"),
            Page::Console | Page::Admin => {}
        }
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
        assert!(!["{nonce}", "{path}", "{opensrf}"].iter().any(|left| page.contains(left)));
    }
}
