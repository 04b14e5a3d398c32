//! Text as it may stand in XML. Everything that goes out passes here: whatever a client or a worker
//! chose, it is text and nothing else (OPENSRF-XMPP §10.5, 6).

/// Adds text to an attribute in double quotes. What XML cannot hold becomes U+FFFD.
pub(super) fn attribute(out: &mut String, text: &str) {
    add(out, text, true, |out, character| match character {
        // Unescaped, they would all come out as spaces (XML 1.0 §3.3.3).
        '"' | '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(character))),
        _ => out.push('\u{FFFD}'),
    });
}

/// Adds text to an element. What XML cannot hold becomes U+FFFD.
pub(super) fn text(out: &mut String, text: &str) {
    add(out, text, false, |out, character| match character {
        '\t' | '\n' => out.push(character),
        // Unescaped, it would come out as a line feed (XML 1.0 §2.11).
        '\r' => out.push_str("&#13;"),
        _ => out.push('\u{FFFD}'),
    });
}

/// Adds a JSON text to an element. What XML cannot hold stands within strings only, where JSON has
/// a way to write it.
pub(super) fn json(out: &mut String, json: &str) {
    add(out, json, false, |out, character| match character {
        '\t' | '\n' => out.push(character),
        '\r' => out.push_str("&#13;"),
        _ => out.push_str(&format!("\\u{:04x}", u32::from(character))),
    });
}

/// Adds text; `other` adds what may need care of its own: white space, what XML cannot hold at all,
/// and quotation marks if it stands between them.
fn add(out: &mut String, text: &str, is_quoted: bool, other: impl Fn(&mut String, char)) {
    let may_need_care = |byte: u8| {
        matches!(byte, b'&' | b'<' | b'>' | 0..=0x1F | 0xEF) || (is_quoted && byte == b'"')
    };
    // Most does not. Looked at to the end, since it is quicker without asking after each byte
    // whether to go on.
    if !text.bytes().fold(false, |so_far, byte| so_far | may_need_care(byte)) {
        return out.push_str(text);
    }
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let length = match byte {
            // U+FFFE and U+FFFF.
            0xEF if text.as_bytes()[at..].starts_with(b"\xEF\xBF\xBE")
                || text.as_bytes()[at..].starts_with(b"\xEF\xBF\xBF") =>
            {
                3
            }
            0xEF => continue,
            byte if may_need_care(byte) => 1,
            _ => continue,
        };
        out.push_str(&text[done..at]);
        done = at + length;
        match byte {
            b'&' => out.push_str("&amp;"),
            b'<' => out.push_str("&lt;"),
            b'>' => out.push_str("&gt;"),
            _ => text[at..done].chars().for_each(|character| other(out, character)),
        }
    }
    out.push_str(&text[done..]);
}
