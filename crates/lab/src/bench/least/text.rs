//! The texts of a call, put together and taken apart by position alone: nothing here parses JSON,
//! since all subjects carry texts that this file has written.

use std::time::Duration;

use crate::bus::Account;

/// What a small call says.
const SMALL: &str = "The tide waits for no man, but it can be asked.";

/// A request's messages with this number: 300 bytes, as small calls have, or with a text of `length`.
pub(super) fn request(trace: u64, length: Option<usize>) -> String {
    let content = length.map_or_else(|| SMALL.to_owned(), text_of);
    format!(
        r#"[{{"__c":"osrfMessage","__p":{{"threadTrace":{trace},"locale":"en-US","tz":"America/New_York","ingress":"ws-translator-v2","api_level":1,"type":"REQUEST","payload":{{"__c":"osrfMethod","__p":{{"method":"slackwater.demo.echo","params":["{content}"]}}}}}}}}]"#
    )
}

/// So many bytes that need no escaping.
fn text_of(length: usize) -> String {
    SMALL.chars().cycle().take(length).collect()
}

impl Answers {
    /// How long after an answer the next one goes.
    pub(super) fn apart(self) -> Duration {
        match self {
            Self::Results { apart, .. } => apart,
            Self::Echo | Self::Chunks { .. } => Duration::ZERO,
        }
    }
}

/// What a worker answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// What it was asked with.
    Echo,
    /// So many results of so many bytes each; the next one goes so long after the last.
    Results { count: usize, bytes: usize, apart: Duration },
    /// One result, in so many chunks of so many bytes each.
    Chunks { count: usize, bytes: usize },
}

/// The messages of the answers to a request, one text for each that goes over the bus.
pub(super) fn answers(
    request: &str,
    answers: Answers,
) -> Option<impl Iterator<Item = String> + use<>> {
    let trace = number(request, "\"threadTrace\":")?.to_owned();
    let (kind, code, count, content) = match answers {
        Answers::Echo => {
            let content = between(request, "\"params\":[", "]")?.to_owned();
            ("osrfResult", 200, 1, content)
        }
        Answers::Results { count, bytes, apart: _ } => {
            ("osrfResult", 200, count, format!("\"{}\"", text_of(bytes)))
        }
        Answers::Chunks { count, bytes } => {
            ("osrfResultPartial", 206, count, format!("\"{}\"", text_of(bytes)))
        }
    };
    let head = format!(
        r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"{trace}","locale":"en-US","api_level":1,"type":"#
    );
    let result = move |kind: &str, code: u32, content: &str| {
        format!(
            r#"{head}"RESULT","payload":{{"__c":"{kind}","__p":{{"status":"OK","statusCode":"{code}","content":{content}}}}}}}}}"#
        )
    };
    // The last of them takes the end with it, as a worker's do that answers at once.
    let last = format!(
        r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"{trace}","locale":"en-US","api_level":1,"type":"STATUS","payload":{{"__c":"osrfConnectStatus","__p":{{"status":"Request Complete","statusCode":"205"}}}}}}}}"#
    );
    let chunked = matches!(answers, Answers::Chunks { .. });
    Some((0..count).map(move |number| {
        let message = result(kind, code, &content);
        match (number + 1 == count, chunked) {
            (false, _) => format!("[{message}]"),
            (true, false) => format!("[{message},{last}]"),
            (true, true) => {
                let end = result("osrfResultPartialComplete", 204, "null");
                format!("[{message},{end},{last}]")
            }
        }
    }))
}

/// The number of the request that a text has an answer to.
pub(super) fn answer_to(text: &str) -> Option<u64> {
    number(text, "\"threadTrace\":\"")?.parse().ok()
}

/// Whether it is the last one.
pub(super) fn is_last(text: &str) -> bool {
    // It stands at the end, and the text may be long.
    let end = text.len().saturating_sub(400);
    let end = text.as_bytes().get(end..).unwrap_or_default();
    end.windows(LAST.len()).any(|some| some == LAST)
}

