//! An envelope on Redis, taken apart into what is compared. Numbers are compared by their text, but
//! `threadTrace` by its word: C makes a string of it, the gateway passes it as it came.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::{Json, start};

/// An envelope.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) keys: BTreeSet<String>,
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) thread: String,
    pub(crate) xid: Option<String>,
    pub(crate) messages: Vec<Json>,
}

impl Envelope {
    /// Reads one.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let envelope = Json::read(text)?;
        let Json::Object(fields) = &envelope else { return Err(start(text)) };
        let word = |name: &str| envelope.get(name).word().map(str::to_owned);
        let Some(Json::Array(messages)) = fields.get("body") else {
            return Err(format!("body is no array: {}", start(text)));
        };
        Ok(Self {
            keys: fields.keys().cloned().collect(),
            to: word("to").unwrap_or_default(),
            from: word("from").unwrap_or_default(),
            thread: word("thread").unwrap_or_default(),
            xid: word("osrf_xid"),
            messages: messages.iter().cloned().map(with_trace_as_word).collect(),
        })
    }
}

/// The service that an envelope for a router is addressed to.
pub(crate) fn service_of(to: &str) -> &str {
    to.strip_prefix("opensrf:service:_:_:").unwrap_or_default()
}

/// Whether one of these messages is of this type.
pub(crate) fn holds(messages: &[Json], kind: &str) -> bool {
    messages.iter().any(|message| message.get("__p").get("type").word() == Some(kind))
}

/// The messages of a frame as they go out if nothing of them is changed but what must be:
/// `ingress` is the gateway's, and what a worker must not miss is there.
pub(crate) fn as_sent(frame: &str) -> Result<Vec<Json>, String> {
    Json::read(frame)?.get("osrf_msg").items().iter().map(completed).collect()
}

/// The DISCONNECT by which the gateway ends a session that its client has left behind.
pub(crate) fn farewell() -> Vec<Json> {
    let text = r#"{"__c":"osrfMessage","__p":{"threadTrace":"0","locale":"en-US","ingress":"ws-translator-v2","type":"DISCONNECT"}}"#;
    vec![Json::read(text).expect("JSON")]
}

fn completed(message: &Json) -> Result<Json, String> {
    let text = |text: &str| Json::Text(text.to_owned());
    let null = || Json::Plain("null".to_owned());
    let Json::Object(mut outer) = message.clone() else { return Err("no message".to_owned()) };
    let Some(Json::Object(fields)) = outer.get_mut("__p") else {
        return Err("no __p".to_owned());
    };
    fields.insert("ingress".to_owned(), text("ws-translator-v2"));
    fields.entry("locale".to_owned()).or_insert_with(|| text("en-US"));
    fields.entry("threadTrace".to_owned()).or_insert_with(|| text("0"));
    if let Some(Json::Object(payload)) = fields.get_mut("payload")
        && let Some(Json::Object(call)) = payload.get_mut("__p")
    {
        call.entry("params".to_owned()).or_insert_with(null);
    }
    Ok(with_trace_as_word(Json::Object(outer)))
}

fn with_trace_as_word(message: Json) -> Json {
    let Json::Object(mut outer) = message else { return message };
    if let Some(Json::Object(fields)) = outer.get_mut("__p")
        && let Some(trace) = fields.get_mut("threadTrace")
        && let Some(word) = trace.word().map(str::to_owned)
    {
        *trace = Json::Text(word);
    }
    Json::Object(outer)
}

/// Where two rows of messages differ, field by field; nothing if they do not.
pub(crate) fn difference(expected: &[Json], came: &[Json]) -> Option<String> {
    if expected.len() != came.len() {
        return Some(format!("{} messages in the place of {}", came.len(), expected.len()));
    }
    let mut pairs = expected.iter().zip(came).enumerate();
    pairs.find_map(|(index, (expected, came))| between(&index.to_string(), expected, came))
}

fn between(path: &str, expected: &Json, came: &Json) -> Option<String> {
    if expected == came {
        return None;
    }
    if let (Json::Object(expected), Json::Object(came)) = (expected, came) {
        let fields: BTreeMap<&String, (Option<&Json>, Option<&Json>)> = expected
            .keys()
            .chain(came.keys())
            .map(|key| (key, (expected.get(key), came.get(key))))
            .collect();
        return fields.into_iter().find_map(|(key, pair)| {
            let path = format!("{path}.{key}");
            match pair {
                (Some(expected), Some(came)) => between(&path, expected, came),
                (Some(_), None) => Some(format!("{path} is missing")),
                (None, _) => Some(format!("{path} is too much")),
            }
        });
    }
    let (expected, came) = (format!("{expected:?}"), format!("{came:?}"));
    Some(format!("{path}: {} in the place of {}", start(&came), start(&expected)))
}

#[test]
fn every_field_is_compared_and_numbers_by_their_text() {
    let envelope = |trace: &str, more: &str| {
        let text = format!(
            r#"{{"to":"a","from":"b","thread":"t","osrf_xid":null,"body":[{{"__c":"osrfMessage","__p":{{"threadTrace":{trace},"type":"REQUEST"{more}}}}}]}}"#
        );
        Envelope::read(&text).expect("an envelope")
    };
    let one = envelope("1", r#","payload":[1.0,"é"]"#);
    assert!(holds(&one.messages, "REQUEST") && !holds(&one.messages, "CONNECT"));
    let differs = |other: &Envelope| difference(&one.messages, &other.messages);
    assert_eq!(differs(&envelope("\"1\"", r#","payload":[1.0,"\u00e9"]"#)), None);
    for other in [
        envelope("2", r#","payload":[1.0,"é"]"#),
        envelope("1", r#","payload":[1,"é"]"#),
        envelope("1", r#","payload":[1.0,"é"],"tz":null"#),
        envelope("1", ""),
    ] {
        assert!(differs(&other).is_some(), "{other:?}");
    }
}
