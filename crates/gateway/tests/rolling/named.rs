//! A real HAProxy names the client, and the gateway believes it.

use serde_json::{Value, json};
use slackwater_lab::caller::PATH;
use slackwater_lab::process::Gateway;
use slackwater_lab::proof::skipped;
use slackwater_lab::proxy::PlainProxy;
use slackwater_lab::raw::RawClient;
use tokio::net::TcpStream;

use super::PROGRAM;

const OPTIONS: &[&str] = &[
    "--trusted-proxy=127.0.0.0/8",
    "--proxy-protocol",
    "--health-path=/health",
    "--log-level=warn",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_whom_haproxys_proxy_header_names() {
    let mut gateway = Gateway::start(PROGRAM, OPTIONS).await.expect("a gateway");
    for option in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"] {
        let haproxy = PlainProxy::naming(option, gateway.address()).await.expect("haproxy");
        let Some(haproxy) = haproxy else {
            return skipped("PROXY headers of HAProxy", "no haproxy");
        };
        let stream = TcpStream::connect(haproxy.address()).await.expect("connected");
        let own = stream.local_addr().expect("an address").to_string();
        let mut client = RawClient::over(stream, PATH).await.expect("served");
        let connections = gateway.control("GET", "/connections", "").await.expect("a list");
        let clients: Vec<&Value> =
            connections.as_array().expect("a list").iter().map(|one| &one["client"]).collect();
        assert_eq!(clients, [&json!(own)], "{option}");
        client.close(1000).await.expect("closed");
        client.end().await.expect("an end");
        drop(client);
        gateway.until("it is gone", |status| status["connections"] == 0).await.expect("gone");
    }
    assert_eq!(gateway.log(), "", "its checks were understood, too");
}
