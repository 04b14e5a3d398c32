//! A gateway seen through its control socket. Whatever answers there has ten seconds for an
//! answer, and thirty for a sign of life during a drain.

mod find;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Failure;
use crate::config::Period;
use crate::operate::control::{PageAddress, Progress};
use crate::operate::status::{Connection, Reloaded, Status};

/// A gateway on this host.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    /// Its control socket.
    path: PathBuf,
}

/// The events of a gateway, until it ends.
#[derive(Debug)]
pub(super) struct Events {
    gateway: Gateway,
    body: Incoming,
    /// What has come of an event that is not yet whole.
    unfinished: Vec<u8>,
}

const PATIENCE: Duration = Duration::from_secs(10);

/// During a drain a gateway sends an event a second.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes of one answer.
const LONGEST_ANSWER: usize = 64 << 20;

/// Bytes of one event.
const LONGEST_EVENT: usize = 1 << 20;

impl Gateway {
    /// The gateway whose control socket is here, if there is one.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// How it stands.
    pub(super) async fn status(&self) -> Result<Status, Failure> {
        self.understood(&self.status_text().await?)
    }

    /// How it stands, in its own words.
    pub(super) async fn status_text(&self) -> Result<String, Failure> {
        self.ask(Method::GET, "/status", String::new()).await
    }

    /// At most so many of the connections that hold a drain.
    pub(super) async fn holding(&self, at_most: usize) -> Result<Vec<Connection>, Failure> {
        let path = format!("/connections?holding={at_most}");
        self.understood(&self.ask(Method::GET, &path, String::new()).await?)
    }

    /// Begins a drain, and says how the gateway stands then.
    pub(super) async fn drain(&self, deadline: Option<Period>) -> Result<Status, Failure> {
        let body =
            deadline.map_or_else(String::new, |period| format!(r#"{{"deadline":"{period}"}}"#));
        self.understood(&self.ask(Method::POST, "/drain", body).await?)
    }

    /// Calls a drain off, and says how the gateway stands then.
    pub(super) async fn undrain(&self) -> Result<Status, Failure> {
        self.understood(&self.ask(Method::POST, "/undrain", String::new()).await?)
    }

    /// Has it read its configuration again, and says what came of it.
    pub(super) async fn reload(&self) -> Result<Reloaded, Failure> {
        self.understood(&self.ask(Method::POST, "/reload", String::new()).await?)
    }

    /// Where its page is, with the key.
    pub(super) async fn page(&self) -> Result<String, Failure> {
        let answer = self.ask(Method::GET, "/page", String::new()).await?;
        Ok(self.understood::<PageAddress>(&answer)?.url)
    }

    /// Follows its progress.
    pub(super) async fn events(&self) -> Result<Events, Failure> {
        let answer = self.send(Method::GET, "/events", String::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.unreachable(format!("GET /events: {}", answer.status())));
        }
        Ok(Events { gateway: self.clone(), body: answer.into_body(), unfinished: Vec::new() })
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<String, Failure> {
        let answer = self.send(method, path, body).await?;
        let status = answer.status();
        let body = timeout(PATIENCE, Limited::new(answer.into_body(), LONGEST_ANSWER).collect());
        let body = match body.await {
            Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            Ok(Err(error)) => return Err(self.unreachable(error)),
            Err(_) => return Err(self.unreachable("no answer within 10s")),
        };
        if status.is_success() {
            return Ok(body);
        }
        let reason = serde_json::from_str::<ErrorBody>(&body).map(|body| body.error);
        Err(Failure::Failed(reason.unwrap_or_else(|_| format!("{path}: {status}"))))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "slackwater")
            .body(Full::<Bytes>::from(body))
            .map_err(|error| self.unreachable(error))?;
        let exchange = async {
            let stream =
                UnixStream::connect(&self.path).await.map_err(|error| self.unreachable(error))?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| self.unreachable(error))?;
            // Its errors are those of the answer, which is read here.
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(|error| self.unreachable(error))
        };
        match timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable("no answer within 10s")),
        }
    }

    fn understood<T: DeserializeOwned>(&self, answer: &str) -> Result<T, Failure> {
        serde_json::from_str(answer)
            .map_err(|error| self.unreachable(format!("is it a gateway of this version? {error}")))
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> Failure {
        Failure::Unreachable(format!("no gateway at {}: {reason}", self.path.display()))
    }
}

impl Events {
    /// The next event; `None` when the gateway has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Progress>, Failure> {
        loop {
            if let Some(event) = take_event(&mut self.unfinished) {
                return self.progress(&event).map(Some);
            }
            if self.unfinished.len() > LONGEST_EVENT {
                return Err(self.gateway.unreachable("an event without end"));
            }
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.unfinished.extend_from_slice(&data);
                    }
                }
                // A gateway that was killed breaks the stream off; it has ended all the same.
                Ok(None | Some(Err(_))) => return Ok(None),
                Err(_) => return Err(self.gateway.unreachable("silent for 30s during a drain")),
            }
        }
    }

    fn progress(&self, event: &str) -> Result<Progress, Failure> {
        serde_json::from_str(event).map_err(|error| self.gateway.unreachable(error))
    }
}

/// The body of an error.
#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

/// Takes the first whole event from the front: its `data:` lines, joined (HTML Living Standard,
/// 9.2.6; only what our gateway sends of it).
fn take_event(unfinished: &mut Vec<u8>) -> Option<String> {
    loop {
        let end = unfinished.windows(2).position(|pair| pair == b"\n\n")?;
        let event: Vec<u8> = unfinished.drain(..end + 2).collect();
        let event = String::from_utf8_lossy(&event);
        let data: Vec<_> = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
        if !data.is_empty() {
            return Some(data.join("\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_whole_however_they_arrive() {
        let stream = b": hello\n\ndata: {\"a\":\ndata: 1}\n\nevent: x\ndata: 2\n\ndata: unfinished";
        let mut unfinished = Vec::new();
        let mut taken = Vec::new();
        for byte in stream {
            unfinished.push(*byte);
            taken.extend(take_event(&mut unfinished));
        }
        assert_eq!(taken, [" {\"a\":\n 1}", " 2"]);
        assert_eq!(unfinished, b"data: unfinished");
    }
}
