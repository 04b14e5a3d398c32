//! A stream of XML, push by push: bytes in, whole stanzas out. No document types, entities,
//! comments or processing instructions (RFC 6120 §11.1).
//!
//! Law: whatever a peer sends, what is kept of it is bounded; a stanza past the bounds is passed
//! over, and the stream lives, unless the XML itself is endless or broken.

use rxml::error::EndOrError;
use rxml::{AttrMap, Event, Namespace, NcName, Parse as _};

/// Elements within each other, the stream's own among them.
const MOST_DEEP: usize = 64;
/// Elements in a stanza, and attributes of an element.
const MOST_ELEMENTS: usize = 1_000;
const MOST_ATTRIBUTES: usize = 64;
/// Bytes that may come without an element or a piece of text to show for them: what the start of
/// an element takes with all its attributes.
const MOST_UNSEEN: usize = 64 * 1024;

/// The namespace of stream elements.
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// The namespace of stanzas.
pub const CLIENT: &str = "jabber:client";

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
    name: NcName,
    namespace: Namespace<'static>,
    attributes: AttrMap,
    /// The elements in it.
    pub children: Vec<Self>,
    /// The text directly in it.
    pub text: String,
}

/// The stream is no XMPP, and of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what came is not XMPP: {0}")]
pub struct Malformed(String);

/// Reads one stream. After an error it is of no further use.
#[derive(Debug)]
pub struct Parser {
    xml: rxml::Parser,
    most_bytes: usize,
    has_begun: bool,
    /// Elements that are open, the stream's own among them.
    depth: usize,
    /// Those of the stanza under way.
    open: Vec<Element>,
    elements: usize,
    bytes: usize,
    passes_over: bool,
    unseen: usize,
}

impl Element {
    /// Whether it is this element.
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        &*self.name == name && self.namespace.as_str() == namespace
    }

    /// Its name, without its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(Namespace::none(), name).map(String::as_str)
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
            xml: rxml::Parser::new(),
            most_bytes,
            has_begun: false,
            depth: 0,
            open: Vec::new(),
            elements: 0,
            bytes: 0,
            passes_over: false,
            unseen: 0,
        }
    }

    /// Reads on. What is whole now is added to `items`.
    ///
    /// # Errors
    /// It is no XML that XMPP allows.
    pub fn feed(&mut self, mut bytes: &[u8], items: &mut Vec<Item>) -> Result<(), Malformed> {
        // The XML parser would wait for the end of a text first.
        if !self.has_begun && bytes.first().is_some_and(|first| *first != b'<') {
            return Err(Malformed("it does not begin with an element".to_owned()));
        }
        self.has_begun |= !bytes.is_empty();
        loop {
            let before = bytes.len();
            let outcome = self.xml.parse(&mut bytes, false);
            let read = before - bytes.len();
            self.unseen += read;
            match outcome {
                Ok(Some(event)) => {
                    let length = std::mem::take(&mut self.unseen);
                    self.take(event, length, items)?;
                }
                Ok(None) => return Ok(()),
                Err(EndOrError::NeedMoreData) if self.unseen > MOST_UNSEEN => {
                    return Err(Malformed("an element does not come to an end".to_owned()));
                }
                Err(EndOrError::NeedMoreData) => return Ok(()),
                Err(EndOrError::Error(error)) => return Err(Malformed(error.to_string())),
            }
        }
    }

    fn take(
        &mut self,
        event: Event,
        length: usize,
        items: &mut Vec<Item>,
    ) -> Result<(), Malformed> {
        if self.depth > 1 {
            self.bytes += length;
        }
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, (namespace, name), attributes) => {
                self.depth += 1;
                if self.depth > MOST_DEEP {
                    return Err(Malformed("elements are too deep within each other".to_owned()));
                }
                let element = Element {
                    name,
                    namespace,
                    attributes,
                    children: Vec::new(),
                    text: String::new(),
                };
                if self.depth == 1 {
                    items.push(Item::Opened(opening(&element)?));
                } else {
                    self.start(element, length);
                }
            }
            Event::Text(_, text) => {
                self.judge();
                if !self.passes_over
                    && let Some(element) = self.open.last_mut()
                {
                    element.text.push_str(&text);
                }
            }
            Event::EndElement(_) => {
                self.depth = self.depth.saturating_sub(1);
                match self.depth {
                    0 => items.push(Item::Closed),
                    1 => items.push(self.whole()),
                    _ => self.end(),
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, element: Element, length: usize) {
        if self.depth == 2 {
            (self.bytes, self.elements, self.passes_over) = (length, 0, false);
        }
        self.elements += 1;
        if element.attributes.len() > MOST_ATTRIBUTES || self.elements > MOST_ELEMENTS {
            self.passes_over = true;
        }
        self.judge();
        if !self.passes_over {
            self.open.push(element);
        }
    }

    /// Passes a stanza over that has become too large.
    fn judge(&mut self) {
        self.passes_over |= self.bytes > self.most_bytes;
        if self.passes_over {
            self.open = Vec::new();
        }
    }

    fn end(&mut self) {
        if let Some(element) = self.open.pop()
            && let Some(parent) = self.open.last_mut()
        {
            parent.children.push(element);
        }
    }

    fn whole(&mut self) -> Item {
        self.judge();
        match self.open.pop() {
            Some(stanza) => Item::Stanza(stanza),
            None => Item::TooLarge(self.bytes),
        }
    }
}

fn opening(element: &Element) -> Result<Opening, Malformed> {
    if !element.is("stream", STREAMS) {
        return Err(Malformed(format!("it begins with <{}>", element.name)));
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
        ] {
            let (items, outcome) = read(&[OPEN.as_bytes(), text.as_bytes()]);
            assert!(outcome.is_err(), "{} {items:?}", &text[..text.len().min(40)]);
        }
        for start in ["HTTP/1.1 400 Bad Request\r\n", "-ERR unknown command\r\n", "<html>"] {
            assert!(read(&[start.as_bytes()]).1.is_err(), "{start}");
        }
    }
}
