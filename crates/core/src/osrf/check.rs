//! Every JSON text from a client is checked here, whole, before anything else looks at it: what
//! passes can be read by every parser behind the gateway, and kills none of them.
//!
//! Refused beyond plain syntax, since services crash, hang or stay silent on it: nesting deeper
//! than a limit, `\u0000`, lone surrogates, an object that names a key twice, and numbers that do
//! not fit a double.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The deepest nesting that [`check`] can be asked for: its own stack use is bounded by it.
pub const MAX_DEPTH: usize = 1_000;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at byte {offset})")]
pub struct JsonFault {
    /// A word for programs: `invalid_json`, `too_deep`, `nul_character` or `duplicate_key`.
    pub code: &'static str,
    /// Words for people.
    pub message: String,
    /// Where in the text, in bytes from its start.
    pub offset: usize,
}

/// Checks that `text` is exactly one JSON value that every parser behind the gateway can take.
///
/// `depth` is the number of nested arrays and objects allowed, at most [`MAX_DEPTH`].
///
/// # Errors
/// The first fault found.
pub fn check(text: &str, depth: usize) -> Result<(), JsonFault> {
    let (code, keys) = (Cell::new("invalid_json"), RefCell::default());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // Our own count replaces serde_json's fixed one of 128.
    deserializer.disable_recursion_limit();
    Value { depth: depth.min(MAX_DEPTH), code: &code, keys: &keys }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| JsonFault {
            code: code.get(),
            message: words(&error),
            offset: offset(text, &error),
        })
}

#[derive(Clone, Copy)]
struct Value<'c, 'de> {
    depth: usize,
    code: &'c Cell<&'static str>,
    /// The first keys of every object that is open, the innermost's last.
    keys: &'c RefCell<Vec<Cow<'de, str>>>,
}

impl Value<'_, '_> {
    fn fail<E: Error>(self, code: &'static str, message: impl fmt::Display) -> E {
        self.code.set(code);
        E::custom(message)
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.fail("too_deep", "arrays and objects are nested too deeply")),
        }
    }

    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(self.fail("nul_character", "a string holds the character \\u0000"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut object = Object::new(self.keys);
        while let Some(key) = entries.next_key_seed(Key)? {
            self.text(&key)?;
            if let Some(twice) = object.insert(key) {
                return Err(
                    self.fail("duplicate_key", format_args!("the key {twice:?} is there twice"))
                );
            }
            entries.next_value_seed(inner)?;
        }
        object.close();
        Ok(())
    }
}

/// The keys of one object. Nearly all have few, and then comparing beats hashing, and one list for
/// all objects beats one each.
struct Object<'c, 'de> {
    keys: &'c RefCell<Vec<Cow<'de, str>>>,
    /// Where in the list ours begin and end.
    few: Range<usize>,
    many: HashSet<Cow<'de, str>>,
}

impl<'c, 'de> Object<'c, 'de> {
    const FEW: usize = 12;

    fn new(keys: &'c RefCell<Vec<Cow<'de, str>>>) -> Self {
        let end = keys.borrow().len();
        Self { keys, few: end..end, many: HashSet::new() }
    }

    /// Gives the key back if it was there already.
    fn insert(&mut self, key: Cow<'de, str>) -> Option<Cow<'de, str>> {
        let mut keys = self.keys.borrow_mut();
        if keys[self.few.clone()].contains(&key) || self.many.contains(&key) {
            return Some(key);
        }
        if self.few.len() < Self::FEW {
            keys.push(key);
            self.few.end += 1;
        } else {
            self.many.insert(key);
        }
        None
    }

    /// Takes its keys off the list.
    fn close(self) {
        self.keys.borrow_mut().truncate(self.few.start);
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// serde_json's words without the line and column that it adds.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// serde_json counts lines and, within one, bytes.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = text.split_inclusive('\n').take(lines_before).map(str::len).sum();
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        match check(text, 128) {
            Ok(()) => "ok",
            Err(fault) => fault.code,
        }
    }

    #[test]
    fn what_every_parser_takes_passes() {
        for text in [
            "{}",
            " [1, -0, 1.0, 1e5, 12345678901234567890, 3.141592653589793238, 1e+100]\n",
            r#"{"a":{"a":1},"b":"\ud83d\ude00 é \/ \u007f"}"#,
            "\"\u{FFFE}\"",
            "null",
        ] {
            assert_eq!(code(text), "ok", "{text}");
        }
    }

    #[test]
    fn what_some_parser_chokes_on_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{'a':1}",
            "+5",
            ".5",
            "5.",
            "012",
            "NaN",
            "[1] [2]",
            "{}x",
            "\u{FEFF}{}",
            "1e400",
            "-1e999",
            r#""\ud800""#,
            r#""\udc00x""#,
            r#""\ud800\u0041""#,
            "\"\t\"",
            "// c\n1",
            r#""\x""#,
            "[\"a\u{0}\"]",
        ] {
            assert_eq!(code(text), "invalid_json", "{text:?}");
        }
        assert_eq!(code(r#"["\u0000"]"#), "nul_character");
        assert_eq!(code(r#"{"\u0000":1}"#), "nul_character");
        assert_eq!(code(r#"{"a":1,"\u0061":2}"#), "duplicate_key");
        let mut many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":0")).collect();
        assert_eq!(code(&format!("{{{}}}", many.join(","))), "ok");
        many.push("\"k99\":1".to_owned());
        assert_eq!(code(&format!("{{{}}}", many.join(","))), "duplicate_key");
    }

    #[test]
    fn depth_is_counted_exactly_and_never_overflows_the_stack() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(128), 128), Ok(()));
        assert_eq!(check(&nested(129), 128).unwrap_err().code, "too_deep");
        assert_eq!(check(&nested(200_000), usize::MAX).unwrap_err().code, "too_deep");
    }

    #[test]
    fn the_offset_points_at_the_fault() {
        assert_eq!(check("{\"service\":oops}", 128).unwrap_err().offset, 11);
        assert_eq!(check("{\n \"a\": 1,\n \"b\": x\n}", 128).unwrap_err().offset, 17);
    }
}
