//! A client's wrapper: what is read of it is sound, and its messages keep all that is theirs.

use serde_json::Value;
use serde_json::value::RawValue;
use slackwater_core::osrf::message::Kind;
use slackwater_core::osrf::wrapper::{Rules, Service, Xid, read};
use slackwater_core::osrf::{is_plain_id, is_service_name};

/// No text breaks the reader; ids and services that pass are fit for a bus; and a message that
/// passes differs from what the client sent in nothing that is the client's to say.
pub fn wrapper(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let ingress = RawValue::from_string("\"gateway\"".to_owned()).expect("a JSON string");
    let rules = Rules { max_size: 100_000, max_depth: 32, ingress };
    let wrapper = match read(text, &rules) {
        Ok(wrapper) => wrapper,
        Err(fault) => {
            assert!(fault.offset.is_none_or(|offset| offset <= text.len()));
            return;
        }
    };
    if let Service::Named(name) = &wrapper.service {
        assert!(is_service_name(name));
    }
    if let Xid::Given(xid) = &wrapper.xid {
        assert!(is_plain_id(xid));
    }
    assert!(wrapper.thread.len() <= 256);

    let whole: Value = serde_json::from_str(text).expect("what could be read is JSON");
    let given = whole["osrf_msg"].as_array().expect("messages are an array");
    assert_eq!(given.len(), wrapper.messages.len());
    for (given, message) in given.iter().zip(&wrapper.messages) {
        let Ok(message) = message else { continue };
        let mut passed: Value = serde_json::from_str(&message.text).expect("it passes as JSON");
        let fields = &passed["__p"];
        assert_eq!(fields["ingress"], "gateway");
        let trace = fields["threadTrace"].as_str().map(str::to_owned);
        let trace = trace.unwrap_or_else(|| fields["threadTrace"].to_string());
        assert_eq!(trace, message.trace.to_string());
        if message.kind == Kind::Request {
            assert_eq!(fields["payload"]["__p"]["method"], *message.method);
        }
        give_back(&mut passed, given);
        assert_eq!(&passed, given, "something else was changed");
    }
}

/// Undoes what the gateway may change: it adds what is missing and says `ingress`.
fn give_back(passed: &mut Value, given: &Value) {
    let ours = ["ingress", "locale", "threadTrace"];
    let passed_fields = passed.get_mut("__p").and_then(Value::as_object_mut);
    if let (Some(passed), Some(given)) = (passed_fields, given["__p"].as_object()) {
        for key in ours {
            match given.get(key) {
                None => passed.remove(key),
                Some(old) if key == "ingress" || old.is_null() => {
                    passed.insert(key.to_owned(), old.clone())
                }
                Some(_) => None,
            };
        }
    }
    if given["__p"]["payload"]["__p"].get("params").is_none()
        && let Some(call) = passed.pointer_mut("/__p/payload/__p").and_then(Value::as_object_mut)
    {
        call.remove("params");
    }
}
