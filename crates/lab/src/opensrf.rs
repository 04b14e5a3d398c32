//! OpenSRF as a client speaks it: texts to send, and answers taken apart.

use serde_json::{Value, json};

/// A request.
#[must_use]
pub fn request(service: &str, thread: &str, trace: u32, method: &str, params: &Value) -> String {
    let payload = json!({"__c": "osrfMethod", "__p": {"method": method, "params": params}});
    wrapper(service, thread, &[message("REQUEST", trace, Some(&payload))])
}

/// The opening of a session.
#[must_use]
pub fn connect(service: &str, thread: &str) -> String {
    wrapper(service, thread, &[message("CONNECT", 0, None)])
}

/// The end of a session.
#[must_use]
pub fn disconnect(thread: &str) -> String {
    json!({"thread": thread, "osrf_msg": [message("DISCONNECT", 0, None)]}).to_string()
}

/// Messages in the client's wrapper.
#[must_use]
pub fn wrapper(service: &str, thread: &str, messages: &[Value]) -> String {
    json!({"service": service, "thread": thread, "osrf_msg": messages}).to_string()
}

/// One osrfMessage.
#[must_use]
pub fn message(kind: &str, trace: u32, payload: Option<&Value>) -> Value {
    let mut fields = json!({
        "threadTrace": trace, "locale": "en-US", "tz": "America/New_York", "type": kind,
        "api_level": 1,
    });
    if let Some(payload) = payload {
        fields["payload"] = payload.clone();
    }
    json!({"__c": "osrfMessage", "__p": fields})
}

/// One osrfMessage of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The client's thread.
    pub thread: String,
    /// The request that it answers.
    pub trace: u32,
    /// Its status code, of a STATUS or a RESULT.
    pub code: u16,
    /// Whether it is a STATUS.
    pub is_status: bool,
    /// The words of a STATUS.
    pub text: String,
    /// The content of a RESULT.
    pub content: Value,
}

impl Answer {
    /// Whether no more comes for its request.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_status && (self.code == 205 || self.code >= 400)
    }
}

/// Takes a text from the gateway apart; empty if it holds no osrfMessages.
#[must_use]
pub fn answers(text: &str) -> Vec<Answer> {
    let frame: Value = serde_json::from_str(text).unwrap_or_default();
    let thread = frame["thread"].as_str().unwrap_or_default();
    let messages = frame["osrf_msg"].as_array().map(Vec::as_slice).unwrap_or_default();
    messages.iter().map(|message| answer(thread, &message["__p"])).collect()
}

fn answer(thread: &str, fields: &Value) -> Answer {
    let payload = &fields["payload"]["__p"];
    Answer {
        thread: thread.to_owned(),
        trace: number(&fields["threadTrace"]).and_then(|n| n.try_into().ok()).unwrap_or(u32::MAX),
        code: number(&payload["statusCode"]).and_then(|n| n.try_into().ok()).unwrap_or(0),
        is_status: fields["type"] == "STATUS",
        text: payload["status"].as_str().unwrap_or_default().to_owned(),
        content: payload["content"].clone(),
    }
}

/// C sends strings where Perl sends numbers.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
