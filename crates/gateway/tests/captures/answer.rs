//! Frames from a gateway, taken apart into what is compared: one item for each osrfMessage, and
//! one for a result that came in chunks.

use std::collections::HashMap;

use crate::json::{Json, start};

/// The most text that one chunk may carry, in bytes.
const LARGEST_CHUNK: usize = 51_200;

/// One item of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    /// The conversation that it is for, if it says.
    pub(crate) thread: Option<String>,
    /// Its log trace id.
    pub(crate) xid: Option<String>,
    /// What it says.
    pub(crate) item: Item,
}

/// What an answer says.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// An osrfMessage.
    Message(Message),
    /// The gateway's own `transport_error`, its code.
    Error(String),
}

/// An osrfMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: String,
    pub(crate) trace: String,
    pub(crate) locale: Json,
    pub(crate) class: String,
    /// `statusCode`.
    pub(crate) code: String,
    /// `status`.
    pub(crate) words: Json,
    /// Of a result; null if there is none.
    pub(crate) content: Json,
    /// Put together from several messages with 206 and one with 204.
    pub(crate) chunked: bool,
    /// Which of how many messages it was in its frame; of a chunked one, nothing.
    pub(crate) place: Option<(usize, usize)>,
    /// Written by a C service, a listener or a router: `statusCode` is a string.
    pub(crate) by_c: bool,
}

/// Puts chunks together.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    chunks: HashMap<(Option<String>, String), String>,
}

impl Assembly {
    /// Takes one frame, and gives what is complete with it.
    pub(crate) fn take(&mut self, text: &str) -> Result<Vec<Arrived>, String> {
        let frame = Json::read(text)?;
        let thread = frame.get("thread").word().map(str::to_owned);
        let xid = frame.get("log_xid").word().map(str::to_owned);
        let arrived = |item| Arrived { thread: thread.clone(), xid: xid.clone(), item };
        if let Some(code) = frame.get("error").get("code").word() {
            let says_all = frame.get("transport_error") == Json::Plain("true".to_owned())
                && frame.get("error").get("message").word().is_some_and(|text| !text.is_empty());
            let item = says_all.then(|| Item::Error(code.to_owned()));
            return item.map(|item| vec![arrived(item)]).ok_or_else(|| start(text));
        }
        let osrf_msg = frame.get("osrf_msg");
        let messages = osrf_msg.items();
        if messages.is_empty() {
            return Err(format!("no osrfMessages: {}", start(text)));
        }
        let mut complete = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let mut message = read(message).ok_or_else(|| start(text))?;
            let key = (thread.clone(), message.trace.clone());
            match message.code.as_str() {
                "206" => {
                    let chunk = message.content.word().unwrap_or_default();
                    if chunk.len() > LARGEST_CHUNK || messages.len() > 1 {
                        return Err(format!("a chunk of {} bytes, or not alone", chunk.len()));
                    }
                    self.chunks.entry(key).or_default().push_str(chunk);
                    continue;
                }
                "204" => {
                    let text = self.chunks.remove(&key).ok_or("204 without 206")?;
                    message.content = Json::read(&text)?;
                    message.chunked = true;
                }
                _ => message.place = Some((index, messages.len())),
            }
            complete.push(arrived(Item::Message(message)));
        }
        Ok(complete)
    }

    /// Whether no result is half here.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

fn read(message: &Json) -> Option<Message> {
    let fields = message.get("__p");
    let payload = fields.get("payload");
    let status = payload.get("__p");
    let code = status.get("statusCode");
    Some(Message {
        kind: fields.get("type").word()?.to_owned(),
        trace: fields.get("threadTrace").word()?.to_owned(),
        locale: fields.get("locale"),
        class: payload.get("__c").word()?.to_owned(),
        code: code.word()?.to_owned(),
        words: status.get("status"),
        content: status.get("content"),
        chunked: false,
        place: None,
        by_c: matches!(code, Json::Text(_)),
    })
}
