//! What stands in a list on a Redis bus, whoever pushed it there.

use serde_json::value::RawValue;
use slackwater_bus::redis::envelope::{Head, read, read_incoming, write};

/// Whatever is popped is an envelope with a JSON body or none; and what was read, written again, is
/// read as the same.
pub fn redis_envelope(data: &[u8]) {
    let Some(envelope) = read(data) else {
        assert_eq!(read_incoming(data), None);
        return;
    };
    assert!(serde_json::from_str::<&RawValue>(envelope.body.get()).is_ok(), "{}", envelope.body);
    let head = Head {
        to: &envelope.to,
        from: &envelope.from,
        thread: &envelope.thread,
        xid: envelope.xid.as_deref(),
    };
    let text = write(head, envelope.body.get());
    let again = read(text.as_bytes()).expect("what we write is an envelope");
    assert_eq!((&again.to, &again.from), (&envelope.to, &envelope.from));
    assert_eq!((&again.thread, &again.xid), (&envelope.thread, &envelope.xid));
    assert_eq!(again.body.get(), envelope.body.get(), "a body passes byte for byte");
}
