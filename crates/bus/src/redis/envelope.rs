//! Envelopes as they stand in a list: one JSON object. Written in the order of OpenSRF's C code;
//! read in any order and with anything left out, as Perl writes them. Bodies pass byte for byte.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use slackwater_core::osrf::envelope::Incoming;
use slackwater_core::osrf::json::Json;
use slackwater_core::osrf::quote;

/// What an envelope says around its body.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Who it is for: an address, or any worker of a service.
    pub to: &'a str,
    /// The list in which the sender waits for answers.
    pub from: &'a str,
    /// The conversation.
    pub thread: &'a str,
    /// The log trace id.
    pub xid: Option<&'a str>,
}

/// The text of an envelope. `body` is a JSON text.
pub fn write(head: Head<'_>, body: &str) -> String {
    let around = head.to.len() + head.from.len() + head.thread.len();
    let mut text = String::with_capacity(around + head.xid.map_or(4, str::len) + body.len() + 64);
    for (key, value) in
        [("{\"to\":", head.to), (",\"from\":", head.from), (",\"thread\":", head.thread)]
    {
        text.push_str(key);
        quote::push(&mut text, value);
    }
    text.push_str(",\"osrf_xid\":");
    match head.xid {
        Some(xid) => quote::push(&mut text, xid),
        None => text.push_str("null"),
    }
    text.push_str(",\"body\":");
    text.push_str(body);
    text.push('}');
    text
}

/// An envelope as it was read, with what only routers look at.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Who it is for.
    pub to: Cow<'a, str>,
    /// The list in which the sender waits for answers.
    pub from: Cow<'a, str>,
    /// The conversation.
    pub thread: Cow<'a, str>,
    /// The log trace id, if there is one.
    pub xid: Option<Cow<'a, str>>,
    /// For a router: `register` or `unregister`.
    pub router_command: Cow<'a, str>,
    /// For a router: the service.
    pub router_class: Cow<'a, str>,
    /// What is passed on byte for byte.
    pub body: &'a RawValue,
}

/// Reads an envelope. What is no JSON object with a `body` is none.
pub fn read(bytes: &[u8]) -> Option<Envelope<'_>> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        to: Option<&'a RawValue>,
        #[serde(borrow, default)]
        from: Option<&'a RawValue>,
        #[serde(borrow, default)]
        thread: Option<&'a RawValue>,
        #[serde(borrow, default)]
        osrf_xid: Option<&'a RawValue>,
        #[serde(borrow, default)]
        router_command: Option<&'a RawValue>,
        #[serde(borrow, default)]
        router_class: Option<&'a RawValue>,
        #[serde(borrow)]
        body: &'a RawValue,
    }
    let text = std::str::from_utf8(bytes).ok()?;
    // serde would also take an array for the fields in their order.
    let object = text.trim_start().starts_with('{');
    let fields: Fields<'_> = object.then(|| serde_json::from_str(text).ok())??;
    Some(Envelope {
        to: text_of(fields.to).unwrap_or_default(),
        from: text_of(fields.from).unwrap_or_default(),
        thread: text_of(fields.thread).unwrap_or_default(),
        xid: text_of(fields.osrf_xid).filter(|xid| !xid.is_empty()),
        router_command: text_of(fields.router_command).unwrap_or_default(),
        router_class: text_of(fields.router_class).unwrap_or_default(),
        body: fields.body,
    })
}

/// Reads an envelope for the gateway.
pub fn read_incoming(bytes: &[u8]) -> Option<Incoming> {
    let envelope = read(bytes)?;
    Some(Incoming {
        from: envelope.from.into_owned(),
        thread: envelope.thread.into_owned(),
        xid: envelope.xid.map(Cow::into_owned),
        body: Json::from(envelope.body),
    })
}

/// The text of a JSON string, or of a number; of anything else, nothing.
fn text_of(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text = raw?.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok().map(|Text(text)| text),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_written_in_the_order_of_c() {
        let head = Head {
            to: "opensrf:service:_:_:opensrf.math",
            from: "opensrf:client:gateway:public.localhost:vm:1:2",
            thread: "t",
            xid: Some("x"),
        };
        assert_eq!(
            write(head, r#"[ {"é":1.0} ]"#),
            r#"{"to":"opensrf:service:_:_:opensrf.math","from":"opensrf:client:gateway:public.localhost:vm:1:2","thread":"t","osrf_xid":"x","body":[ {"é":1.0} ]}"#
        );
        assert!(write(Head { xid: None, ..head }, "[]").contains(r#""osrf_xid":null,"#));
    }

    #[test]
    fn a_strange_address_cannot_leave_its_string() {
        let to = "a\",\"body\":[1],\"x\":\"\n";
        let text = write(Head { to, from: "f", thread: "t", xid: None }, "[2]");
        let envelope = read(text.as_bytes()).expect("sound");
        assert_eq!((envelope.to.as_ref(), envelope.body.get()), (to, "[2]"));
    }

    #[test]
    fn envelopes_of_c_and_of_perl_are_read() {
        let c = r#"{"to":"t","from":"f","thread":"1","osrf_xid":"x","body":[{"a": 1.50}]}"#;
        let perl = r#" {"body" : [{"a": 1.50}],"thread":"1","from":"f","osrf_xid":"x"}"#;
        let router = r#"{"to":"t","from":"f","thread":"1","osrf_xid":null,"body":[{"a": 1.50}]}"#;
        let (from, thread) = ("f".to_owned(), "1".to_owned());
        let body = Json::of_our_making(r#"[{"a": 1.50}]"#.to_owned());
        let expected = Incoming { from, thread, xid: Some("x".to_owned()), body };
        assert_eq!(read_incoming(c.as_bytes()), Some(expected.clone()));
        assert_eq!(read_incoming(perl.as_bytes()), Some(expected.clone()));
        let without_xid = Incoming { xid: None, ..expected };
        assert_eq!(read_incoming(router.as_bytes()), Some(without_xid));
        let bare = read_incoming(br#"{"body":null,"thread":7,"from":{}}"#).expect("an envelope");
        assert_eq!((bare.from.as_str(), bare.thread.as_str(), &*bare.body), ("", "7", "null"));
        let command = br#"{"router_command":"register","router_class":"a.b","body":"[]"}"#;
        let command = read(command).expect("an envelope");
        assert_eq!(
            (command.router_command.as_ref(), command.router_class.as_ref()),
            ("register", "a.b")
        );
    }

    #[test]
    fn rubbish_is_no_envelope() {
        let deep = "[".repeat(1_000_000);
        let broken = [
            "",
            "nonsense",
            "5",
            "null",
            "[]",
            r#"["t","f","1","x","c","d",[]]"#,
            "{}",
            r#"{"thread":"1"}"#,
            r#"{"body":[]"#,
            r#"{"body":[]} x"#,
            r#"{"body":[],"body":[]}"#,
            deep.as_str(),
        ];
        for text in broken {
            assert!(read(text.as_bytes()).is_none(), "{}", &text[..text.len().min(40)]);
        }
        assert!(read(b"{\"body\":\"\xff\"}").is_none());
    }
}
