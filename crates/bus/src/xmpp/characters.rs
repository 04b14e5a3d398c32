//! The characters of what comes: which there may be, and what references stand for.
//!
//! Law: nothing passes that XML does not allow (XML 1.0 §2.2), as itself or by its number; and no
//! entity is known but the five that all know (§4.6).

use memchr::memchr;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::BytesRef;

use super::parser::Malformed;

pub(super) const NO_CHARACTER: Malformed =
    Malformed::new("it has a character that XML does not allow");
const NO_ENTITY: Malformed = Malformed::new("an entity in it is not defined");

/// The characters that `bytes` begin with; the last one may be cut.
pub(super) fn begun(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Err(Malformed::new("it is no UTF-8")),
    };
    if all_allowed(text) { Ok(text) } else { Err(NO_CHARACTER) }
}

/// Whether XML may have all of these characters.
pub(super) fn all_allowed(text: &str) -> bool {
    let is_control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    // What U+FFFE and U+FFFF begin with, in UTF-8.
    let may_be_none = |byte: u8| is_control(byte) || byte == 0xEF;
    // Looked at to the end, since it is quicker without asking after each whether to go on.
    if !text.bytes().fold(false, |so_far, byte| so_far | may_be_none(byte)) {
        return true;
    }
    !text.bytes().any(is_control) && !text.contains(['\u{FFFE}', '\u{FFFF}'])
}

/// Adds allowed text, with what its references stand for.
pub(super) fn add(out: &mut String, mut text: &str) -> Result<(), Malformed> {
    while let Some(at) = memchr(b'&', text.as_bytes()) {
        let (before, reference) = (&text[..at], &text[at + 1..]);
        let end = reference.bytes().position(|byte| byte == b';').ok_or(NO_ENTITY)?;
        out.push_str(before);
        match resolve_xml_entity(&reference[..end]) {
            Some(character) => out.push_str(character),
            None => out.push(by_number(&reference[..end])?),
        }
        text = &reference[end + 1..];
    }
    out.push_str(text);
    Ok(())
}

/// The character of a reference such as `#13`.
fn by_number(name: &str) -> Result<char, Malformed> {
    let found = BytesRef::new(name).resolve_char_ref().map_err(|_| NO_CHARACTER)?;
    let character = found.ok_or(NO_ENTITY)?;
    let is_allowed = all_allowed(character.encode_utf8(&mut [0; 4]));
    if is_allowed { Ok(character) } else { Err(NO_CHARACTER) }
}
