//! Messages as a worker reads them: leniently, since anything may have sent them. What cannot be
//! understood is left out, and a request that names no method says so.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::text::Head;

/// The most messages in a body, and params in a request.
const MOST_ELEMENTS: usize = 65_536;

/// A message to a worker.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind<'a>,
    trace: i32,
    locale: Cow<'a, str>,
}

/// What a message wants.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    /// A session. A missing or unknown type counts as this, as it does in OpenSRF.
    Connect,
    /// A method to be run, or words that say what is wrong with the request.
    Request(Result<Request<'a>, &'static str>),
    /// The end of the session.
    Disconnect,
    /// Nothing: a RESULT or STATUS, which are not for workers.
    Answer,
}

/// A method and what it is given.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Cow<'a, str>,
    pub(crate) params: Vec<&'a RawValue>,
}

/// The messages of a body; none if it is not a JSON array.
pub(crate) fn read(body: &str) -> Vec<Message<'_>> {
    let elements = serde_json::from_str(body).unwrap_or(Elements(Vec::new()));
    elements.0.into_iter().filter_map(read_message).collect()
}

impl Message<'_> {
    /// What answers to this message begin with.
    pub(crate) fn head(&self) -> Head {
        Head::new(self.trace, &self.locale)
    }
}

fn read_message(raw: &RawValue) -> Option<Message<'_>> {
    let outer: Classed<'_> = serde_json::from_str(raw.get()).ok()?;
    let (Some("osrfMessage"), Some(inner)) = (outer.class.as_deref(), outer.payload) else {
        return None;
    };
    let fields: Fields<'_> = serde_json::from_str(inner.get()).ok()?;
    let kind = match fields.kind.map(text_of).as_deref() {
        Some("REQUEST") => Kind::Request(read_request(fields.payload)),
        Some("DISCONNECT") => Kind::Disconnect,
        Some("RESULT" | "STATUS") => Kind::Answer,
        Some(_) | None => Kind::Connect,
    };
    Some(Message {
        kind,
        trace: fields.trace.map_or(0, read_trace),
        locale: fields
            .locale
            .map(text_of)
            .filter(|text| is_locale(text))
            .unwrap_or(Cow::Borrowed("en-US")),
    })
}

fn read_request(payload: Option<&RawValue>) -> Result<Request<'_>, &'static str> {
    let no_method = "the request names no method";
    let payload: Classed<'_> =
        serde_json::from_str(payload.ok_or(no_method)?.get()).map_err(|_| no_method)?;
    let call: Call<'_> =
        serde_json::from_str(payload.payload.ok_or(no_method)?.get()).map_err(|_| no_method)?;
    let params = match call.params {
        // Whatever is not an array counts as no params, as it does in C.
        Some(raw) if raw.get().starts_with('[') => {
            serde_json::from_str::<Elements<'_>>(raw.get()).map_err(|_| "too many params")?.0
        }
        Some(_) | None => Vec::new(),
    };
    Ok(Request { method: call.method.filter(|name| !name.is_empty()).ok_or(no_method)?, params })
}

/// A trace is a number or a string of one; what is neither counts as 0, as in C.
fn read_trace(raw: &RawValue) -> i32 {
    raw.get().trim_matches('"').parse().unwrap_or(0)
}

/// The text of a JSON string; of anything else, its JSON.
fn text_of(raw: &RawValue) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(raw.get()).map_or_else(|_| Cow::Borrowed(raw.get()), |Text(text)| text)
}

