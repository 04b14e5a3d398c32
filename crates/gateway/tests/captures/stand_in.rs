//! Services that are not among the demo services, and what stands for them:
//!
//! | captured | replayed |
//! |---|---|
//! | `opensrf.slooooooow`, `opensrf.slooooooow.wait` \[seconds, …\], which yields its params as strings | `slackwater.demo`, `slackwater.demo.wait` \[seconds, the same\] |
//! | `opensrf.cslow`, `opensrf.cslow.wait` \[seconds\], which yields its param | `slackwater.demo`, `slackwater.demo.wait` \[seconds, the same\] |
//! | `opensrf.validator` | `opensrf.simple-text`, a Perl service too |
//! | `opensrf.fake4`, `opensrf.fake5`, made by hand | `slackwater.demo`; its requests are in the table, frame by frame |

use serde_json::{Value, json};

use crate::scenario::Frame;

/// What a frame asks in the place of what was captured: a service, a method and its params.
pub(crate) type Asked = (&'static str, &'static str, &'static str);

const SERVICES: [(&str, &str); 5] = [
    ("opensrf.slooooooow", "slackwater.demo"),
    ("opensrf.cslow", "slackwater.demo"),
    ("opensrf.validator", "opensrf.simple-text"),
    ("opensrf.fake4", "slackwater.demo"),
    ("opensrf.fake5", "slackwater.demo"),
];

/// The frame as it is sent. Only one that needs a stand-in changes.
pub(crate) fn replace(frame: &Frame, asked: Option<&Asked>) -> Frame {
    let mentioned = SERVICES.iter().any(|(name, _)| frame.text().contains(&format!("\"{name}")));
    if asked.is_none() && !mentioned {
        return frame.clone();
    }
    let mut wrapper: Value = serde_json::from_str(frame.text()).expect("JSON");
    if let Some((_, new)) = SERVICES.iter().find(|(name, _)| wrapper["service"] == *name) {
        wrapper["service"] = json!(new);
    }
    replace_calls(&mut wrapper["osrf_msg"], asked);
    if let (Some((service, _, _)), true) = (asked, wrapper["service"].is_string()) {
        wrapper["service"] = json!(service);
    }
    Frame::Text(wrapper.to_string())
}

/// The envelope as it must be pushed for such a frame.
pub(crate) fn replace_envelope(text: &str) -> String {
    let Some((name, new)) = SERVICES.iter().find(|(name, _)| text.contains(name)) else {
        return text.to_owned();
    };
    let mut envelope: Value = serde_json::from_str(text).expect("JSON");
    if let Some(to) = envelope["to"].as_str() {
        envelope["to"] = json!(to.replace(name, new));
    }
    replace_calls(&mut envelope["body"], None);
    envelope.to_string()
}

fn replace_calls(messages: &mut Value, asked: Option<&Asked>) {
    for message in messages.as_array_mut().expect("an array") {
        let Some(call) = message.pointer_mut("/__p/payload/__p") else { continue };
        let params = call["params"].clone();
        let first = params[0].clone();
        match (asked, call["method"].as_str()) {
            (Some((_, method, params)), _) => {
                let params: Value = serde_json::from_str(params).expect("JSON");
                *call = json!({"method": method, "params": params});
            }
            (None, Some("opensrf.slooooooow.wait")) => {
                let strings: Vec<Value> =
                    params.as_array().into_iter().flatten().map(as_string).collect();
                *call = json!({"method": "slackwater.demo.wait", "params": [first, strings]});
            }
            (None, Some("opensrf.cslow.wait")) => {
                *call = json!({"method": "slackwater.demo.wait", "params": [first, first]});
            }
            (None, _) => {}
        }
    }
}

/// As a Perl service without JSON's types gives a param back.
fn as_string(param: &Value) -> Value {
    param.as_str().map_or_else(|| json!(param.to_string()), |text| json!(text))
}
