//! What is asked of the control API.

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use slackwater::operate::control::{Key, drain_request, may_operate, selection};

/// Whatever is asked, it is understood or refused in words, and nobody without the key may operate.
pub fn control_api(data: &[u8]) {
    if let Err(said) = drain_request(data) {
        assert!(!said.is_empty() && said.len() < 4_096, "{said}");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _understood = selection(Some(text));
    }
    let key = Key::random().expect("randomness");
    let mut headers = HeaderMap::new();
    let names = [HOST, ORIGIN, AUTHORIZATION, HeaderName::from_static("sec-fetch-site")];
    for (name, line) in names.into_iter().zip(data.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.insert(name, value);
        }
    }
    assert!(may_operate(&key, &headers, true).is_err(), "without the key");
    let right = format!("Bearer {}", key.reveal());
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&right).expect("hexadecimal"));
    assert!(may_operate(&key, &headers, false).is_err(), "from elsewhere");
    if may_operate(&key, &headers, true).is_ok() {
        let host = headers[HOST].to_str().expect("it was understood");
        let name = host.trim_start_matches('[');
        assert!(
            name.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')
                || name.to_ascii_lowercase().starts_with("localhost"),
            "{host}"
        );
        if let Some(origin) = headers.get(ORIGIN) {
            assert_eq!(origin.as_bytes(), format!("http://{host}").as_bytes());
        }
    }
}
