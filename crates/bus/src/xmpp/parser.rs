//! A stream of XML, push by push: bytes in, whole stanzas out. No document types, entities,
//! comments or processing instructions (RFC 6120 §11.1).
//!
//! Law: whatever a peer sends, what is kept of it is bounded; a stanza past the bounds is passed
//! over, and the stream lives, unless the XML itself is endless or broken.

use std::borrow::Cow;

use memchr::memchr;
use quick_xml::errors::SyntaxError;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::name::{Namespace, NamespaceResolver, ResolveResult};
use quick_xml::{Error, Reader, XmlVersion};

use super::characters::{self, NO_CHARACTER, all_allowed};

/// Elements within each other, the stream's own among them.
const MOST_DEEP: usize = 64;
/// Elements in a stanza, and attributes of an element.
const MOST_ELEMENTS: usize = 1_000;
const MOST_ATTRIBUTES: usize = 64;
/// Bytes that may come without an element or a piece of text to show for them: what the start of
/// an element takes with all its attributes, or a CDATA section.
const MOST_UNSEEN: usize = 64 * 1024;

/// The namespace of stream elements.
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// The namespace of stanzas.
pub const CLIENT: &str = "jabber:client";

/// A name, or a namespace.
type Name = Cow<'static, str>;

/// Those that every message has, of which no copy is made.
const USUAL: [&str; 14] = [
    CLIENT,
    "message",
    "body",
    "thread",
    "opensrf",
    "to",
    "from",
    "id",
    "type",
    "router_from",
    "router_to",
    "router_class",
    "router_command",
    "osrf_xid",
];

/// What has come.
#[derive(Debug)]
pub enum Item {
    /// The header of the stream.
    Opened(Opening),
    /// A whole stanza.
    Stanza(Element),
    /// A stanza past the bounds, of so many bytes.
    TooLarge(usize),
    /// The end of the stream.
    Closed,
}

/// The header of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The id of the stream.
    pub id: Option<String>,
    /// Whether the server speaks XMPP 1.0, with features.
    pub has_features: bool,
}

/// An element with all that is in it.
#[derive(Debug)]
pub struct Element {
    name: Name,
    namespace: Name,
    /// Those in no namespace, which is all that XMPP has but for `xml:lang`.
    attributes: Vec<(Name, String)>,
    /// The elements in it.
    pub children: Vec<Self>,
    /// The text directly in it.
    pub text: String,
}

/// The stream is no XMPP, and of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what came is not XMPP: {0}")]
pub struct Malformed(Cow<'static, str>);

impl Malformed {
    pub(super) const fn new(why: &'static str) -> Self {
        Self(Cow::Borrowed(why))
    }
}

/// Reads one stream. After an error it is of no further use.
#[derive(Debug)]
pub struct Parser {
    most_bytes: usize,
    has_begun: bool,
    /// The beginning of what has not come to its end.
    unseen: Vec<u8>,
    /// The prefixes of all elements that are open and not passed over.
    prefixes: NamespaceResolver,
    /// The names of all elements that are open, as they were written; the stream's own is the first.
    names: Vec<Name>,
    /// The elements of the stanza under way that are open.
    open: Vec<Element>,
    elements: usize,
    bytes: usize,
    passes_over: bool,
}

impl Element {
    /// Whether it is this element.
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        self.name == name && self.namespace == namespace
    }

    /// Its name, without its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Takes the value of an attribute; empty if it has none.
    pub fn take_attribute(&mut self, name: &str) -> String {
        let found = self.attributes.iter_mut().find(|(key, _)| key == name);
        found.map(|(_, value)| std::mem::take(value)).unwrap_or_default()
    }

    /// The first element of this name directly in it.
    pub fn child(&self, name: &str, namespace: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(name, namespace))
    }
}

