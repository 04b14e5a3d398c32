//! `slackwater request`: one request through a gateway, as any WebSocket client would send it.

mod answers;

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::Uri;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_websockets::{ClientBuilder, Limits, Message};

use self::answers::{Answer, Answers};
use super::{Failure, print, shown};
use crate::cli::RequestOptions;

/// Bytes of one message from the gateway.
const LONGEST_MESSAGE: usize = 64 << 20;

pub(super) async fn run(options: &RequestOptions) -> Result<u8, Failure> {
    let url = gateway_url(&options.url)?;
    let params = params(&options.params)?;
    let thread = thread()?;
    let request = message(&thread, &options.service, &options.method, &params)?;
    let exchange = exchange(url, options.ca.as_deref(), request, Answers::new(thread));
    match timeout(options.timeout.duration(), exchange).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::Failed("no complete answer in time (--timeout)".to_owned())),
    }
}

/// Sends the request and prints its answers until the last one.
async fn exchange(
    url: Uri,
    authorities: Option<&Path>,
    request: String,
    mut answers: Answers,
) -> Result<u8, Failure> {
    let stream = connect(&url, authorities).await?;
    let connecting = ClientBuilder::from_uri(url.clone())
        .limits(Limits::default().max_payload_len(Some(LONGEST_MESSAGE)));
    let gone = |reason: &dyn Display| unreachable(&url, reason);
    let (mut socket, _) = connecting.connect_on(stream).await.map_err(|error| gone(&error))?;
    socket.send(Message::text(request)).await.map_err(|error| gone(&error))?;
    while let Some(message) = socket.next().await {
        let message = message.map_err(|error| Failure::Failed(format!("{url}: {error}")))?;
        if let Some((code, reason)) = message.as_close() {
            let (code, reason) = (u16::from(code), shown::words(reason));
            return Err(Failure::Failed(format!("closed without an answer: {code} {reason}")));
        }
        let Some(text) = message.as_text() else { continue };
        for answer in answers.take(text)? {
            match answer {
                Answer::Content(content) => print::line(content)?,
                Answer::Complete => {
                    // Politeness; the answer is here whatever comes of it.
                    socket.close().await.unwrap_or_default();
                    return Ok(0);
                }
            }
        }
    }
    Err(Failure::Failed("the connection ended without an answer".to_owned()))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The byte stream to a gateway, over TLS for `wss:`.
async fn connect(url: &Uri, authorities: Option<&Path>) -> Result<Box<dyn Stream>, Failure> {
    let gone = |reason: &dyn Display| unreachable(url, reason);
    let is_secure = is_secure(url);
    // IPv6 addresses stand in brackets.
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(|error| gone(&error))?;
    if !is_secure {
        return Ok(Box::new(stream));
    }
    let config = slackwater_bus::tls_client(authorities);
    let config = config.map_err(|error| Failure::Usage(format!("--ca: {error}")))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| gone(&error))?;
    let securing = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Box::new(securing.await.map_err(|error| gone(&error))?))
}

fn unreachable(url: &Uri, reason: &dyn Display) -> Failure {
    Failure::Unreachable(format!("{url}: {reason}"))
}

fn is_secure(url: &Uri) -> bool {
    url.scheme_str() == Some("wss")
}

fn gateway_url(text: &str) -> Result<Uri, Failure> {
    let wrong =
        || Failure::Usage(format!("--url {text}: expected ws://HOST:PORT/ or wss://HOST:PORT/"));
    let url: Uri = text.parse().map_err(|_| wrong())?;
    match (url.scheme_str(), url.host()) {
        (Some("ws" | "wss"), Some(_)) => Ok(url),
        _ => Err(wrong()),
    }
}

fn params(texts: &[String]) -> Result<Vec<&RawValue>, Failure> {
    texts.iter().map(|text| param(text)).collect()
}

fn param(text: &str) -> Result<&RawValue, Failure> {
    serde_json::from_str(text).map_err(|_| {
        let quoted = serde_json::Value::from(text);
        Failure::Usage(format!("{text} is not JSON; a text needs its quotes: '{quoted}'"))
    })
}

/// A name for the conversation that no other client has.
fn thread() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

fn message(
    thread: &str,
    service: &str,
    method: &str,
    params: &[&RawValue],
) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Classed<T> {
        __c: &'static str,
        __p: T,
    }
    #[derive(Serialize)]
    struct Wrapper<'a> {
        service: &'a str,
        thread: &'a str,
        osrf_msg: [Classed<Request<'a>>; 1],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        thread_trace: u32,
        locale: &'static str,
        r#type: &'static str,
        payload: Classed<Method<'a>>,
    }
    #[derive(Serialize)]
    struct Method<'a> {
        method: &'a str,
        params: &'a [&'a RawValue],
    }
    let payload = Classed { __c: "osrfMethod", __p: Method { method, params } };
    let request = Request { thread_trace: 1, locale: "en-US", r#type: "REQUEST", payload };
    let osrf_msg = [Classed { __c: "osrfMessage", __p: request }];
    serde_json::to_string(&Wrapper { service, thread, osrf_msg })
        .map_err(|error| Failure::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_carries_its_params_byte_for_byte() {
        let texts = ["1.0", r#"{"b": 1e5,"a":"\u00fc"}"#].map(str::to_owned);
        let text = message("t", "opensrf.math", "add", &params(&texts).unwrap()).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"service":"opensrf.math","thread":"t","osrf_msg":[{"__c":"osrfMessage","__p":"#,
                r#"{"threadTrace":1,"locale":"en-US","type":"REQUEST","payload":{"__c":"osrfMethod","#,
                r#""__p":{"method":"add","params":[1.0,{"b": 1e5,"a":"\u00fc"}]}}}}]}"#
            )
        );
    }

    #[test]
    fn a_param_that_is_not_json_is_told_to_be_quoted() {
        for (text, expected) in [
            ("hello", r#"hello is not JSON; a text needs its quotes: '"hello"'"#),
            ("1 2", r#"1 2 is not JSON; a text needs its quotes: '"1 2"'"#),
            ("\"", r#"" is not JSON; a text needs its quotes: '"\""'"#),
        ] {
            let error = params(&[text.to_owned()]).unwrap_err();
            assert_eq!(error, Failure::Usage(expected.to_owned()));
        }
    }

    #[test]
    fn only_websocket_urls_are_taken() {
        assert!(gateway_url("ws://127.0.0.1:7682/").is_ok());
        assert!(gateway_url("ws://[::1]:7682/osrf-websocket-translator").is_ok());
        assert!(gateway_url("wss://catalog.example.org/osrf-websocket-translator").is_ok());
        for url in ["", "127.0.0.1:7682", "http://x/", "https://x/", "ws://"] {
            assert!(matches!(gateway_url(url), Err(Failure::Usage(_))), "{url}");
        }
    }
}
