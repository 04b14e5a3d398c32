//! The texts of a call, put together and taken apart by position alone: nothing here parses JSON,
//! since all three subjects carry texts that this file has written.

use crate::bus::Account;

/// A request's messages with this number; 300 bytes, as small calls have.
pub(super) fn request(trace: u64) -> String {
    format!(
        r#"[{{"__c":"osrfMessage","__p":{{"threadTrace":{trace},"locale":"en-US","tz":"America/New_York","ingress":"lab","api_level":1,"type":"REQUEST","payload":{{"__c":"osrfMethod","__p":{{"method":"slackwater.demo.echo","params":["The tide waits for no man, but it can be asked."]}}}}}}}}]"#
    )
}

/// The messages of the answer to a request.
pub(super) fn answer(request: &str) -> Option<String> {
    let trace = number(request, "\"threadTrace\":")?;
    let content = between(request, "\"params\":[", "]")?;
    let head = format!(
        r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"{trace}","locale":"en-US","api_level":1,"type":"#
    );
    Some(format!(
        r#"[{head}"RESULT","payload":{{"__c":"osrfResult","__p":{{"status":"OK","statusCode":"200","content":{content}}}}}}}}},{head}"STATUS","payload":{{"__c":"osrfConnectStatus","__p":{{"status":"Request Complete","statusCode":"205"}}}}}}}}]"#
    ))
}

/// Whether a text holds the whole answer to the request with this number.
pub(super) fn is_answer(text: &str, trace: u64) -> bool {
    number(text, "\"threadTrace\":\"").and_then(|number| number.parse().ok()) == Some(trace)
        && text.contains("\"statusCode\":\"205\"")
}

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
        let request = request(7);
        let sent = envelope(&any_worker_of("a.b"), "f", "t", "x", &request);
        assert_eq!(service_of(&sent), Some("a.b"));
        assert_eq!(last_field(&sent, "\"body\":"), Some(request.as_str()));
        assert_eq!(between(&sent, "\"from\":\"", "\""), Some("f"));
        let answer = answer(&sent).unwrap();
        let frame = wrapper("a.b", "t", &answer);
        assert!(is_answer(&frame, 7) && !is_answer(&frame, 8) && !is_answer(&sent, 7));
        assert_eq!(crate::opensrf::answers(&frame).len(), 2);
        assert!(crate::opensrf::answers(&frame)[1].is_final());
    }
}
