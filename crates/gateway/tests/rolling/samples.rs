//! Every sample of `packaging/balancers` does what its page says.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use slackwater_lab::balancer::{Balancer, Member, Sample};
use slackwater_lab::caller::Caller;
use slackwater_lab::process::Gateway;
use slackwater_lab::proof::skipped;

use super::PROGRAM;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_behind_nginx_serves_and_drains() {
    let mut gateway = Gateway::start(PROGRAM, &["--ebb-window", "0s"]).await.expect("a gateway");
    let listen = gateway.address();
    let member = Member { listen, admin: listen, agent: listen };
    let Some(nginx) = Balancer::start(Sample::NginxOne, &[member]).await.expect("nginx") else {
        return skipped("the nginx sample for one gateway", "no nginx");
    };
    let mut caller = Caller::connect(nginx.address()).await.expect("a client");
    caller.echo(("t", 1), json!("hello"), "sample").await.expect("a request");
    caller.until_answered().await.expect("an answer");
    gateway.control("POST", "/drain", "").await.expect("a drain");
    let close = caller.raw.read_message().await.expect("a Close");
    assert_eq!(format!("{close:?}"), r#"Close { code: Some(1012), reason: "drained" }"#);
    caller.leave(1012).await.expect("an end in order");
    gateway.until("drained", |status| status["phase"] == "drained").await.expect("drained");
}

#[test]
fn ldirectord_reads_its_sample() {
    let file = packaging("ldirectord.cf");
    // It looks for a file that it does not find there in /etc.
    assert!(Path::new(&file).is_absolute());
    let read = Command::new("/usr/sbin/ldirectord").arg(&file).arg("status").output();
    let Ok(read) = read else {
        return skipped("the ldirectord sample", "no ldirectord");
    };
    // LSB: 3 is that it does not run. A file that it cannot read gives another status, and words.
    let errors = String::from_utf8_lossy(&read.stderr);
    assert_eq!((read.status.code(), errors.as_ref()), (Some(3), ""));
}

fn packaging(name: &str) -> String {
    format!("{}/../../packaging/balancers/{name}", env!("CARGO_MANIFEST_DIR"))
}
