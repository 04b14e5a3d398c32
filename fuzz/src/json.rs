//! The check of a client's JSON, held against another reader of it.

use serde::Deserialize as _;
use serde_json::Value;
use slackwater_core::osrf::check::check;

const DEPTH: usize = 8;

/// What the check accepts, serde_json reads, and it is not deep, holds no NUL and names no key
/// twice. What it calls invalid, serde_json does not read either.
pub fn json_check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let value = read(text);
    match check(text, DEPTH) {
        Ok(()) => {
            let value = value.expect("what passes the check can be read");
            assert!(depth(&value) <= DEPTH, "deeper than allowed");
            assert!(!holds_nul(&value), "NUL passed");
            assert_eq!(keys_written(text), keys(&value), "a key is there twice");
        }
        Err(fault) => {
            assert!(fault.offset <= text.len());
            assert!(fault.code != "invalid_json" || value.is_none(), "{fault}");
        }
    }
}

/// Reads a text whatever its depth, as long as that does not endanger the fuzzer's own stack.
fn read(text: &str) -> Option<Value> {
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > 5_000 {
        return serde_json::from_str(text).ok();
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(value)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(entries) => {
            entries.iter().any(|(key, value)| key.contains('\0') || holds_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Keys that are left when those that are there twice have become one.
fn keys(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(keys).sum(),
        Value::Object(entries) => entries.len() + entries.values().map(keys).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Keys as they stand in a text that is JSON: as many as there are colons outside of strings.
fn keys_written(text: &str) -> usize {
    let (mut colons, mut in_string, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => colons += 1,
            _ => {}
        }
    }
    colons
}
