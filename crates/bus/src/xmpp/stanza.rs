//! The stanzas that OpenSRF knows: one kind of message (OPENSRF-XMPP §3). Written in the order of
//! OpenSRF's C code, since old readers look no further; read in any order, with anything left out.

use super::escape;
use super::parser::{CLIENT, Element};

/// What a message says around its body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// Who it is for: a full JID.
    pub to: &'a str,
    /// The id of the stanza, by which a bounce is known.
    pub id: &'a str,
    /// The conversation.
    pub thread: &'a str,
    /// The log trace id.
    pub xid: &'a str,
    /// From a router: who has really sent it.
    pub router_from: &'a str,
    /// To a router: the service.
    pub router_class: &'a str,
    /// To a router: `register` or `unregister`.
    pub router_command: &'a str,
}

/// A message as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Who it is for.
    pub to: String,
    /// Who has sent it; if a router passed it on, who had sent it to the router.
    pub from: String,
    /// The id of the stanza.
    pub id: String,
    /// The conversation.
    pub thread: String,
    /// The log trace id, if there is one.
    pub xid: Option<String>,
    /// For a router: the service.
    pub router_class: String,
    /// For a router: `register` or `unregister`.
    pub router_command: String,
    /// What is passed on; JSON, if the sender is sound.
    pub body: String,
    /// Why it came back, if that is what it says (OPENSRF-XMPP §6): in a word, and the server's text.
    pub failure: Option<String>,
}

/// The text of a message. `body` is a JSON text.
pub fn write(head: &Head<'_>, body: &str) -> String {
    let mut out = String::with_capacity(body.len() + body.len() / 4 + 320);
    for (before, value) in [
        ("<message to=\"", head.to),
        ("\" id=\"", head.id),
        ("\"><opensrf router_from=\"", head.router_from),
        ("\" router_to=\"\" router_class=\"", head.router_class),
        ("\" router_command=\"", head.router_command),
        ("\" osrf_xid=\"", head.xid),
    ] {
        out.push_str(before);
        escape::attribute(&mut out, value);
    }
    out.push_str("\"/><thread>");
    escape::text(&mut out, head.thread);
    out.push_str("</thread><body>");
    escape::json(&mut out, body);
    out.push_str("</body></message>");
    out
}

/// Reads a message. What is no message is none.
pub fn read(mut element: Element) -> Option<Message> {
    if !element.is("message", CLIENT) {
        return None;
    }
    let error = element.child("error", CLIENT);
    let came_back = error.is_some() || element.attribute("type") == Some("error");
    let failure = came_back.then(|| error.map(why).unwrap_or_default());
    let mut opensrf = element.children.iter_mut().find(|child| child.is("opensrf", CLIENT));
    let mut of_opensrf =
        |name| opensrf.as_mut().map(|child| child.take_attribute(name)).unwrap_or_default();
    let router_from = of_opensrf("router_from");
    let mut message = Message {
        xid: Some(of_opensrf("osrf_xid")).filter(|xid| !xid.is_empty()),
        router_class: of_opensrf("router_class"),
        router_command: of_opensrf("router_command"),
        to: element.take_attribute("to"),
        from: element.take_attribute("from"),
        id: element.take_attribute("id"),
        thread: String::new(),
        body: String::new(),
        failure,
    };
    if !router_from.is_empty() {
        message.from = router_from;
    }
    for child in &mut element.children {
        if child.is("thread", CLIENT) {
            message.thread = std::mem::take(&mut child.text);
        } else if child.is("body", CLIENT) {
            message.body = std::mem::take(&mut child.text);
        }
    }
    Some(message)
}