const LAST: &[u8] = b"\"statusCode\":\"205\"";

/// The name of a conversation, as OpenSRF's browser library makes them.
pub(super) fn thread(number: u64) -> String {
    format!("0.{number:016}1795352337312")
}

/// A log trace id, as OpenSRF's C code makes them.
pub(super) const XID: &str = "1795352337312250";

/// What a WebSocket client sends.
pub(super) fn wrapper(service: &str, thread: &str, messages: &str) -> String {
    format!(r#"{{"service":"{service}","thread":"{thread}","osrf_msg":{messages}}}"#)
}

/// What goes over the bus; `to` is an address.
pub(super) fn envelope(to: &str, from: &str, thread: &str, xid: &str, messages: &str) -> String {
    format!(
        r#"{{"to":"{to}","from":"{from}","thread":"{thread}","osrf_xid":"{xid}","body":{messages}}}"#
    )
}

/// What an envelope to any worker of a service says that it is for.
pub(super) fn any_worker_of(service: &str) -> String {
    format!("{ANY_WORKER}{service}")
}

/// The service that an envelope is for.
pub(super) fn service_of(envelope: &str) -> Option<&str> {
    between(envelope, ANY_WORKER, "\"")
}

/// The list of a service's requests.
pub(super) fn service_list(account: &Account, service: &str) -> String {
    format!("opensrf:service:{}:{}:{service}", account.user, account.domain)
}

/// A name for the list of one client.
pub(super) fn address(account: &Account, part: &str, number: u64) -> String {
    let pid = std::process::id();
    format!("opensrf:client:{}:{}:lab:{pid}:{part}{number}", account.user, account.domain)
}

/// A resource of one client.
pub(super) fn resource(part: &str, number: u64) -> String {
    format!("lab_{}_{part}{number}", std::process::id())
}

/// What stands between two marks for the first time.
pub(super) fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(found, _)| found)
}

/// What stands behind a mark up to the end of the object.
pub(super) fn last_field<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark)?.1.strip_suffix('}')
}

const ANY_WORKER: &str = "opensrf:service:_:_:";

/// The digits behind a mark.
fn number<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    // The gateway sends on what the client wrote, which is a number or a string of one.
    let rest = rest.strip_prefix('"').unwrap_or(rest);
    rest.split(|c: char| !c.is_ascii_digit()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_there_and_back() {
        let request = request(7, None);
        let sent = envelope(&any_worker_of("a.b"), "f", "t", "x", &request);
        assert_eq!(service_of(&sent), Some("a.b"));
        assert_eq!(last_field(&sent, "\"body\":"), Some(request.as_str()));
        assert_eq!(between(&sent, "\"from\":\"", "\""), Some("f"));
        let answer: Vec<String> = answers(&sent, Answers::Echo).unwrap().collect();
        let frame = wrapper("a.b", "t", &answer[0]);
        assert!(answer_to(&frame) == Some(7) && is_last(&frame) && !is_last(&sent));
        assert_eq!(crate::opensrf::answers(&frame).len(), 2);
        assert!(crate::opensrf::answers(&frame)[1].is_final());
    }

    #[test]
    fn a_large_answer_comes_in_as_many_pieces_as_were_asked_for() {
        let request = request(7, Some(5_000));
        assert!(request.len() > 5_000 && request.len() < 5_500);
        for (what, code) in [
            (Answers::Results { count: 3, bytes: 100, apart: Duration::ZERO }, 200),
            (Answers::Chunks { count: 3, bytes: 100 }, 206),
        ] {
            let texts: Vec<String> = answers(&request, what).unwrap().collect();
            assert_eq!(texts.len(), 3);
            for (number, text) in texts.iter().enumerate() {
                assert_eq!((answer_to(text), is_last(text)), (Some(7), number == 2));
                let frame = wrapper("a.b", "t", text);
                assert_eq!(crate::opensrf::answers(&frame)[0].code, code);
            }
        }
    }
}