/// Every answer repeats the locale, so it must be short.
fn is_locale(text: &str) -> bool {
    text.len() <= 16 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// An object with a class hint.
#[derive(Deserialize)]
struct Classed<'a> {
    #[serde(rename = "__c", borrow, default)]
    class: Option<Cow<'a, str>>,
    #[serde(rename = "__p", borrow, default)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "threadTrace", borrow, default)]
    trace: Option<&'a RawValue>,
    #[serde(borrow, default)]
    locale: Option<&'a RawValue>,
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// The elements of an array, at most [`MOST_ELEMENTS`].
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {MOST_ELEMENTS} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < MOST_ELEMENTS {
            match array.next_element()? {
                Some(element) => elements.push(element),
                None => return Ok(Elements(elements)),
            }
        }
        match array.next_element::<IgnoredAny>()? {
            Some(_) => Err(A::Error::invalid_length(MOST_ELEMENTS + 1, &self)),
            None => Ok(Elements(elements)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_without_touching_its_params() {
        let body = r#"[{"__c":"osrfMessage","__p":{"threadTrace":"7","locale":"fr-CA","type":"REQUEST","payload":{"__c":"osrfMethod","__p":{"method":"add","params":[1.0, {"b" :1e5}]}}}}]"#;
        let messages = read(body);
        let [message] = messages.as_slice() else { panic!("one message: {messages:?}") };
        assert_eq!(message.head(), Head::new(7, "fr-CA"));
        let Kind::Request(Ok(request)) = &message.kind else { panic!("{message:?}") };
        assert_eq!(request.method, "add");
        let params: Vec<&str> = request.params.iter().map(|raw| raw.get()).collect();
        assert_eq!(params, ["1.0", r#"{"b" :1e5}"#]);
    }

    #[test]
    fn traces_are_read_as_c_reads_them() {
        for (json, trace) in
            [("7", 7), ("\"7\"", 7), ("-1", -1), ("1.5", 0), ("{}", 0), ("99999999999", 0)]
        {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            assert_eq!(read_trace(raw), trace, "{json}");
        }
    }

    #[test]
    fn missing_and_made_up_types_count_as_connect() {
        let kinds =
            |kind: &str| format!(r#"[{{"__c":"osrfMessage","__p":{{"threadTrace":1{kind}}}}}]"#);
        for kind in ["", r#","type":"BOGUS""#, r#","type":null"#, r#","type":5"#] {
            let body = kinds(kind);
            assert!(matches!(read(&body)[0].kind, Kind::Connect), "{kind}");
        }
        assert!(matches!(read(&kinds(r#","type":"STATUS""#))[0].kind, Kind::Answer));
        assert!(matches!(read(&kinds(r#","type":"DISCONNECT""#))[0].kind, Kind::Disconnect));
    }

    #[test]
    fn a_request_without_a_method_says_so() {
        for payload in [
            "",
            r#","payload":null"#,
            r#","payload":5"#,
            r#","payload":{"__p":null}"#,
            r#","payload":{"__c":"osrfMethod","__p":{"params":[]}}"#,
            r#","payload":{"__c":"osrfMethod","__p":{"method":5}}"#,
            r#","payload":{"__c":"osrfMethod","__p":{"method":""}}"#,
        ] {
            let body = format!(r#"[{{"__c":"osrfMessage","__p":{{"type":"REQUEST"{payload}}}}}]"#);
            assert!(matches!(read(&body)[0].kind, Kind::Request(Err(_))), "{payload}");
        }
    }

    #[test]
    fn what_is_no_message_is_left_out() {
        for body in ["", "nonsense", "{}", "\"hello\"", "[]", "[null]", "[{}]", "[[", "5"] {
            assert!(read(body).is_empty(), "{body}");
        }
    }

    #[test]
    fn deep_nesting_and_endless_arrays_are_survived() {
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        let request = |params: &str| {
            format!(
                r#"[{{"__c":"osrfMessage","__p":{{"type":"REQUEST","payload":{{"__c":"osrfMethod","__p":{{"method":"m","params":{params}}}}}}}}}]"#
            )
        };
        assert!(
            matches!(&read(&request(&deep))[0].kind, Kind::Request(Ok(r)) if r.params.len() == 1)
        );
        let most = format!("[1{}]", ",1".repeat(MOST_ELEMENTS - 1));
        assert!(matches!(&read(&request(&most))[0].kind, Kind::Request(Ok(_))));
        let long = format!("[1{}]", ",1".repeat(MOST_ELEMENTS));
        assert!(matches!(&read(&request(&long))[0].kind, Kind::Request(Err("too many params"))));
    }

    #[test]
    fn an_answer_never_repeats_a_long_or_strange_locale() {
        for locale in ["x".repeat(17), "a\\\"b".to_owned(), "<".to_owned()] {
            let body = format!(r#"[{{"__c":"osrfMessage","__p":{{"locale":"{locale}"}}}}]"#);
            assert_eq!(read(&body)[0].head(), Head::new(0, "en-US"), "{locale}");
        }
    }
}
