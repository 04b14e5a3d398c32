//! The texts of answers, in the form of OpenSRF's C services: their order of keys, and strings
//! for `threadTrace` and `statusCode`. Services, listeners and routers all speak so.

use slackwater_core::osrf::quote::quote;

/// What all answers to one message begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Everything up to the value of `type`.
    text: String,
}

impl Head {
    /// The head of answers for `trace`, in `locale` (`[A-Za-z0-9_-]*`).
    pub fn new(trace: i32, locale: &str) -> Self {
        Self {
            text: format!(
                r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"{trace}","locale":"{locale}","api_level":1,"type":"#
            ),
        }
    }

    /// A RESULT whose content is this JSON text.
    pub fn result(&self, content: &str) -> String {
        self.any_result("osrfResult", r#""OK","statusCode":"200""#, content)
    }

    /// A RESULT as routers send it, without a status.
    pub fn router_result(&self, content: &str) -> String {
        self.any_result("osrfResult", r#"null,"statusCode":"0""#, content)
    }

    /// A RESULT whose content is a slice of a larger one's JSON text.
    pub fn partial(&self, slice: &str) -> String {
        let status = r#""Partial Response","statusCode":"206""#;
        self.any_result("osrfResultPartial", status, &quote(slice))
    }

    /// The RESULT that ends a row of [`Head::partial`]s.
    pub fn partial_end(&self) -> String {
        let status = r#""Partial Response Finalized","statusCode":"204""#;
        self.any_result("osrfResultPartialComplete", status, "null")
    }

    /// STATUS 200: a session is open.
    pub fn connected(&self) -> String {
        self.status("osrfConnectStatus", 200, "Connection Successful")
    }

    /// STATUS 205: there is no more to this request.
    pub fn complete(&self) -> String {
        self.status("osrfConnectStatus", 205, "Request Complete")
    }

    /// STATUS 307: the session is over, this request was not run.
    pub fn max_requests(&self) -> String {
        self.status("osrfConnectStatus", 307, "Disconnect on max requests")
    }

    /// STATUS 408: the session is over, its client was silent for too long.
    pub fn timed_out(&self) -> String {
        self.status("osrfConnectStatus", 408, "Disconnected on timeout")
    }

    /// The STATUS of a request that failed; no STATUS 205 follows.
    pub fn method_exception(&self, code: u16, text: &str) -> String {
        self.status("osrfMethodException", code, text)
    }

    /// The STATUS of a service that is not there.
    pub fn service_exception(&self, code: u16, text: &str) -> String {
        self.status("osrfServiceException", code, text)
    }

    fn any_result(&self, class: &str, status: &str, content: &str) -> String {
        let head = &self.text;
        format!(
            r#"{head}"RESULT","payload":{{"__c":"{class}","__p":{{"status":{status},"content":{content}}}}}}}}}"#
        )
    }

    fn status(&self, class: &str, code: u16, text: &str) -> String {
        let (head, text) = (&self.text, quote(text));
        format!(
            r#"{head}"STATUS","payload":{{"__c":"{class}","__p":{{"status":{text},"statusCode":"{code}"}}}}}}}}"#
        )
    }
}

/// A body of this one message.
pub fn body(message: &str) -> String {
    format!("[{message}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_statuses_are_those_of_a_c_service() {
        let head = Head::new(1, "en-US");
        assert_eq!(
            head.result("3"),
            r#"{"__c":"osrfMessage","__p":{"threadTrace":"1","locale":"en-US","api_level":1,"type":"RESULT","payload":{"__c":"osrfResult","__p":{"status":"OK","statusCode":"200","content":3}}}}"#
        );
        assert_eq!(
            head.complete(),
            r#"{"__c":"osrfMessage","__p":{"threadTrace":"1","locale":"en-US","api_level":1,"type":"STATUS","payload":{"__c":"osrfConnectStatus","__p":{"status":"Request Complete","statusCode":"205"}}}}"#
        );
        assert_eq!(
            head.partial_end(),
            r#"{"__c":"osrfMessage","__p":{"threadTrace":"1","locale":"en-US","api_level":1,"type":"RESULT","payload":{"__c":"osrfResultPartialComplete","__p":{"status":"Partial Response Finalized","statusCode":"204","content":null}}}}"#
        );
        assert_eq!(
            head.router_result(r#"["a"]"#),
            r#"{"__c":"osrfMessage","__p":{"threadTrace":"1","locale":"en-US","api_level":1,"type":"RESULT","payload":{"__c":"osrfResult","__p":{"status":null,"statusCode":"0","content":["a"]}}}}"#
        );
    }

    #[test]
    fn words_of_strangers_are_quoted() {
        let text = Head::new(-1, "en").method_exception(400, "\"\\\u{1}é");
        let parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(parsed["__p"]["payload"]["__p"]["status"], "\"\\\u{1}é");
        assert_eq!(parsed["__p"]["threadTrace"], "-1");
    }
}
