//! A client's connection, which sorts what it is answered by conversation.

use std::collections::{HashMap, VecDeque};
use std::io;

use serde_json::json;
use slackwater_lab::opensrf;
use slackwater_lab::raw::{End, Message, RawClient, opcode};

use crate::answer::{Arrived, Assembly, Item};
use crate::json::start;
use crate::scenario::Frame;

/// The conversation, and the log trace id, of the requests that only ask whether the connection
/// serves.
pub(crate) const PROBE: &str = "probe";

/// A replay that went otherwise, in words.
#[derive(Debug)]
pub(crate) struct Wrong(pub(crate) String);

impl From<String> for Wrong {
    fn from(words: String) -> Self {
        Self(words)
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// One connection, and what has arrived on it and was not looked at yet.
pub(crate) struct Connection {
    client: RawClient,
    assembly: Assembly,
    arrived: HashMap<Option<String>, VecDeque<Arrived>>,
    probes: u32,
}

impl Connection {
    pub(crate) fn new(client: RawClient) -> Self {
        Self { client, assembly: Assembly::default(), arrived: HashMap::new(), probes: 0 }
    }

    pub(crate) async fn send(&mut self, frame: &Frame) -> Result<(), Wrong> {
        let opcode = match frame {
            Frame::Text(_) => opcode::TEXT,
            Frame::Binary(_) => opcode::BINARY,
        };
        self.client.send_frame(opcode, true, frame.text().as_bytes()).await?;
        Ok(())
    }

    /// The next item of one conversation. The order between conversations is free.
    pub(crate) async fn next(&mut self, thread: &Option<String>) -> Result<Arrived, Wrong> {
        loop {
            if let Some(arrived) = self.arrived.get_mut(thread).and_then(VecDeque::pop_front) {
                return Ok(arrived);
            }
            let message = self.client.read_message().await;
            let Ok(Message::Text(text)) = message else {
                let left = self.left();
                let words = format!("{message:?} in place of an answer for {thread:?}{left}");
                return Err(Wrong(words));
            };
            for arrived in self.assembly.take(&text)? {
                self.arrived.entry(arrived.thread.clone()).or_default().push_back(arrived);
            }
        }
    }

    /// Asks for a sum, to see that the connection and the gateway serve.
    pub(crate) async fn probe(&mut self) -> Result<(), Wrong> {
        self.probes += 1;
        let trace = self.probes;
        let request = opensrf::request("opensrf.math", PROBE, trace, "add", &json!([trace, 40]));
        let request = request.replacen('{', &format!("{{\"log_xid\":\"{PROBE}\","), 1);
        self.client.send_text(&request).await?;
        for (kind, code) in [("RESULT", "200"), ("STATUS", "205")] {
            let arrived = self.next(&Some(PROBE.to_owned())).await?;
            let words = format!("the probe got {arrived:?}");
            let Item::Message(message) = arrived.item else { return Err(Wrong(words)) };
            let sum = message.content.word() == Some(&(trace + 40).to_string());
            let answer = (message.kind.as_str(), message.code.as_str(), message.trace.as_str());
            if answer != (kind, code, trace.to_string().as_str()) || sum != (kind == "RESULT") {
                return Err(Wrong(words));
            }
        }
        Ok(())
    }

    /// Closes in order, after a last probe. Nothing may have come that was not awaited.
    pub(crate) async fn close(&mut self) -> Result<(), Wrong> {
        self.probe().await?;
        self.nothing_left()?;
        self.client.close(1000).await?;
        self.closed(1000, "").await
    }

    /// The gateway closes, as a drain does.
    pub(crate) async fn drained(&mut self) -> Result<(), Wrong> {
        self.nothing_left()?;
        self.closed(1012, "drained").await
    }

    async fn closed(&mut self, code: u16, reason: &str) -> Result<(), Wrong> {
        let message = self.client.read_message().await?;
        if message != (Message::Close { code: Some(code), reason: reason.to_owned() }) {
            return Err(Wrong(format!("{message:?} in place of Close {code} {reason:?}")));
        }
        if code != 1000 {
            self.client.close(code).await?;
        }
        match self.client.end().await? {
            End::Fin => Ok(()),
            End::Reset => Err(Wrong("the connection was reset".to_owned())),
        }
    }

    fn nothing_left(&self) -> Result<(), Wrong> {
        let left = self.left();
        match left.is_empty() && self.assembly.is_empty() {
            true => Ok(()),
            false => Err(Wrong(format!("more came than was awaited, or half a result{left}"))),
        }
    }

    fn left(&self) -> String {
        let left = self.arrived.values().flatten().map(|arrived| start(&format!("{arrived:?}")));
        left.map(|arrived| format!("\n  came unasked: {arrived}")).collect()
    }
}
