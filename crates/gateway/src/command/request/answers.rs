//! What a gateway's messages say about our one request. Long results come in pieces
//! (STATUS 206), which are joined when their end comes (204).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::command::{Failure, shown};

/// Reads the messages of one conversation that holds one request.
#[derive(Debug)]
pub(super) struct Answers {
    thread: String,
    /// The pieces so far of a result that is not yet whole.
    pieces: String,
}

/// Something that a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The content of one RESULT: JSON on one line.
    Content(String),
    /// No more will come.
    Complete,
}

/// Bytes of one result.
const LONGEST_RESULT: usize = 256 << 20;

impl Answers {
    pub(super) fn new(thread: String) -> Self {
        Self { thread, pieces: String::new() }
    }

    /// What this message says, in order. An error ends the request.
    pub(super) fn take(&mut self, message: &str) -> Result<Vec<Answer>, Failure> {
        let wrapper: Wrapper<'_> = serde_json::from_str(message).map_err(not_understood)?;
        if let Some(error) = wrapper.error {
            let message = shown::words(&error.message);
            return Err(Failure::Failed(format!("{}: {message}", shown::foreign(&error.code))));
        }
        if wrapper.thread.as_ref().is_none_or(|thread| *thread != self.thread) {
            return Ok(Vec::new());
        }
        let mut answers = Vec::new();
        for Classed { __p: message } in wrapper.osrf_msg {
            let Some(Classed { __p: payload }) = message.payload else { continue };
            answers.extend(self.read(&message.r#type, &payload)?);
        }
        if wrapper.transport_error {
            // OpenSRF's own gateway gives back what was asked, and no word about it.
            return Err(Failure::Failed("the message bus could not deliver it".to_owned()));
        }
        Ok(answers)
    }

    fn read(&mut self, kind: &str, payload: &Payload<'_>) -> Result<Option<Answer>, Failure> {
        let content = payload.content.map_or("null", RawValue::get);
        match (kind, payload.code()) {
            ("RESULT", Some(206)) => {
                let piece: String = serde_json::from_str(content).map_err(not_understood)?;
                self.pieces.push_str(&piece);
                if self.pieces.len() > LONGEST_RESULT {
                    return Err(Failure::Failed("a result of more than 256MiB".to_owned()));
                }
                Ok(None)
            }
            ("RESULT", Some(204)) => {
                let whole = std::mem::take(&mut self.pieces);
                let whole: &RawValue = serde_json::from_str(&whole).map_err(not_understood)?;
                Ok(Some(Answer::Content(on_one_line(whole.get()))))
            }
            ("RESULT", _) => Ok(Some(Answer::Content(on_one_line(content)))),
            ("STATUS", Some(205)) => Ok(Some(Answer::Complete)),
            ("STATUS", Some(code @ 400..)) => {
                let text = payload.status.as_deref().map_or_else(String::new, shown::words);
                Err(Failure::Failed(format!("{code} {text}")))
            }
            _ => Ok(None),
        }
    }
}

/// Line ends in JSON stand between its tokens only: inside a string they are escaped.
fn on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

fn not_understood(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("the answer is not understood: {error}"))
}

#[derive(Deserialize)]
struct Wrapper<'a> {
    #[serde(default)]
    thread: Option<String>,
    #[serde(default, borrow)]
    osrf_msg: Vec<Classed<Received<'a>>>,
    #[serde(default)]
    transport_error: bool,
    #[serde(default)]
    error: Option<TransportError>,
}

#[derive(Deserialize)]
struct TransportError {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Classed<T> {
    __p: T,
}

#[derive(Deserialize)]
struct Received<'a> {
    r#type: String,
    #[serde(default, borrow)]
    payload: Option<Classed<Payload<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(default)]
    status: Option<String>,
    #[serde(default, borrow)]
    status_code: Option<&'a RawValue>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
}

impl Payload<'_> {
    /// C services send the code as a string, Perl services as a number.
    fn code(&self) -> Option<u16> {
        self.status_code?.get().trim_matches('"').parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        Answers::new("t".to_owned())
    }

    fn message(kind: &str, status: &str, code: &str, content: &str) -> String {
        format!(
            r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"1","type":"{kind}","payload":{{"__c":"x","__p":{{"status":"{status}","statusCode":{code},"content":{content}}}}}}}}}"#
        )
    }

    fn wrapped(messages: &[String]) -> String {
        format!(r#"{{"thread":"t","log_xid":null,"osrf_msg":[{}]}}"#, messages.join(","))
    }

    #[test]
    fn results_and_their_end_may_come_in_one_message() {
        let text = wrapped(&[
            message("RESULT", "OK", "200", "1.0"),
            message("RESULT", "OK", "\"200\"", "{\"a\":\n2}"),
            message("STATUS", "Request Complete", "\"205\"", "null"),
        ]);
        let expected = [
            Answer::Content("1.0".to_owned()),
            Answer::Content("{\"a\": 2}".to_owned()),
            Answer::Complete,
        ];
        assert_eq!(answers().take(&text).unwrap(), expected);
    }

    #[test]
    fn pieces_are_joined_when_their_end_comes_wherever_they_were_cut() {
        // The whole is ["\u20ac\\"], cut inside both escapes.
        let mut answers = answers();
        for piece in [r#""[\"\\u2""#, r#""0ac\\""#, r#""\\\"]""#] {
            let text = wrapped(&[message("RESULT", "Partial Response", "206", piece)]);
            assert_eq!(answers.take(&text).unwrap(), []);
        }
        let end = wrapped(&[message("RESULT", "No Content", "\"204\"", "null")]);
        let whole = Answer::Content(r#"["\u20ac\\"]"#.to_owned());
        assert_eq!(answers.take(&end).unwrap(), [whole]);
        let next = wrapped(&[message("RESULT", "Partial Response", "206", "\"7\"")]);
        assert_eq!(answers.take(&next).unwrap(), []);
        assert_eq!(answers.take(&end).unwrap(), [Answer::Content("7".to_owned())]);
    }

    #[test]
    fn an_error_status_ends_the_request() {
        let text = wrapped(&[message("STATUS", "Service Not Found", "404", "null")]);
        let failed = Failure::Failed("404 Service Not Found".to_owned());
        assert_eq!(answers().take(&text).unwrap_err(), failed);
        let text = r#"{"transport_error":true,"error":{"code":"invalid_json","message":"no"}}"#;
        let failed = Failure::Failed("invalid_json: no".to_owned());
        assert_eq!(answers().take(text).unwrap_err(), failed);
    }

    #[test]
    fn other_threads_and_other_statuses_are_passed_over() {
        let other = wrapped(&[message("STATUS", "x", "205", "null")]).replace(r#":"t""#, r#":"u""#);
        assert_eq!(answers().take(&other).unwrap(), []);
        let ack = wrapped(&[message("STATUS", "Continue", "100", "null")]);
        assert_eq!(answers().take(&ack).unwrap(), []);
    }

    #[test]
    fn what_is_not_osrf_is_an_error() {
        for text in ["", "1", r#"{"osrf_msg":{}}"#, r#"{"thread":"t","osrf_msg":[1]}"#] {
            assert!(answers().take(text).is_err(), "{text}");
        }
        let broken = wrapped(&[message("RESULT", "No Content", "204", "null")]);
        assert!(answers().take(&broken).is_err(), "an end without pieces");
    }
}
