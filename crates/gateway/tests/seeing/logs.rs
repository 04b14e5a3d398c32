//! What the log says of one request: each of its lines names the log trace id, so that it is found
//! in the logs of OpenSRF too. And that nobody waits for whoever reads it.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use slackwater_lab::opensrf;
use slackwater_lab::process::Signal;
use slackwater_lab::raw::{Message, RawClient, handshake};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::{PROGRAM, Seen};

#[tokio::test]
async fn each_line_of_a_request_names_its_trace_id() {
    let seen = Seen::start(&["--log-level", "debug", "--log-format", "text"]).await;
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
    let log = seen.gateway.logged(" disconnected ").await.unwrap();
    let lines = |what: &str, xid: &str| {
        let about = |line: &&str| line.contains(what) && line.contains(xid);
        assert_eq!(log.lines().filter(about).count(), 1, "{what} of {xid} in:\n{log}");
    };
    lines(" request ", "executed-1");
    lines(" settled ", "executed-1");
    lines(" request rejected ", "rejected-1");
}

/// A journal that has stopped, a terminal with Ctrl-S: the pipe is full, and stays so.
#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_client_nor_the_end() {
    const REQUESTS: u32 = 1_000;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("socket");
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(["serve", "--log-level", "debug", "--ebb-window", "0s", "--listen"]);
    command.arg(format!("unix:{}", place.display()));
    command.arg("--control").arg(directory.path().join("control"));
    command.arg("--state-dir").arg(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut gateway = command.spawn().unwrap();
    let connecting = async {
        loop {
            match UnixStream::connect(&place).await {
                Ok(stream) => return stream,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let stream = timeout(Duration::from_secs(20), connecting).await.expect("it serves");
    let mut client = RawClient::on(stream);
    client.send_bytes(handshake("/", "").as_bytes()).await.unwrap();
    client.finish_handshake().await.unwrap();
    for trace in 1..=REQUESTS {
        let (service, method) = ("slackwater.demo", "slackwater.demo.echo");
        let request = opensrf::request(service, "t", trace, method, &json!(["x".repeat(200)]));
        client.send_text(&request).await.unwrap();
        loop {
            let Message::Text(text) = client.read_message().await.expect("an answer") else {
                panic!("no text")
            };
            if opensrf::answers(&text).iter().any(|answer| answer.is_final()) {
                break;
            }
        }
    }
    drop(client);
    let pid = rustix::process::Pid::from_raw(gateway.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let status = timeout(Duration::from_secs(20), gateway.wait()).await.expect("it ends");
    assert_eq!(status.unwrap().code(), Some(0));
    let mut log = String::new();
    gateway.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    let requests = log.lines().filter(|line| line.contains(" request ")).count();
    assert!((1..REQUESTS as usize).contains(&requests), "{requests} of them fit into the pipe");
}
