//! What an operator sees: metrics as Prometheus reads them, the page as a browser shows it, and
//! `status --watch` as a terminal does.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod logs;
mod metrics;
mod page;
mod watch;

use std::io;
use std::net::SocketAddr;

use slackwater_lab::opensrf;
use slackwater_lab::process::Gateway;
use slackwater_lab::raw::{Message, RawClient, exchange};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");

/// A gateway with an admin port.
pub(crate) struct Seen {
    pub(crate) gateway: Gateway,
    pub(crate) admin: SocketAddr,
}

impl Seen {
    pub(crate) async fn start(options: &[&str]) -> Self {
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = admin.to_string();
        let options = [&["--admin-listen", &port], options].concat();
        Self { gateway: Gateway::start(PROGRAM, &options).await.unwrap(), admin }
    }

    /// What the admin port answers.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.admin);
        let answer = exchange(self.admin, request.as_bytes()).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect(head);
        (code, body.to_owned())
    }
}

/// Asks and waits for the final answer; gives its code.
pub(crate) async fn call(
    client: &mut RawClient,
    trace: u32,
    service: &str,
    method: &str,
    params: serde_json::Value,
) -> io::Result<u16> {
    client.send_text(&opensrf::request(service, "t", trace, method, &params)).await?;
    loop {
        let Message::Text(text) = client.read_message().await? else {
            return Err(io::Error::other("closed"));
        };
        let answers = opensrf::answers(&text);
        if let Some(last) = answers.into_iter().find(|a| a.is_final() && a.trace == trace) {
            return Ok(last.code);
        }
    }
}