impl Parser {
    /// Stanzas may have so many bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            has_begun: false,
            unseen: Vec::new(),
            prefixes: NamespaceResolver::default(),
            names: Vec::new(),
            open: Vec::new(),
            elements: 0,
            bytes: 0,
            passes_over: false,
        }
    }

    /// Reads on. What is whole now is added to `items`.
    ///
    /// # Errors
    /// It is no XML that XMPP allows.
    pub fn feed(&mut self, bytes: &[u8], items: &mut Vec<Item>) -> Result<(), Malformed> {
        if self.unseen.is_empty() {
            return self.read(bytes, items);
        }
        let mut whole = std::mem::take(&mut self.unseen);
        whole.extend_from_slice(bytes);
        self.read(&whole, items)
    }

    /// Reads what is whole in `bytes`, and keeps the rest.
    fn read(&mut self, bytes: &[u8], items: &mut Vec<Item>) -> Result<(), Malformed> {
        let text = characters::begun(bytes)?;
        if !self.has_begun && text.bytes().next().is_some_and(|first| first != b'<') {
            return Err(Malformed::new("it does not begin with an element"));
        }
        self.has_begun |= !text.is_empty();
        let read = self.read_text(text, items)?;
        let rest = &bytes[read..];
        if rest.len() > MOST_UNSEEN {
            return Err(Malformed::new("an element does not come to an end"));
        }
        self.unseen.extend_from_slice(rest);
        Ok(())
    }

    /// Reads what is whole in `text`, and says how many bytes that were.
    fn read_text(&mut self, text: &str, items: &mut Vec<Item>) -> Result<usize, Malformed> {
        // It reads markup only: a body has dozens of references, and each would be an event.
        let mut xml = Reader::from_str("");
        let config = xml.config_mut();
        // It forgets what is open from one text to the next.
        (config.check_end_names, config.allow_unmatched_ends) = (false, true);
        let mut read = 0;
        while read < text.len() {
            let rest = &text[read..];
            let length = if rest.starts_with('<') {
                *xml.get_mut() = rest.as_bytes();
                self.markup(rest, &mut xml, items)?
            } else {
                self.run(rest)?
            };
            if length == 0 {
                break;
            }
            read += length;
        }
        Ok(read)
    }

    /// Reads the markup that `rest` begins with; 0: it goes on behind it.
    fn markup(
        &mut self,
        rest: &str,
        xml: &mut Reader<&[u8]>,
        items: &mut Vec<Item>,
    ) -> Result<usize, Malformed> {
        let event = xml.read_event();
        let length = rest.len() - xml.get_ref().len();
        match event {
            Ok(Event::Start(tag)) => self.start(&tag, length, items)?,
            Ok(Event::Empty(tag)) => {
                self.start(&tag, length, items)?;
                self.end(tag.name().0, 0, items)?;
            }
            Ok(Event::End(tag)) => self.end(tag.name().0, length, items)?,
            Ok(Event::CData(text)) => {
                self.count(length);
                if let Some(element) = self.open.last_mut() {
                    element.text.push_str(&text.xml10_content());
                }
            }
            Ok(Event::Decl(_)) if self.names.is_empty() => {}
            Ok(Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_)) => {
                return Err(Malformed::new("it has what XMPP does not allow"));
            }
            Ok(Event::Text(_) | Event::GeneralRef(_) | Event::Eof) => {
                return Err(Malformed::new("it is no markup"));
            }
            Err(error) if is_cut(&error, rest) => return Ok(0),
            Err(error) => return Err(Malformed(error.to_string().into())),
        }
        Ok(length)
    }

    /// Reads the text that `rest` begins with; 0: there is only a reference that goes on behind it.
    fn run(&mut self, rest: &str) -> Result<usize, Malformed> {
        let mut run = memchr(b'<', rest.as_bytes()).map_or(rest, |end| &rest[..end]);
        if run.len() == rest.len()
            && let Some(at) = run.rfind('&')
            && !run[at..].contains(';')
        {
            run = &run[..at];
        }
        self.count(run.len());
        let text = BytesText::from_escaped(run).xml10_content();
        let mut passed_over = String::new();
        let out = match self.open.last_mut() {
            Some(element) => {
                element.text.reserve(text.len());
                &mut element.text
            }
            None => &mut passed_over,
        };
        characters::add(out, &text)?;
        Ok(run.len())
    }

    fn start(
        &mut self,
        tag: &BytesStart<'_>,
        length: usize,
        items: &mut Vec<Item>,
    ) -> Result<(), Malformed> {
        let name = tag.name().0;
        if !is_name(name) {
            return Err(Malformed::new("the name of an element is none"));
        }
        self.names.push(kept(name));
        match self.names.len() {
            1 => {
                let header = self.element(tag)?.ok_or(Malformed::new("its header is none"))?;
                items.push(Item::Opened(opening(&header)?));
                return Ok(());
            }
            2 => (self.bytes, self.elements, self.passes_over) = (0, 0, false),
            deep if deep > MOST_DEEP => {
                return Err(Malformed::new("elements are too deep within each other"));
            }
            _ => {}
        }
        self.elements += 1;
        self.passes_over |= self.elements > MOST_ELEMENTS;
        self.count(length);
        if !self.passes_over {
            match self.element(tag)? {
                Some(element) => self.open.push(element),
                None => self.pass_over(),
            }
        }
        Ok(())
    }

    /// The element that begins with this tag, whose prefixes are bound from now on; none if it has
    /// more attributes, or binds other prefixes, than are worth looking through.
    fn element(&mut self, tag: &BytesStart<'_>) -> Result<Option<Element>, Malformed> {
        const UNBOUND: Malformed = Malformed::new("a prefix is bound to no namespace");
        let malformed = |error: &dyn std::fmt::Display| Malformed(error.to_string().into());
        // Only that it is one deeper: the attributes are gone through once.
        let bare = BytesStart::new(tag.name().0);
        self.prefixes.push(&bare).map_err(|error| malformed(&error))?;
        let mut found = Vec::with_capacity(8);
        for (count, attribute) in tag.attributes().enumerate() {
            let attribute = attribute.map_err(|error| malformed(&error))?;
            if count == MOST_ATTRIBUTES {
                return Ok(None);
            }
            match attribute.key.as_namespace_binding() {
                None => found.push(attribute),
                Some(prefix) => {
                    if self.prefixes.add(prefix, Namespace(&attribute.value)).is_err() {
                        return Ok(None);
                    }
                }
            }
        }
        let (namespace, name) = self.prefixes.resolve_element(tag.name());
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => kept(namespace.0),
            ResolveResult::Unbound => Cow::Borrowed(""),
            ResolveResult::Unknown(_) => return Err(UNBOUND),
        };
        let mut attributes = Vec::with_capacity(found.len());
        for attribute in found {
            match self.prefixes.resolve_attribute(attribute.key).0 {
                ResolveResult::Unbound => {
                    let value = attribute.normalized_value(XmlVersion::Explicit1_0);
                    let value = value.map_err(|error| malformed(&error))?;
                    if !all_allowed(&value) {
                        return Err(NO_CHARACTER);
                    }
                    attributes.push((kept(attribute.key.0), value.into_owned()));
                }
                ResolveResult::Bound(_) => {}
                ResolveResult::Unknown(_) => return Err(UNBOUND),
            }
        }
        let (children, text) = (Vec::new(), String::new());
        let name = kept(name.as_ref());
        Ok(Some(Element { name, namespace, attributes, children, text }))
    }

    fn end(&mut self, name: &str, length: usize, items: &mut Vec<Item>) -> Result<(), Malformed> {
        if self.names.pop().is_none_or(|opened| opened != name) {
            return Err(Malformed::new("an element ends that has not begun"));
        }
        self.count(length);
        match self.names.len() {
            0 => items.push(Item::Closed),
            1 => {
                items.push(self.open.pop().map_or(Item::TooLarge(self.bytes), Item::Stanza));
                // Those of the stream stay.
                self.prefixes.set_level(1);
            }
            _ if self.passes_over => {}
            _ => {
                self.prefixes.pop();
                if let Some(element) = self.open.pop()
                    && let Some(parent) = self.open.last_mut()
                {
                    parent.children.push(element);
                }
            }
        }
        Ok(())
    }

    /// Counts what was read of a stanza, and passes it over if that is too much.
    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.passes_over || self.bytes > self.most_bytes {
            self.pass_over();
        }
    }

    fn pass_over(&mut self) {
        self.passes_over = true;
        self.open = Vec::new();
    }
}

