//! `/metrics`: the figures are those of the ledger, Prometheus's own tools read them, and a client
//! cannot make them grow.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;
use slackwater_lab::proof::skipped;

use crate::{Seen, call};

/// The value of one line of the metrics.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in {text}")).parse().unwrap()
}

async fn scrape(seen: &Seen) -> String {
    let (code, text) = seen.ask("GET", "/metrics", "").await;
    assert_eq!(code, 200);
    text
}

#[tokio::test]
async fn they_are_the_figures_of_the_ledger() {
    let mut seen = Seen::start(&[]).await;
    let mut client = seen.gateway.connect().await.unwrap();
    let demo = "slackwater.demo";
    assert_eq!(
        call(&mut client, 1, demo, "slackwater.demo.echo", json!(["x"])).await.unwrap(),
        205
    );
    assert_eq!(call(&mut client, 2, demo, "no.such.method", json!([])).await.unwrap(), 404);
    assert_eq!(call(&mut client, 3, "no.such.service", "x", json!([])).await.unwrap(), 404);
    let wait = json!([0.3, "done"]);
    assert_eq!(call(&mut client, 4, demo, "slackwater.demo.wait", wait).await.unwrap(), 205);
    client.send_text("not JSON").await.unwrap();
    seen.gateway.until("it was seen", |status| status["invalid_messages"] == 1).await.unwrap();
    let text = scrape(&seen).await;
    for (series, expected) in [
        ("slackwater_connections{state=\"open\"}", 1.0),
        ("slackwater_connections{state=\"draining\"}", 0.0),
        ("slackwater_connections_holding", 0.0),
        ("slackwater_requests_received_total", 4.0),
        ("slackwater_requests_executed_total", 4.0),
        ("slackwater_requests_ended_total{how=\"answered\"}", 4.0),
        ("slackwater_requests_open{where=\"pending\"}", 0.0),
        ("slackwater_invalid_messages_total", 1.0),
        ("slackwater_lost_replies_total", 0.0),
        ("slackwater_bus_up", 1.0),
        ("slackwater_drain_phase{phase=\"serving\"}", 1.0),
        ("slackwater_drain_phase{phase=\"ebb\"}", 0.0),
        ("slackwater_request_duration_seconds_count{service=\"slackwater.demo\"}", 3.0),
        ("slackwater_request_duration_seconds_bucket{le=\"0.2\",service=\"slackwater.demo\"}", 2.0),
        (
            "slackwater_request_duration_seconds_bucket{le=\"+Inf\",service=\"slackwater.demo\"}",
            3.0,
        ),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    let services = |service: &str, outcome: &str| {
        let labels = format!("{{service=\"{service}\",outcome=\"{outcome}\"}}");
        value(&text, &format!("slackwater_service_requests_total{labels}"))
    };
    assert_eq!(services(demo, "complete"), 2.0);
    assert_eq!(services(demo, "error"), 1.0);
    assert_eq!(services("(other)", "refused"), 1.0, "it never answered");
    let took = value(&text, "slackwater_request_duration_seconds_sum{service=\"slackwater.demo\"}");
    assert!((0.3..5.0).contains(&took), "{took}");
    let status = seen.gateway.status().await.unwrap();
    assert_eq!(status["services"][demo]["requests"], 3);
    assert_eq!(status["services"][demo]["errors"], 1);
    assert!(value(&text, "slackwater_client_received_bytes_total") > 400.0);
    assert!(value(&text, "slackwater_client_sent_bytes_total") > 400.0);
    for of_process in ["process_resident_memory_bytes", "process_open_fds", "process_threads"] {
        assert!(value(&text, of_process) > 0.0, "{of_process}");
    }
    assert!(value(&text, "process_cpu_seconds_total") >= 0.0);
}

#[tokio::test]
async fn they_show_a_drain_and_who_has_left() {
    let mut seen = Seen::start(&["--ebb-window", "0s"]).await;
    let mut busy = seen.gateway.connect().await.unwrap();
    let wait = slackwater_lab::opensrf::request(
        "slackwater.demo",
        "t",
        1,
        "slackwater.demo.wait",
        &json!([30.0, "late"]),
    );
    busy.send_text(&wait).await.unwrap();
    let mut idle = seen.gateway.connect().await.unwrap();
    seen.gateway.until("it is under way", |status| status["executed"] == 1).await.unwrap();
    seen.gateway.command(&["drain"]).await.unwrap();
    assert_eq!(idle.closed().await.unwrap().0, Some(1012));
    drop(idle);
    seen.gateway.until("it has left", |status| status["connections"] == 1).await.unwrap();
    let text = scrape(&seen).await;
    for (series, expected) in [
        ("slackwater_connections{state=\"draining\"}", 1.0),
        ("slackwater_connections_holding", 1.0),
        ("slackwater_connections_closed_total{reason=\"drained\"}", 1.0),
        ("slackwater_requests_open{where=\"pending\"}", 1.0),
        ("slackwater_drain_phase{phase=\"ebb\"}", 1.0),
        ("slackwater_drain_connections_at_start", 2.0),
        ("slackwater_drain_connections_closed", 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    let left = value(&text, "slackwater_drain_deadline_seconds");
    assert!((1.0..=120.0).contains(&left), "{left}");
}

#[tokio::test]
async fn a_client_cannot_make_them_grow() {
    let seen = Seen::start(&[]).await;
    let mut client = seen.gateway.connect().await.unwrap();
    call(&mut client, 0, "no.such.service", "x", json!([])).await.unwrap();
    let before = scrape(&seen).await.lines().count();
    for trace in 1..=300 {
        let service = format!("invented.{trace}");
        assert_eq!(call(&mut client, trace, &service, "x", json!([])).await.unwrap(), 404);
    }
    let text = scrape(&seen).await;
    assert_eq!(text.lines().count(), before, "{text}");
    assert_eq!(text.matches("invented").count(), 0);
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// promtool with these arguments; `None` if it is not installed.
fn promtool(arguments: &[&str]) -> Option<(bool, String)> {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(repository().join("packaging/prometheus"));
    let Ok(output) = command.output() else {
        skipped("promtool", "prometheus is not installed");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn the_alerts_are_rules_that_prometheus_takes_and_they_ring_when_they_should() {
    let Some((good, said)) = promtool(&["check", "rules", "slackwater.rules.yml"]) else {
        return;
    };
    assert!(good, "{said}");
    let (good, said) = promtool(&["test", "rules", "slackwater.rules.test.yml"]).unwrap();
    assert!(good, "{said}");
}

/// The names of our metrics that a text speaks of.
fn names(text: &str) -> std::collections::BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("slackwater_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn what_dashboard_and_alerts_ask_for_is_there() {
    let seen = Seen::start(&["--ebb-window", "0s"]).await;
    let mut client = seen.gateway.connect().await.unwrap();
    let demo = "slackwater.demo";
    call(&mut client, 1, demo, "slackwater.demo.echo", json!(["x"])).await.unwrap();
    drop(client);
    let _stays = seen.gateway.connect().await.unwrap();
    let wait = json!([30.0, "late"]);
    let mut busy = seen.gateway.connect().await.unwrap();
    let wait = slackwater_lab::opensrf::request(demo, "t", 1, "slackwater.demo.wait", &wait);
    busy.send_text(&wait).await.unwrap();
    seen.gateway.command(&["drain"]).await.unwrap();
    let there = names(&scrape(&seen).await);
    for file in ["slackwater.rules.yml", "grafana.json"] {
        let text = std::fs::read_to_string(repository().join("packaging/prometheus").join(file));
        let wanted = names(&text.unwrap());
        assert!(wanted.len() > 3, "{file} asks for something");
        let missing: Vec<_> = wanted.difference(&there).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}");
    }
}

#[tokio::test]
async fn prometheus_itself_scrapes_them() {
    let seen = Seen::start(&[]).await;
    let mut client = seen.gateway.connect().await.unwrap();
    let demo = "slackwater.demo";
    assert_eq!(
        call(&mut client, 1, demo, "slackwater.demo.echo", json!(["x"])).await.unwrap(),
        205
    );
    let directory = seen.gateway.directory();
    let config = directory.join("prometheus.yml");
    let target = seen.admin;
    let text = format!(
        "scrape_configs:\n- job_name: slackwater\n  scrape_interval: 1s\n  \
         static_configs: [{{targets: ['{target}']}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = tokio::process::Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
    command.arg(format!("--web.listen-address={port}"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let Ok(_prometheus) = command.spawn() else {
        return skipped("Prometheus scrapes us", "prometheus is not installed");
    };
    let query =
        "slackwater_service_requests_total{service=\"slackwater.demo\",outcome=\"complete\"}";
    let query = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let request =
        format!("GET /api/v1/query?query={query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let began = std::time::Instant::now();
    loop {
        let answer = slackwater_lab::raw::exchange(port, request.as_bytes()).await;
        if answer.as_ref().is_ok_and(|answer| answer.contains(",\"1\"]")) {
            break;
        }
        assert!(began.elapsed().as_secs() < 60, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
