//! The environment of a program: the variables of CGI (RFC 3875 §4.1), as websocketd gives them.
//! Pure.
//!
//! Law: what a client can name ends up in no variable that means something else. A header whose
//! name holds `_` would overwrite the one that a proxy writes with `-`; `Proxy` would become
//! `HTTP_PROXY`, which programs obey. Neither is passed on.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::front::ClientAddress;

/// What of it is the same for every client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `SERVER_SOFTWARE`.
    pub software: String,
    /// Variables of our own environment that are passed on, with their values.
    pub passed: Vec<(OsString, OsString)>,
    /// Whether clients come over TLS.
    pub https: bool,
}

/// Which script is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script<'a> {
    /// The part of the URL's path that names it, decoded.
    pub(crate) name: &'a str,
    /// What follows, decoded.
    pub(crate) info: &'a str,
}

impl Environment {
    /// The variables for one client, whose host may be known by name.
    pub(crate) fn variables(
        &self,
        request: &Parts,
        (client, named): (&ClientAddress, Option<&str>),
        script: Script<'_>,
        unique: &str,
    ) -> Vec<(OsString, OsString)> {
        let host =
            request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (name, port) = host_and_port(host);
        let (address, client_port) = match client {
            ClientAddress::Direct(address) => {
                (address.ip().to_string(), address.port().to_string())
            }
            ClientAddress::Forwarded(address) => (address.to_string(), String::new()),
            ClientAddress::Unix => ("unix-socket".to_owned(), String::new()),
        };
        let standard_port = if self.https { "443" } else { "80" };
        let uri = request.uri.path_and_query().map_or("/", |uri| uri.as_str());
        let path = OsString::from_vec(percent_decode_str(request.uri.path()).collect());
        let own = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let mut variables = vec![
            own("SERVER_SOFTWARE", &self.software),
            own("REMOTE_ADDR", &address),
            own("REMOTE_HOST", named.unwrap_or(&address)),
            own("SERVER_NAME", name),
            own("SERVER_PORT", port.unwrap_or(standard_port)),
            own("SERVER_PROTOCOL", "HTTP/1.1"),
            own("GATEWAY_INTERFACE", "CGI/1.1"),
            own("REQUEST_METHOD", request.method.as_str()),
            own("SCRIPT_NAME", script.name),
            own("PATH_INFO", script.info),
            (OsString::from("PATH_TRANSLATED"), path),
            own("QUERY_STRING", request.uri.query().unwrap_or_default()),
            own("AUTH_TYPE", ""),
            own("CONTENT_LENGTH", ""),
            own("CONTENT_TYPE", ""),
            own("REMOTE_IDENT", ""),
            own("REMOTE_USER", ""),
            own("UNIQUE_ID", unique),
            own("REMOTE_PORT", &client_port),
            own("REQUEST_URI", uri),
        ];
        if self.https {
            variables.push(own("HTTPS", "on"));
        }
        variables.extend(of_headers(&request.headers));
        let taken = |name: &OsString| variables.iter().any(|(own, _)| own == name);
        let passed: Vec<_> = self.passed.iter().filter(|(name, _)| !taken(name)).cloned().collect();
        variables.extend(passed);
        // No value can hold a NUL: it would end there. One of several lines would be taken for more.
        for (_, value) in &mut variables {
            let mut bytes = std::mem::take(value).into_vec();
            bytes.retain(|byte| *byte != 0);
            bytes.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
            *value = OsString::from_vec(bytes);
        }
        variables
    }
}

/// Every header as `HTTP_NAME`, values of several joined.
fn of_headers(headers: &HeaderMap) -> impl Iterator<Item = (OsString, OsString)> {
    headers.keys().filter(|name| passes(name.as_str())).map(|name| {
        let values: Vec<&[u8]> =
            headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        let variable = format!("HTTP_{}", name.as_str().to_uppercase().replace('-', "_"));
        (OsString::from(variable), OsString::from_vec(values.join(&b", "[..])))
    })
}

fn passes(name: &str) -> bool {
    // websocketd gives no HTTP_HOST: SERVER_NAME and SERVER_PORT say it.
    !name.contains('_') && name != "proxy" && name != HOST.as_str()
}

/// A `Host` header's name and port; an IPv6 address keeps no brackets.
fn host_and_port(host: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use http::Request;

    fn variables(request: http::request::Builder, https: bool) -> BTreeMap<String, String> {
        let environment = Environment {
            software: "slackwater/1".to_owned(),
            passed: vec![("PATH".into(), "/bin".into()), ("HTTP_A".into(), "ours".into())],
            https,
        };
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let client = ClientAddress::of_peer("192.0.2.7:4711".parse().expect("an address"));
        let script = Script { name: "/", info: "" };
        environment
            .variables(&parts, (&client, Some("host.example")), script, "7")
            .into_iter()
            .map(|(name, value)| {
                (name.into_string().expect("UTF-8"), value.to_string_lossy().into_owned())
            })
            .collect()
    }

    #[test]
    fn a_client_cannot_name_a_variable_that_means_something_else() {
        let request = Request::get("/a%20b?x=1")
            .header("Host", "example.org:8080")
            .header("Proxy", "http://evil")
            .header("X_Real_IP", "6.6.6.6")
            .header("X-Real-IP", "1.1.1.1")
            .header("A", "1")
            .header("A", "2");
        let variables = variables(request, false);
        assert!(!variables.contains_key("HTTP_PROXY"));
        assert_eq!(variables["HTTP_X_REAL_IP"], "1.1.1.1");
        assert_eq!(variables["HTTP_A"], "1, 2", "not that of our own environment");
        assert!(!variables.contains_key("HTTP_HOST") && !variables.contains_key("HTTPS"));
        assert_eq!(variables["SERVER_NAME"], "example.org");
        assert_eq!(variables["SERVER_PORT"], "8080");
        assert_eq!(variables["PATH_TRANSLATED"], "/a b");
        assert_eq!(variables["REQUEST_URI"], "/a%20b?x=1");
        assert_eq!(variables["QUERY_STRING"], "x=1");
        assert_eq!(variables["REMOTE_ADDR"], "192.0.2.7");
        assert_eq!(variables["REMOTE_HOST"], "host.example");
        assert_eq!(variables["REMOTE_PORT"], "4711");
        assert_eq!(variables["PATH"], "/bin");
    }

    #[test]
    fn the_port_is_that_of_the_scheme_unless_named() {
        let port = |host: &str, https| {
            variables(Request::get("/").header("Host", host), https)["SERVER_PORT"].clone()
        };
        assert_eq!(port("example.org", false), "80");
        assert_eq!(port("example.org", true), "443");
        assert_eq!(port("[::1]", false), "80");
        assert_eq!(port("[::1]:99", false), "99");
        let variables = variables(Request::get("/").header("Host", "[::1]:99"), true);
        assert_eq!((&*variables["SERVER_NAME"], &*variables["HTTPS"]), ("::1", "on"));
    }
}