/// A name to keep: a copy, if it is none of the usual ones.
fn kept(name: &str) -> Name {
    let usual = USUAL.into_iter().find(|usual| *usual == name);
    usual.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed)
}

/// Whether it may be the name of an element: enough of the rule that nothing else looks like one.
fn is_name(name: &str) -> bool {
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte) || byte >= 0x80;
    !name.is_empty() && name.bytes().all(is_part)
}

/// Whether what is wrong with `rest`, which begins with markup, is that it goes on.
fn is_cut(error: &Error, rest: &str) -> bool {
    match error {
        Error::Syntax(SyntaxError::InvalidBangMarkup) => rest == "<!",
        Error::Syntax(_) => true,
        Error::IllFormed(_)
        | Error::Io(_)
        | Error::InvalidAttr(_)
        | Error::Encoding(_)
        | Error::Escape(_)
        | Error::Namespace(_) => false,
    }
}

fn opening(element: &Element) -> Result<Opening, Malformed> {
    if !element.is("stream", STREAMS) {
        return Err(Malformed(format!("it begins with <{}>", element.name).into()));
    }
    let version = element.attribute("version").unwrap_or_default();
    Ok(Opening {
        id: element.attribute("id").map(str::to_owned),
        has_features: version.split('.').next().is_some_and(|major| major == "1"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "<?xml version='1.0'?><stream:stream id='a1' version='1.0' from='d' \
                        xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

    fn read(pieces: &[&[u8]]) -> (Vec<Item>, Result<(), Malformed>) {
        let (mut parser, mut items) = (Parser::new(1_000), Vec::new());
        let outcome = pieces.iter().try_for_each(|piece| parser.feed(piece, &mut items));
        (items, outcome)
    }

    fn is_kept(stanza: &str) -> bool {
        let (items, outcome) = read(&[OPEN.as_bytes(), stanza.as_bytes(), b"<iq/>"]);
        outcome.expect("the stream lives");
        assert!(matches!(&items[2], Item::Stanza(iq) if iq.is("iq", CLIENT)), "{items:?}");
        matches!(items[1], Item::Stanza(_))
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let text = format!(
            "{OPEN} \n<message to=\"a&amp;b\"><body>x&lt;é&#10;</body><thread>t</thread></message> \
             </stream:stream>"
        );
        let whole: &[&[u8]] = &[text.as_bytes()];
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        for pieces in [whole, &bytes] {
            let (items, outcome) = read(pieces);
            outcome.unwrap();
            let [Item::Opened(opening), Item::Stanza(message), Item::Closed] = &items[..] else {
                panic!("{items:?}")
            };
            assert_eq!(opening, &Opening { id: Some("a1".to_owned()), has_features: true });
            assert_eq!(message.attribute("to"), Some("a&b"));
            assert_eq!(message.child("body", CLIENT).unwrap().text, "x<é\n");
            assert_eq!(message.child("thread", CLIENT).unwrap().text, "t");
        }
    }

    #[test]
    fn a_stanza_past_the_bounds_is_passed_over_and_the_next_one_is_read() {
        assert!(is_kept(&format!("<message><body>{}</body></message>", "x".repeat(900))));
        assert!(!is_kept(&format!("<message><body>{}</body></message>", "x".repeat(1_000))));
        assert!(!is_kept(&format!("<message><body>{}</body></message>", "x".repeat(1_000_000))));
        let attributes = |count: usize| (0..count).map(|n| format!(" a{n}=''")).collect::<String>();
        assert!(is_kept(&format!("<message{}/>", attributes(MOST_ATTRIBUTES))));
        assert!(!is_kept(&format!("<message{}/>", attributes(MOST_ATTRIBUTES + 1))));
        let deep = |count: usize| format!("{}{}", "<a>".repeat(count), "</a>".repeat(count));
        assert!(is_kept(&deep(MOST_DEEP - 1)));
        let siblings = |count: usize| format!("<message>{}</message>", "<a/>".repeat(count));
        let bounded = |stanza: &str| {
            let (mut parser, mut items) = (Parser::new(1_000_000), Vec::new());
            for text in [OPEN, stanza, "<iq/>"] {
                parser.feed(text.as_bytes(), &mut items).expect("the stream lives");
            }
            matches!(items[1], Item::Stanza(_))
        };
        assert!(bounded(&siblings(MOST_ELEMENTS - 1)));
        assert!(!bounded(&siblings(MOST_ELEMENTS)));
        // Prefixes that are bound in what is passed over are not looked for, nor kept.
        let prefixes = |from: usize| {
            let bound = |n: usize| format!(" xmlns:p{n}='urn:p'");
            (from..from + MOST_ATTRIBUTES).map(bound).collect::<String>()
        };
        let nested = |count: usize| {
            let start = |n: usize| format!("<p{}:a{}>", n * 64, prefixes(n * 64));
            let starts: String = (0..count).map(start).collect();
            let ends: String = (0..count).rev().map(|n| format!("</p{}:a>", n * 64)).collect();
            format!("<message>{starts}{ends}</message>")
        };
        assert!(bounded(&nested(1)));
        assert!(!bounded(&nested(40)));
    }

    #[test]
    fn text_is_what_it_stands_for_however_it_is_written_and_cut() {
        let body =
            "\u{FEFF}&lt;&gt;&amp;&apos;&quot;&#x41;&#13;<![CDATA[<a>&amp;]]>]]\u{FEFF}\r\né";
        let text =
            format!("{OPEN}<message to='a>b&#39;' xml:lang='en'><body>{body}</body></message>");
        let at = text.find("<message").unwrap();
        for cut in at..=text.len() {
            let (items, outcome) = read(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
            outcome.unwrap();
            let [_, Item::Stanza(message)] = &items[..] else { panic!("{cut}: {items:?}") };
            assert_eq!(message.attribute("to"), Some("a>b'"));
            assert_eq!(message.attribute("lang"), None);
            let text = &message.child("body", CLIENT).unwrap().text;
            // A line that ends at the cut has ended twice.
            let text = text.replace("\n\n", "\n");
            assert_eq!(text, "\u{FEFF}<>&'\"A\r<a>&amp;]]\u{FEFF}\né", "{cut}");
        }
    }

    #[test]
    fn a_prefix_is_what_it_was_bound_to_last() {
        let text =
            "<a:message xmlns:a='jabber:client'><a:body xmlns:a='urn:b'/><a:thread/></a:message>";
        let (items, outcome) =
            read(&[OPEN.as_bytes(), text.as_bytes(), b"<a xmlns='urn:a'/><iq/>"]);
        outcome.unwrap();
        let [_, Item::Stanza(message), Item::Stanza(other), Item::Stanza(iq)] = &items[..] else {
            panic!("{items:?}")
        };
        assert!(message.is("message", CLIENT) && message.child("body", "urn:b").is_some());
        assert!(message.child("thread", CLIENT).is_some());
        assert!(other.is("a", "urn:a") && iq.is("iq", CLIENT));
    }

    #[test]
    fn what_is_endless_or_no_xmpp_ends_the_stream() {
        for text in [
            "<a>".repeat(MOST_DEEP),
            format!("<message {}", "a='x' ".repeat(20_000)),
            (0..20_000).map(|n| format!("<message a{n}='")).collect(),
            "<!DOCTYPE a [<!ENTITY b 'c'>]>".to_owned(),
            "<message>&b;</message>".to_owned(),
            "<message><![CDATA[".to_owned() + "\u{1}",
            "<!-- -->".to_owned(),
            "<message></iq>".to_owned(),
            "<message a:b='c'/>".to_owned(),
            "<a:message/>".to_owned(),
            "<message a='b' a='c'/>".to_owned(),
            "<message a='&b;'/>".to_owned(),
            "<message>&#1;</message>".to_owned(),
            "<message a='&#xFFFF;'/>".to_owned(),
            "<message>&a".to_owned() + &"a".repeat(MOST_UNSEEN),
            "<message>&a<b/></message>".to_owned(),
            "<message>\u{FFFE}</message>".to_owned(),
            "<message><<b/></message>".to_owned(),
            "<?xml version='1.0'?>".to_owned(),
            "<?php ?>".to_owned(),
            "<!ELEMENT a>".to_owned(),
            "</stream:stream></stream:stream>".to_owned(),
        ] {
            let (items, outcome) = read(&[OPEN.as_bytes(), text.as_bytes()]);
            assert!(outcome.is_err(), "{} {items:?}", &text[..text.len().min(40)]);
        }
        for start in ["HTTP/1.1 400 Bad Request\r\n", "-ERR unknown command\r\n", "<html>"] {
            assert!(read(&[start.as_bytes()]).1.is_err(), "{start}");
        }
    }
}
