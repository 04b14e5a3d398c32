//! JSON compared as values, but numbers by their text: `1.0` is not `1`, and no digit may be lost.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    /// A number, `true`, `false` or `null`, as it is written.
    Plain(String),
    /// A string, its escapes read.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(BTreeMap<String, Self>),
}

impl Json {
    /// Reads a text.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |error: serde_json::Error| format!("{error} in {}", start(text));
        match text.bytes().next() {
            Some(b'"') => serde_json::from_str(text).map(Self::Text).map_err(wrong),
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
                items
                    .into_iter()
                    .map(|item| Self::read(item.get()))
                    .collect::<Result<_, _>>()
                    .map(Self::Array)
            }
            Some(b'{') => {
                let entries: BTreeMap<String, &RawValue> =
                    serde_json::from_str(text).map_err(wrong)?;
                let read = |(key, item): (String, &RawValue)| Ok((key, Self::read(item.get())?));
                entries.into_iter().map(read).collect::<Result<_, String>>().map(Self::Object)
            }
            Some(_) | None => {
                serde_json::from_str::<&RawValue>(text).map_err(wrong)?;
                Ok(Self::Plain(text.to_owned()))
            }
        }
    }

    /// The value under this key; null if there is none.
    pub(crate) fn get(&self, key: &str) -> Self {
        match self {
            Self::Object(entries) => entries.get(key).cloned(),
            Self::Plain(_) | Self::Text(_) | Self::Array(_) => None,
        }
        .unwrap_or_else(|| Self::Plain("null".to_owned()))
    }

    /// The elements, if this is an array.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            Self::Plain(_) | Self::Text(_) | Self::Object(_) => &[],
        }
    }

    /// A string's text, or a number's: C writes strings where Perl writes numbers.
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Plain(text) if text == "null" => None,
            Self::Plain(text) | Self::Text(text) => Some(text),
            Self::Array(_) | Self::Object(_) => None,
        }
    }
}

/// The beginning of a text, for an error.
pub(crate) fn start(text: &str) -> String {
    text.chars().take(300).collect()
}

#[test]
fn numbers_are_texts_and_the_order_of_keys_is_free() {
    let read = |text| Json::read(text).expect("JSON");
    assert_eq!(read(r#"{"a":[1.0,"\u00e9"],"b":null}"#), read(r#"{ "b":null, "a":[1.0, "é"] }"#));
    assert_ne!(read("1.0"), read("1"));
    assert_ne!(read("\"1\""), read("1"));
    assert!(Json::read("[1,]").is_err());
}
