//! JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>): who asks with an id awaits a response
//! with the same id; a notification, which has none, awaits nothing. Either side may ask.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Asked, Notice};
use crate::event::Outcome;
use crate::osrf::Trace;
use crate::osrf::status::Status;

/// As much of a request, notification or response as tells which it is.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl Part<'_> {
    /// The id as both sides write it; white space and `null` are none.
    fn id(&self) -> Option<String> {
        let text = self.id?.get();
        // A string may be written in several ways.
        let id = match serde_json::from_str::<Cow<'_, str>>(text) {
            Ok(string) => serde_json::Value::from(string).to_string(),
            Err(_) => text.to_owned(),
        };
        (id != "null").then_some(id)
    }
}

/// The parts of a message: one, or those of a batch.
fn parts(text: &str) -> Vec<Part<'_>> {
    serde_json::from_str::<Part<'_>>(text)
        .map(|part| vec![part])
        .or_else(|_| serde_json::from_str::<Vec<Part<'_>>>(text))
        .unwrap_or_default()
}

pub(super) fn of_client(text: &str) -> Vec<Notice> {
    let notice = |part: Part<'_>| {
        let id = part.id()?;
        Some(match part.method {
            Some(method) => Notice::Asked(Asked {
                thread: id,
                trace: Trace::new(0),
                service: None,
                method: method.into_owned(),
                xid: String::new(),
            }),
            None => Notice::AnsweredProgram { id },
        })
    };
    parts(text).into_iter().filter_map(notice).collect()
}

pub(super) fn of_program(text: &str) -> Vec<Notice> {
    let notice = |part: Part<'_>| {
        let id = part.id()?;
        if part.method.is_some() {
            return Some(Notice::AskedClient { id });
        }
        let outcome = if part.error.is_some() { Outcome::ErrorStatus } else { Outcome::Complete };
        Some(Notice::Answered { thread: id, trace: Trace::new(0), outcome })
    };
    parts(text).into_iter().filter_map(notice).collect()
}

/// An error response in the program's place; its code is one of those left to implementations.
pub(super) fn error_reply(id: &str, status: &Status) -> String {
    let text = serde_json::Value::from(status.text.as_str());
    let code = status.code;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32000,\"message\":{text},\
         \"data\":{{\"status\":{code}}}}}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_responses_of_both_sides_and_batches_are_told_apart() {
        let asked = |text| of_client(text).len();
        assert_eq!(asked(r#"{"jsonrpc":"2.0","method":"sum","params":[1],"id":1}"#), 1);
        assert_eq!(asked(r#"{"jsonrpc":"2.0","method":"notify"}"#), 0, "a notification");
        assert_eq!(asked(r#"{"jsonrpc":"2.0","method":"notify","id":null}"#), 0);
        assert_eq!(asked("not JSON"), 0);
        let batch = of_client(r#"[{"id":"a","method":"m"},{"method":"n"},{"id":2,"result":3}]"#);
        assert!(
            matches!(&batch[..], [Notice::Asked(asked), Notice::AnsweredProgram { id }]
                if asked.thread == "\"a\"" && asked.method == "m" && id == "2"),
            "{batch:?}"
        );
        let said = of_program(r#"[{"id":"a","result":null},{"id":7,"method":"ask"}]"#);
        assert!(
            matches!(&said[..], [Notice::Answered { thread, outcome: Outcome::Complete, .. },
                Notice::AskedClient { id }] if thread == "\"a\"" && id == "7"),
            "{said:?}"
        );
        let failed = of_program(r#"{"id":1,"error":{"code":-1,"message":"no"}}"#);
        assert!(matches!(&failed[..], [Notice::Answered { outcome: Outcome::ErrorStatus, .. }]));
    }

    #[test]
    fn an_id_is_the_same_however_its_string_is_written() {
        let client = of_client("{\"id\":\"\\u0061\",\"method\":\"m\"}");
        let program = of_program("{ \"id\" : \"a\" , \"result\" : 1 }");
        let (Notice::Asked(asked), Notice::Answered { thread, .. }) = (&client[0], &program[0])
        else {
            panic!("{client:?} {program:?}");
        };
        assert_eq!(&asked.thread, thread);
    }

    #[test]
    fn an_error_in_the_programs_place_is_json_rpc() {
        let status = Status::never_executed("a \"reason\"");
        let value: serde_json::Value =
            serde_json::from_str(&error_reply("\"x\"", &status)).expect("JSON");
        assert_eq!(value["id"], "x");
        assert_eq!(value["error"]["data"]["status"], 503);
    }
}
