//! Every sample of `packaging/balancers` does what its page says.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use slackwater_lab::balancer::{Balancer, Member, Sample};
use slackwater_lab::caller::Caller;
use slackwater_lab::process::{Gateway, Signal};
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

/// A gateway with the settings of the manifest, on ports of its own and on the bus inside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kubernetes_manifest_drains_within_its_grace_period() {
    let text = std::fs::read_to_string(packaging("kubernetes.yaml")).expect("the manifest");
    let after = |key: &str| {
        let rest = text.lines().find_map(|line| line.trim_start().strip_prefix(key));
        rest.expect(key).trim().to_owned()
    };
    let setting = |name: &str| {
        let mut lines = text.lines().skip_while(|line| !line.ends_with(&format!("name: {name}")));
        let value = lines.nth(1).and_then(|line| line.trim_start().strip_prefix("value: "));
        value.expect(name).trim_matches('"').to_owned()
    };
    let (announce, deadline) = (setting("SLACKWATER_ANNOUNCE"), setting("SLACKWATER_DEADLINE"));
    let options = ["--announce", &announce, "--deadline", &deadline];
    let mut gateway = Gateway::start(PROGRAM, &options).await.expect("a gateway");
    gateway.control("POST", "/drain", "").await.expect("a drain");
    let drain = gateway.status().await.expect("a status")["drain"].clone();
    let grace: f64 = after("terminationGracePeriodSeconds:").parse().expect("seconds");
    let left = drain["deadline_seconds_left"].as_f64().expect("a deadline");
    assert!(left > 60.0 && left + 10.0 < grace, "{left} s and the close_timeout in {grace} s");

    let hook: Vec<String> = serde_json::from_str(&after("command:")).expect("a command");
    let (program, arguments) = hook.split_first().expect("a program");
    assert_eq!(program, "slackwater");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = gateway.command(&arguments).await.expect("preStop");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    gateway.signal(Signal::TERM).expect("a signal");
    assert_eq!(gateway.exit().await.expect("an end").code(), Some(0));
}

fn packaging(name: &str) -> String {
    format!("{}/../../packaging/balancers/{name}", env!("CARGO_MANIFEST_DIR"))
}
