//! What must be answered: as captured, or as the table says in its place.

use crate::answer::{Arrived, Item, Message};
use crate::json::{Json, start};

/// One item that must be answered.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// The number of the frame whose conversation it belongs to; the last one if it does not say.
    pub(crate) on: Option<usize>,
    /// What it must be.
    pub(crate) what: What,
}

/// What an item must be.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// As captured.
    Captured(Message),
    /// A result with this content, in JSON.
    Result { trace: u32, content: String },
    /// A result whose content is the only param of the request that it answers.
    Echoed { trace: u32 },
    /// A status. Its words are not compared, but there are some.
    Status { trace: u32, class: &'static str, code: u16 },
    /// STATUS 503 of the gateway, whose words promise that nothing was executed.
    NeverExecuted { trace: u32 },
    /// A result that describes a method of this name.
    Described { trace: u32, name: &'static str },
    /// A result that holds descriptions of methods of these names.
    AllDescribed { trace: u32, names: Vec<&'static str> },
    /// A result that is a time of today, in seconds.
    Time { trace: u32 },
    /// A `transport_error` with this code.
    Error { code: &'static str, has_thread: bool },
}

/// Items, as the table writes them.
pub(crate) type Answers = Vec<Expected>;

fn one(what: What) -> Answers {
    vec![Expected { on: None, what }]
}

/// A result and the end of its request.
pub(crate) fn ok(trace: u32, content: &str) -> Answers {
    let result = one(What::Result { trace, content: content.to_owned() });
    [result, done(trace)].concat()
}

/// The request's only param, and the end of the request.
pub(crate) fn echoed(trace: u32) -> Answers {
    [one(What::Echoed { trace }), done(trace)].concat()
}

/// STATUS 205: the end of a request.
pub(crate) fn done(trace: u32) -> Answers {
    status(trace, "osrfConnectStatus", 205)
}

/// STATUS 200: a session is open.
pub(crate) fn connected(trace: u32) -> Answers {
    status(trace, "osrfConnectStatus", 200)
}

/// STATUS 408: a session was left idle; a C worker's trace is 0.
pub(crate) fn timed_out() -> Answers {
    status(0, "osrfConnectStatus", 408)
}

/// The request is at fault, or its method failed.
pub(crate) fn method_error(trace: u32, code: u16) -> Answers {
    status(trace, "osrfMethodException", code)
}

/// The service cannot be had.
pub(crate) fn service_error(trace: u32, code: u16) -> Answers {
    status(trace, "osrfServiceException", code)
}

fn status(trace: u32, class: &'static str, code: u16) -> Answers {
    one(What::Status { trace, class, code })
}

/// STATUS 503 with the promise that nothing was executed.
pub(crate) fn never_executed(trace: u32) -> Answers {
    one(What::NeverExecuted { trace })
}

/// Descriptions of methods, each a result, and the end of the request.
pub(crate) fn described(trace: u32, names: &[&'static str]) -> Answers {
    let each = names.iter().flat_map(|name| one(What::Described { trace, name })).collect();
    [each, done(trace)].concat()
}

/// Descriptions of methods in one result, and the end of the request.
pub(crate) fn all_described(trace: u32, names: &[&'static str]) -> Answers {
    [one(What::AllDescribed { trace, names: names.to_vec() }), done(trace)].concat()
}

/// The time, and the end of the request.
pub(crate) fn time(trace: u32) -> Answers {
    [one(What::Time { trace }), done(trace)].concat()
}

/// A `transport_error` for the conversation of the frame.
pub(crate) fn error(code: &'static str) -> Answers {
    one(What::Error { code, has_thread: true })
}

/// A `transport_error` for a frame whose conversation could not be read.
pub(crate) fn error_without_thread(code: &'static str) -> Answers {
    one(What::Error { code, has_thread: false })
}

/// The same in the conversation of another frame.
pub(crate) fn on(frame: usize, answers: Answers) -> Answers {
    answers.into_iter().map(|expected| Expected { on: Some(frame), ..expected }).collect()
}

impl What {
    /// Whether it is for a conversation.
    pub(crate) fn has_thread(&self) -> bool {
        !matches!(self, Self::Error { has_thread: false, .. })
    }

    /// What is wrong with `arrived`, if anything is. `request` is the frame that it answers.
    pub(crate) fn check(&self, arrived: &Arrived, request: &str) -> Result<(), String> {
        let wrong = || {
            let (expected, came) = (start(&format!("{self:?}")), start(&format!("{arrived:?}")));
            Err(format!("expected {expected}\n     came {came}"))
        };
        let message = match (self, &arrived.item) {
            (Self::Error { code, .. }, Item::Error(came)) => {
                return if code == came { Ok(()) } else { wrong() };
            }
            (_, Item::Error(_)) => return wrong(),
            (_, Item::Message(message)) => message,
        };
        let is_result = |trace: &u32| {
            message.trace == trace.to_string()
                && (message.kind.as_str(), message.words.word())
                    == ("RESULT", words(message.chunked))
        };
        let fits = match self {
            Self::Captured(captured) => is_same(captured, message),
            Self::Result { trace, content } => {
                is_result(trace) && Json::read(content)? == message.content
            }
            Self::Echoed { trace } => {
                is_result(trace) && params(request)? == [message.content.clone()]
            }
            Self::Status { trace, class, code } => is_status(message, *trace, class, *code),
            Self::NeverExecuted { trace } => {
                is_status(message, *trace, "osrfMethodException", 503)
                    && message.words.word().is_some_and(|words| words.contains("never executed"))
            }
            Self::Described { trace, name } => {
                is_result(trace) && describes(&message.content, name)
            }
            Self::AllDescribed { trace, names } => {
                let all = message.content.items();
                is_result(trace)
                    && all.len() == names.len()
                    && all.iter().zip(names).all(|(one, name)| describes(one, name))
            }
            Self::Time { trace } => {
                let seconds = message.content.word().and_then(|text| text.parse::<u64>().ok());
                is_result(trace) && seconds.is_some_and(|seconds| seconds > 1_700_000_000)
            }
            Self::Error { .. } => false,
        };
        if fits { Ok(()) } else { wrong() }
    }
}

/// As captured, whoever wrote it; only answers in C's style must share frames as captured, since
/// Perl's services bundle otherwise than the demo services.
fn is_same(captured: &Message, came: &Message) -> bool {
    let place = if captured.by_c { captured.place } else { came.place };
    let by_c = came.by_c;
    Message { place, by_c, ..captured.clone() } == *came
}

fn is_status(message: &Message, trace: u32, class: &str, code: u16) -> bool {
    message.kind == "STATUS"
        && message.trace == trace.to_string()
        && message.class == class
        && message.code == code.to_string()
        && message.words.word().is_some_and(|words| !words.is_empty())
}

fn words(chunked: bool) -> Option<&'static str> {
    Some(if chunked { "Partial Response Finalized" } else { "OK" })
}

fn describes(content: &Json, name: &str) -> bool {
    content.get("api_name").word() == Some(name) && content.get("service").word().is_some()
}

/// The params of the only request in a frame.
fn params(frame: &str) -> Result<Vec<Json>, String> {
    let frame = Json::read(frame)?;
    let messages = frame.get("osrf_msg");
    let [message] = messages.items() else { return Err("one message".to_owned()) };
    let method = message.get("__p").get("payload").get("__p");
    Ok(method.get("params").items().to_vec())
}
