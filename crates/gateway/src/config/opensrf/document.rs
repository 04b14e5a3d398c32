//! An XML file as a list of texts, each with the path of its element. A file that others wrote may
//! have comments, CDATA, and entities of its own; it cannot make us read another file, or grow.

use std::collections::HashMap;

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};
use quick_xml::{Error, Reader};

/// Elements within one another, at most.
const DEEPEST: usize = 64;
/// The longest text of an element, in bytes: more than any setting, with all entities put in.
const LONGEST: usize = 64 << 10;

/// Without its name, which may be a piece of a password.
const UNDEFINED: &str = "an entity in it is not defined (a plain & is written &amp;)";

/// The texts of all elements under the root, by their paths: `gateway/domain`.
#[derive(Debug)]
pub(super) struct Document {
    texts: Vec<(String, Content)>,
}

/// The text of an element, or why it cannot be read: that matters only to who wants it.
type Content = Result<String, String>;

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not well-formed; the text names the line.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut entities = HashMap::new();
        // Of the open elements: the name, and the text so far.
        let mut open: Vec<(String, Content)> = Vec::new();
        let mut document = Self { texts: Vec::new() };
        loop {
            let event = reader.read_event();
            let place = reader.error_position().max(reader.buffer_position());
            let in_line = |error: &dyn std::fmt::Display| {
                let upto = usize::try_from(place).unwrap_or(usize::MAX).min(text.len());
                let line = 1 + text.bytes().take(upto).filter(|byte| *byte == b'\n').count();
                format!("line {line}: {error}")
            };
            match event.map_err(|error| in_line(&plain(&error)))? {
                Event::Start(start) => {
                    if open.len() >= DEEPEST {
                        return Err(in_line(&"too many elements within one another"));
                    }
                    open.push((start.name().into_inner().to_owned(), Ok(String::new())));
                }
                Event::End(_) => {
                    let path: Vec<&str> =
                        open.iter().skip(1).map(|(name, _)| name.as_str()).collect();
                    let path = path.join("/");
                    let content =
                        open.pop().map_or_else(|| Ok(String::new()), |(_, content)| content);
                    document.texts.push((path, content));
                }
                Event::Text(part) => add(&mut open, Ok(&part.xml10_content())),
                Event::CData(part) => add(&mut open, Ok(&part.xml10_content())),
                Event::GeneralRef(reference) => match resolve(&reference, &entities) {
                    Ok(part) => add(&mut open, Ok(&part)),
                    Err(error) => add(&mut open, Err(error)),
                },
                Event::DocType(declarations) => entities = defined(&declarations.into_inner()),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof if open.is_empty() && !document.texts.is_empty() => return Ok(document),
                Event::Eof => return Err(in_line(&"the file ends too early")),
            }
        }
    }

    /// Whether there is an element with this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.texts.iter().any(|(name, _)| name == path)
    }

    /// The texts of all elements with this path, in their order.
    pub(super) fn all(&self, path: &str) -> impl Iterator<Item = &Content> {
        self.texts.iter().filter(move |(name, _)| name == path).map(|(_, content)| content)
    }
}

/// What is wrong, without a word of the file: a password may be part of what seems to be a tag.
fn plain(error: &Error) -> String {
    match error {
        Error::Syntax(error) => error.to_string(),
        Error::IllFormed(_) => "a tag is not closed, or closed by another".to_owned(),
        Error::Io(_)
        | Error::InvalidAttr(_)
        | Error::Encoding(_)
        | Error::Escape(_)
        | Error::Namespace(_) => "not well-formed XML".to_owned(),
    }
}

fn add(open: &mut [(String, Content)], part: Result<&str, String>) {
    let Some((_, content)) = open.last_mut() else { return };
    let Ok(text) = content else { return };
    match part {
        Ok(part) if text.len() + part.len() <= LONGEST => text.push_str(part),
        Ok(_) => *content = Err("the text is too long".to_owned()),
        Err(error) => *content = Err(error),
    }
}

fn resolve(reference: &BytesRef<'_>, own: &HashMap<String, String>) -> Result<String, String> {
    let name = reference.xml10_content();
    let unknown = || UNDEFINED.to_owned();
    match reference.resolve_char_ref() {
        Ok(Some(letter)) => Ok(letter.to_string()),
        Ok(None) => {
            let known = resolve_xml_entity(&name).or_else(|| own.get(&*name).map(String::as_str));
            known.map(str::to_owned).ok_or_else(unknown)
        }
        Err(_) => Err(unknown()),
    }
}

/// The entities that a DOCTYPE defines with a plain text: `<!ENTITY name "text">`. One that is in
/// another file, or holds others, is not defined for us.
fn defined(declarations: &str) -> HashMap<String, String> {
    let mut entities = HashMap::new();
    for declaration in declarations.split("<!ENTITY").skip(1) {
        let Some((name, rest)) = declaration.trim_start().split_once(char::is_whitespace) else {
            continue;
        };
        let rest = rest.trim_start();
        let Some(quote) = rest.chars().next().filter(|quote| ['"', '\''].contains(quote)) else {
            continue;
        };
        if let Some((text, _)) = rest[1..].split_once(quote)
            && !text.contains(['&', '%', '<'])
        {
            entities.entry(name.to_owned()).or_insert_with(|| text.to_owned());
        }
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, path: &str) -> Vec<Content> {
        Document::read(text).expect("well-formed").all(path).cloned().collect()
    }

    #[test]
    fn entities_cdata_and_comments_are_what_they_mean() {
        let text = r#"<!DOCTYPE c [<!ENTITY pw 's"1'> <!ENTITY pw "second"><!ENTITY far SYSTEM "/etc/passwd">
            <!ENTITY nested "&pw;">]><c><a>&pw;&lt;&#65;<!-- no --><![CDATA[&x]]></a>
            <a>&far;</a><a>&nested;</a><b><a>other</a></b></c>"#;
        let undefined = || Err(UNDEFINED.to_owned());
        let all = [Ok("s\"1<A&x".to_owned()), undefined(), undefined()];
        assert_eq!(texts(text, "a"), all);
        assert_eq!(texts(text, "b/a"), [Ok("other".to_owned())]);
    }

    #[test]
    fn what_is_not_well_formed_is_told_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("text", 1),
            ("<a>\n<b>\n</a>", 3),
            ("<a>\n", 2),
            ("<a>\n\n<b></c></b></a>", 3),
            ("<a>\n<![CDATA[", 2),
        ] {
            let error = Document::read(text).unwrap_err();
            assert!(error.starts_with(&format!("line {line}: ")), "{text:?}: {error}");
        }
    }

    #[test]
    fn nothing_grows_without_bound() {
        let deep = "<a>".repeat(100_000);
        assert!(Document::read(&deep).unwrap_err().contains("within one another"));
        let entity = "x".repeat(60_000);
        let text = format!("<!DOCTYPE c [<!ENTITY e '{entity}'>]><c><a>&e;&e;&e;</a></c>");
        assert_eq!(texts(&text, "a"), [Err("the text is too long".to_owned())]);
    }
}