/// What an `<error/>` says: its condition and its text, or else its code.
pub(super) fn why(error: &Element) -> String {
    let (texts, conditions): (Vec<_>, Vec<_>) =
        error.children.iter().partition(|child| child.name() == "text");
    let condition = conditions.first().map(|condition| condition.name().to_owned());
    let said = condition
        .or_else(|| error.attribute("code").map(|code| format!("error {code}")))
        .unwrap_or_else(|| "error".to_owned());
    match texts.first().map(|text| text.text.trim()).filter(|text| !text.is_empty()) {
        Some(text) => format!("{said}: {text}"),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parser::{Item, Parser, STREAMS};
    use super::*;

    fn stanzas(text: &str) -> Vec<Element> {
        let (mut parser, mut items) = (Parser::new(10_000), Vec::new());
        let stream = format!("<stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAMS}'>{text}");
        parser.feed(stream.as_bytes(), &mut items).expect("XMPP");
        let stanza = |item| if let Item::Stanza(stanza) = item { Some(stanza) } else { None };
        items.into_iter().filter_map(stanza).collect()
    }

    fn one(text: &str) -> Message {
        let mut stanzas = stanzas(text);
        assert_eq!(stanzas.len(), 1, "{text}");
        read(stanzas.remove(0)).expect("a message")
    }

    #[test]
    fn a_message_is_written_as_the_c_client_does_with_an_id() {
        let head = Head { to: "r@d/s", id: "t/1", thread: "t", xid: "x", ..Head::default() };
        assert_eq!(
            write(&head, r#"[{"a":"<é>"}]"#),
            "<message to=\"r@d/s\" id=\"t/1\"><opensrf router_from=\"\" router_to=\"\" \
             router_class=\"\" router_command=\"\" osrf_xid=\"x\"/><thread>t</thread>\
             <body>[{\"a\":\"&lt;é&gt;\"}]</body></message>"
        );
    }

    #[test]
    fn messages_of_ejabberd_prosody_and_perl_read_alike() {
        for text in [
            "<message xml:lang='en' to='g' from='w'><opensrf router_from='' osrf_xid='x'/>\
             <body>[&quot;1&quot;]</body><thread>t</thread></message>",
            "<message from='w' to='g'><thread>t</thread><body>[\"1\"]</body>\
             <opensrf router_command='' router_class='' osrf_xid='x'/></message>",
            "<message from='router@d/s' to='g'><opensrf osrf_xid='x' router_from='w'/>\
             <thread>t</thread><body><![CDATA[[\"1\"]]]></body></message>",
        ] {
            let expected = Message {
                to: "g".to_owned(),
                from: "w".to_owned(),
                thread: "t".to_owned(),
                xid: Some("x".to_owned()),
                body: "[\"1\"]".to_owned(),
                ..Message::default()
            };
            assert_eq!(one(text), expected, "{text}");
        }
    }

    #[test]
    fn all_three_kinds_of_errors_are_known() {
        let ejabberd = one("<message type='error' id='t/1' from='r@d/s'><opensrf osrf_xid='x'/>\
             <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>User session not found</text></error>\
             <body>[]</body><thread>t</thread></message>");
        let said = ejabberd.failure.as_deref();
        assert_eq!(said, Some("service-unavailable: User session not found"));
        let router = one(
            "<message from='r@d/s'><error type='cancel' code='501'/><thread>t</thread></message>",
        );
        assert_eq!((router.failure.as_deref(), &*router.thread), (Some("error 501"), "t"));
        let prosody = one("<message type='error' id='t/1'><error type='cancel'>\
             <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>");
        assert_eq!(prosody.failure.as_deref(), Some("service-unavailable"));
        assert_eq!(one("<message type='error'/>").failure.as_deref(), Some(""));
    }

    proptest! {
        /// OPENSRF-XMPP §10.5, 6: nothing that anybody chose becomes markup.
        #[test]
        fn whatever_is_in_a_message_it_stays_where_it_was_put(
            values in prop::collection::vec("[\\PC'\"<>&;\\x00-\\x20\u{7f}-\u{9f}\u{FFFE}\u{FFFF}]{0,20}", 7),
            word in "[\\PC\"<>&'\u{FFFE}\u{FFFF}\u{7f}]{0,20}",
        ) {
            let json = serde_json::to_string(&[&word]).unwrap();
            let head = Head {
                to: &values[0],
                id: &values[1],
                thread: &values[2],
                xid: &values[3],
                router_from: &values[4],
                router_class: &values[5],
                router_command: &values[6],
            };
            let mut stanzas = stanzas(&write(&head, &json));
            prop_assert_eq!(stanzas.len(), 1);
            let stanza = stanzas.remove(0);
            let names: Vec<&str> = stanza.children.iter().map(Element::name).collect();
            prop_assert_eq!(names, ["opensrf", "thread", "body"]);
            let message = read(stanza).unwrap();
            let shown = |text: &str| -> String {
                let is_legal = |c: char| !matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}'
                    | '\u{e}'..='\u{1f}' | '\u{FFFE}' | '\u{FFFF}');
                text.chars().map(|c| if is_legal(c) { c } else { '\u{FFFD}' }).collect()
            };
            prop_assert_eq!(message.to, shown(&values[0]));
            prop_assert_eq!(message.thread, shown(&values[2]));
            prop_assert_eq!(message.router_command, shown(&values[6]));
            let body: Vec<String> = serde_json::from_str(&message.body).unwrap();
            prop_assert_eq!(&body[0], &word);
        }
    }
}
