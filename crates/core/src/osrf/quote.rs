//! JSON strings: the one place where a text gets its quotation marks.

/// `value` as a JSON string.
pub fn quote(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    push(&mut text, value);
    text
}

/// Appends `value` as a JSON string.
pub fn push(text: &mut String, value: &str) {
    // All bytes are looked at, since a loop without an early end is done by many bytes at once.
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if value.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        text.reserve(value.len() + 2);
        text.push('"');
        text.push_str(value);
        text.push('"');
    } else {
        // Writing a &str as JSON cannot fail.
        text.push_str(&serde_json::to_string(value).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_serde_json_writes(value: String, odd in "[\"\\\\\u{0}-\u{7f}]{0,8}") {
            for value in [value, odd] {
                prop_assert_eq!(quote(&value), serde_json::to_string(&value).unwrap());
            }
        }
    }
}
