//! Finds what stands where in a JSON text that is known to be sound, in one pass: each byte is
//! looked at once, however deep it lies, and nothing is copied.
//!
//! Law: soundness is [`Sound`]'s, not checked again here. Of a text that were not sound, parts
//! would be found wrongly; the walk would still end, and within the text.

use std::borrow::Cow;

use memchr::memchr2;

use super::json::Json;

/// A text that holds one JSON value and nothing else but white space.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sound<'a>(&'a str);

impl<'a> Sound<'a> {
    /// A text that [`check`](super::check::check) has passed, or that we have put together.
    pub(super) const fn checked(text: &'a str) -> Self {
        Self(text)
    }

    pub(super) fn json(json: &'a Json) -> Self {
        Self(json)
    }

    pub(super) fn walk(self) -> Walk<'a> {
        let mut walk = Walk { text: self.0, at: 0 };
        walk.space();
        walk
    }
}

/// What [`Walk::classed`] has passed.
#[derive(Debug)]
pub(super) struct Classed<'a> {
    /// All of it, whatever it is.
    pub(super) text: &'a str,
    /// `__c`, if it is a string.
    pub(super) class: Option<Cow<'a, str>>,
    /// The text of `__p`, if it is an object.
    pub(super) fields: Option<&'a str>,
}

/// Stands before a value, and passes it when asked for it.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    /// Passes the value, whatever it is, and gives its text.
    pub(super) fn value(&mut self) -> &'a str {
        let start = self.at;
        match self.byte() {
            b'"' => self.string(),
            b'{' | b'[' => self.nested(),
            _ => self.bare(),
        }
        self.since(start)
    }

    /// Passes the value and gives its text, if it is an object. `member` gets each of its keys and
    /// a walk that stands before the key's value; what it leaves is passed for it.
    pub(super) fn object(&mut self, mut member: impl FnMut(&str, &mut Self)) -> Option<&'a str> {
        self.each(b'{', b'}', |walk| {
            let key = walk.value();
            walk.space();
            walk.at += 1;
            walk.space();
            let value = walk.at;
            // One that is no text, such as half of a surrogate pair, is nobody's; its value is passed.
            if let Some(key) = string(key) {
                member(&key, walk);
            }
            if walk.at == value {
                walk.value();
            }
        })
    }

    /// The same for an object with a class hint, `{"__c":…,"__p":…}`. `field` gets the members of
    /// `__p`, if that is an object.
    pub(super) fn classed(&mut self, mut field: impl FnMut(&str, &mut Self)) -> Classed<'a> {
        let (mut class, mut fields) = (None, None);
        let text = self.object(|key, walk| match key {
            "__c" => class = Some(walk.value()),
            "__p" => fields = walk.object(&mut field),
            _ => {}
        });
        let text = text.unwrap_or_else(|| self.value());
        Classed { text, class: class.and_then(string), fields }
    }

    /// The same for an array and its items.
    pub(super) fn array(&mut self, mut item: impl FnMut(&mut Self)) -> Option<&'a str> {
        self.each(b'[', b']', |walk| {
            let start = walk.at;
            item(walk);
            if walk.at == start {
                walk.value();
            }
        })
    }

    fn each(&mut self, open: u8, close: u8, mut one: impl FnMut(&mut Self)) -> Option<&'a str> {
        if self.byte() != open {
            return None;
        }
        let start = self.at;
        self.at += 1;
        self.space();
        while self.at < self.text.len() && self.byte() != close {
            let before = self.at;
            one(self);
            self.space();
            if self.byte() == b',' {
                self.at += 1;
                self.space();
            } else if self.at == before {
                break;
            }
        }
        self.at += 1;
        Some(self.since(start))
    }

    /// Passes an object or array without a look at what is in it.
    fn nested(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            match self.byte() {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.at += 1;
        let bytes = self.text.as_bytes();
        while let Some(rest) = bytes.get(self.at..)
            && let Some(found) = memchr2(b'"', b'\\', rest)
        {
            self.at += found + 1;
            if rest[found] == b'"' {
                return;
            }
            // The one behind a backslash means nothing to us.
            self.at += 1;
        }
        self.at = bytes.len();
    }

    /// A number, true, false or null.
    fn bare(&mut self) {
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }

    fn space(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// The byte at which we stand; at the end, one that means nothing.
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at.min(self.text.len())).unwrap_or_default()
    }
}

/// The text of a JSON string; of any other value, nothing.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    /// Reads a value with nothing but a walk.
    fn rebuilt(walk: &mut Walk<'_>) -> Value {
        let mut members = Map::new();
        let object = walk.object(|key, walk| {
            members.insert(key.to_owned(), rebuilt(walk));
        });
        if object.is_some() {
            return Value::Object(members);
        }
        let mut items = Vec::new();
        if walk.array(|walk| items.push(rebuilt(walk))).is_some() {
            return Value::Array(items);
        }
        serde_json::from_str(walk.value()).expect("one value")
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
            any::<String>().prop_map(Value::from),
            r#"[\\"\[\]{}:, ]{0,6}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(r#"[a-c\\"{}\[\]é]{0,3}"#, inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn all_is_found_where_it_stands(value in value(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = format!(" {}\n", text.unwrap());
            let json = Json::read(&text).expect("JSON");
            let sound = Sound::json(&json);
            prop_assert_eq!(rebuilt(&mut sound.walk()), value.clone());
            prop_assert_eq!(sound.walk().value(), text.trim());
            prop_assert_eq!(Sound::checked(&text).walk().value(), text.trim());
        }

        /// Not that it could happen; but a walk that never ended would stop the whole gateway.
        #[test]
        fn a_walk_ends_even_in_rubbish(text in r#"[\[\]{}",:\\ a1é]{0,30}"#) {
            let sound = Sound::checked(&text);
            sound.walk().value();
            sound.walk().object(|_, walk| { walk.value(); });
            sound.walk().array(|walk| { walk.object(|_, walk| { walk.array(|_| {}); }); });
        }
    }

    #[test]
    fn what_is_left_is_passed() {
        let text = r#"{"a":[1,{"b":"]}"}],"\u0063":2,"d":{}}"#;
        let mut seen = Vec::new();
        let whole = Sound::checked(text).walk().object(|key, walk| {
            let value = (key == "c").then(|| walk.value().to_owned());
            seen.push((key.to_owned(), value));
        });
        assert_eq!(whole, Some(text));
        let seen: Vec<_> =
            seen.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(seen, [("a", None), ("c", Some("2")), ("d", None)]);
        let mut walk = Sound::checked("[1]").walk();
        assert!(walk.object(|_, _| {}).is_none());
        assert_eq!(walk.value(), "[1]", "it stands where it stood");
    }
}
