//! A client that keeps what it was answered.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use slackwater_lab::opensrf::{self, Answer};
use slackwater_lab::process::Gateway;
use slackwater_lab::raw::{End, Message, RawClient};

/// The service that tests hold and release.
pub(crate) const DEMO: &str = "slackwater.demo";

/// One client.
pub(crate) struct Client {
    pub(crate) raw: RawClient,
    answers: VecDeque<Answer>,
}

impl Client {
    pub(crate) async fn of(gateway: &Gateway) -> io::Result<Self> {
        Ok(Self { raw: gateway.connect().await?, answers: VecDeque::new() })
    }

    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.raw.send_text(text).await
    }

    /// Calls `slackwater.demo.METHOD`.
    pub(crate) async fn call(
        &mut self,
        thread: &str,
        trace: u32,
        method: &str,
        params: Value,
    ) -> io::Result<()> {
        let method = format!("{DEMO}.{method}");
        self.send(&opensrf::request(DEMO, thread, trace, &method, &params)).await
    }

    /// The next osrfMessage.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Ok(answer);
            }
            match self.raw.read_message().await? {
                Message::Text(text) => {
                    let answers = opensrf::answers(&text);
                    if answers.is_empty() {
                        return Err(io::Error::other(format!("no osrfMessages: {text}")));
                    }
                    self.answers.extend(answers);
                }
                other @ (Message::Binary(_) | Message::Close { .. }) => {
                    return Err(io::Error::other(format!("{other:?} in place of an answer")));
                }
            }
        }
    }

    /// The final answer of a request, and the contents of its results, chunks put together.
    pub(crate) async fn outcome(
        &mut self,
        thread: &str,
        trace: u32,
    ) -> io::Result<(u16, Vec<Value>)> {
        let (mut contents, mut chunks) = (Vec::new(), String::new());
        loop {
            let answer = self.answer().await?;
            if (answer.thread.as_str(), answer.trace) != (thread, trace) {
                return Err(io::Error::other(format!("{answer:?} in place of {thread} {trace}")));
            }
            if answer.is_final() {
                return Ok((answer.code, contents));
            }
            match answer.code {
                206 => chunks.push_str(answer.content.as_str().unwrap_or_default()),
                204 => contents.push(serde_json::from_str(&std::mem::take(&mut chunks))?),
                _ => contents.push(answer.content),
            }
        }
    }

    /// Opens a session on this thread.
    pub(crate) async fn connect(&mut self, thread: &str) -> io::Result<()> {
        self.send(&opensrf::connect(DEMO, thread)).await?;
        let answer = self.answer().await?;
        if answer.code == 200 { Ok(()) } else { Err(io::Error::other(format!("{answer:?}"))) }
    }

    /// The Close that ends the connection, answered, and how TCP ended.
    pub(crate) async fn closed(&mut self) -> io::Result<(Option<u16>, String, End)> {
        self.raw.closed().await
    }

    /// Asserts that the connection is drained in order.
    pub(crate) async fn assert_drained(&mut self) {
        let end = self.closed().await.expect("a Close");
        assert_eq!(end, (Some(1012), "drained".to_owned(), End::Fin));
    }

    /// Whether nothing but pings comes for so long. Only for what must not come: it proves little
    /// on a slow machine, and nothing wrong on any.
    pub(crate) async fn is_left_alone(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.raw.read_message()).await.is_err()
    }
}

/// Another client, which lets held requests go. An open session keeps it from being drained.
pub(crate) struct Keeper {
    client: Client,
    trace: u32,
}

impl Keeper {
    pub(crate) async fn of(gateway: &Gateway) -> io::Result<Self> {
        let mut client = Client::of(gateway).await?;
        client.connect("keeper").await?;
        Ok(Self { client, trace: 0 })
    }

    /// Lets the request that is held under this label go, as soon as its worker holds it.
    pub(crate) async fn release(&mut self, label: &str) {
        loop {
            self.trace += 1;
            let (client, trace) = (&mut self.client, self.trace);
            client.call("keeper", trace, "release", json!([label, "let go"])).await.expect("sent");
            let (code, contents) = client.outcome("keeper", trace).await.expect("an answer");
            assert_eq!(code, 205);
            if contents == [json!(1)] {
                return;
            }
        }
    }

    /// Leaves its session, and is drained.
    pub(crate) async fn leave(mut self) {
        self.client.send(&opensrf::disconnect("keeper")).await.expect("sent");
        self.client.assert_drained().await;
    }
}
