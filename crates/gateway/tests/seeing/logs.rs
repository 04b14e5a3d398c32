//! What the log says of one request: each of its lines names the log trace id, so that it is found
//! in the logs of OpenSRF too.

use slackwater_lab::raw::Message;

use crate::Seen;

#[tokio::test]
async fn each_line_of_a_request_names_its_trace_id() {
    let mut seen = Seen::start(&["--log-level", "debug", "--log-format", "text"]).await;
    let mut client = seen.gateway.connect().await.unwrap();
    let method = r#","payload":{"__c":"osrfMethod","__p":{"method":"add","params":[1,2]}}"#;
    for (xid, method, code) in [("executed-1", method, "205"), ("rejected-1", "", "400")] {
        let request = format!(
            r#"{{"service":"opensrf.math","thread":"t","log_xid":"{xid}","osrf_msg":[{{"__c":
               "osrfMessage","__p":{{"threadTrace":1,"type":"REQUEST"{method}}}}}]}}"#
        );
        client.send_text(&request).await.unwrap();
        loop {
            let Message::Text(answer) = client.read_message().await.unwrap() else { panic!() };
            if answer.contains(code) {
                break;
            }
        }
    }
    drop(client);
    seen.gateway.until("it has gone", |status| status["connections"] == 0).await.unwrap();
    let log = seen.gateway.log();
    let lines = |what: &str, xid: &str| {
        let about = |line: &&str| line.contains(what) && line.contains(xid);
        assert_eq!(log.lines().filter(about).count(), 1, "{what} of {xid} in:\n{log}");
    };
    lines(" request ", "executed-1");
    lines(" settled ", "executed-1");
    lines(" request rejected ", "rejected-1");
}
