//! A body from the bus.

use slackwater_core::osrf::Trace;
use slackwater_core::osrf::answer::{Body, read};
use slackwater_core::osrf::json::Json;

/// No body breaks the reader; what is passed on is JSON; and an answer that is given to another
/// request differs in its trace alone.
pub fn envelope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(body) = Json::read(text) else { return };
    let Body::Messages(answers) = read(&body) else { return };
    for answer in &answers {
        assert!(text.contains(answer.text()));
        for trace in [0, 7, u32::MAX].map(Trace::new) {
            let changed = answer.text_for(trace);
            let body = Json::read(&format!("[{changed}]")).expect("a change leaves it JSON");
            let Body::Messages(again) = read(&body) else { panic!("it was an array: {body:?}") };
            assert_eq!(again.len(), 1);
            assert_eq!((again[0].status, again[0].number), (answer.status, answer.number));
            let is_told = again[0].trace == Some(trace);
            assert!(is_told || changed == answer.text(), "half a change: {changed}");
            assert!(is_told || answer.trace.is_none(), "a trace that was there was not replaced");
        }
    }
}
