//! What HAProxy makes of the words of the agent (`--agent-listen`), with the sample that is shipped.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::balancer::{Balancer, Member, Sample};
use slackwater_lab::bus::Process as _;
use slackwater_lab::bus::redis::server::Server;
use slackwater_lab::caller::Caller;
use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::proof::skipped;
use slackwater_lab::site::joined;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::PROGRAM;

/// HAProxy asks every 2 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a gateway that has come back says `ready`, and some questions more.
const A_WHILE: Duration = Duration::from_secs(9);

/// Ports that stay the same from one process to the next.
fn member(last: u8) -> Member {
    let port = || {
        TcpListener::bind(SocketAddr::from(([127, 0, 0, last], 0)))
            .and_then(|bound| bound.local_addr())
    };
    let port = || port().expect("a port");
    Member { listen: port(), admin: port(), agent: port() }
}

async fn start(member: Member, state: &Path, bus: &[String]) -> Gateway {
    let ports = [
        ("--listen", member.listen),
        ("--admin-listen", member.admin),
        ("--agent-listen", member.agent),
    ];
    let ports = ports.map(|(option, address)| [option.to_owned(), address.to_string()]);
    let state = ["--state-dir".to_owned(), state.display().to_string()];
    let own = ["--ebb-window=0s", "--log-level=error"].map(str::to_owned);
    let bus = if bus.is_empty() { &state } else { bus };
    let all: Vec<&str> =
        ports.iter().flatten().chain(&own).chain(bus).map(String::as_str).collect();
    Gateway::start(PROGRAM, &all).await.expect("a gateway")
}

/// How HAProxy sees the first server: whether it is up, and whether it is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    up: bool,
    drained: bool,
}

const SERVES: Seen = Seen { up: true, drained: false };

async fn seen(haproxy: &Balancer) -> Seen {
    let answer = haproxy.command("show servers state slackwater").await.expect("an answer");
    let line = answer.lines().find(|line| line.contains(" one ")).expect("the server");
    let number = |place: usize| -> u32 {
        line.split(' ').nth(place).and_then(|word| word.parse().ok()).expect("a number")
    };
    // srv_op_state, of which 2 is RUNNING; srv_admin_state, of which 8 is FDRAIN.
    Seen { up: number(5) == 2, drained: number(6) & 8 != 0 }
}

async fn until(haproxy: &Balancer, what: &str, wanted: impl Fn(Seen) -> bool) {
    let began = Instant::now();
    loop {
        let now = seen(haproxy).await;
        if wanted(now) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "not in time: {what}; {now:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn says(agent: SocketAddr) -> String {
    let mut answer = String::new();
    let mut stream = TcpStream::connect(agent).await.expect("the agent");
    stream.read_to_string(&mut answer).await.expect("a line");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_follows_a_drain_of_ours_and_keeps_to_one_of_its_operators() {
    let states = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let members = [member(5), member(6)];
    let mut one = start(members[0], states[0].path(), &[]).await;
    let haproxy = Balancer::start(Sample::HaproxyAgent, &members).await.expect("haproxy");
    let Some(haproxy) = haproxy else {
        return skipped("the HAProxy sample with an agent", "no haproxy");
    };
    until(&haproxy, "it serves", |seen| seen == SERVES).await;
    assert_eq!(says(members[0].agent).await, "up\n");

    // While it drains it is not sent anybody, and who is there is served to the end.
    let mut caller = Caller::connect(haproxy.address()).await.expect("a client");
    caller.call(("t", 1), "wait", &json!([4, "x"]), [json!("x")]).await.expect("a request");
    one.until("it is there", |status| status["pending_requests"] == 1).await.expect("there");
    one.control("POST", "/drain", "").await.expect("a drain");
    until(&haproxy, "it is drained", |seen| seen.drained).await;
    assert!(seen(&haproxy).await.up, "its check goes on finding it alive");
    caller.until_answered().await.expect("an answer");
    caller.raw.read_message().await.expect("a Close");
    caller.leave(1012).await.expect("an end in order");
    one.until("drained", |status| status["phase"] == "drained").await.expect("drained");
    one.control("POST", "/undrain", "").await.expect("served again");
    until(&haproxy, "it has come back", |seen| seen == SERVES).await;

    // What its operator wants is not ours to change.
    let began = Instant::now();
    while says(members[0].agent).await != "up\n" {
        assert!(began.elapsed() < PATIENCE, "it goes on saying ready");
        sleep(Duration::from_millis(200)).await;
    }
    haproxy.command("set server slackwater/one state drain").await.expect("done");
    let began = Instant::now();
    while began.elapsed() < A_WHILE {
        assert!(seen(&haproxy).await.drained, "the operator's drain was called off");
        sleep(Duration::from_millis(100)).await;
    }
    // Nor does a process change it that has not said `drain`, and knows of none that has.
    one.signal(Signal::KILL).expect("killed");
    one.exit().await.expect("gone");
    one = start(members[0], states[1].path(), &[]).await;
    assert_eq!(says(members[0].agent).await, "up\n");
    haproxy.command("set server slackwater/one state ready").await.expect("done");
    until(&haproxy, "it serves", |seen| seen == SERVES).await;

    // A restart is a drain of ours, too: the next process takes it back.
    let mut caller = Caller::connect(haproxy.address()).await.expect("a client");
    caller.call(("t", 1), "wait", &json!([4, "x"]), [json!("x")]).await.expect("a request");
    one.until("it is there", |status| status["pending_requests"] == 1).await.expect("there");
    one.signal(Signal::TERM).expect("told");
    until(&haproxy, "it is drained", |seen| seen.drained).await;
    caller.until_answered().await.expect("an answer");
    assert_eq!(one.exit().await.expect("gone").code(), Some(0));
    let _again = start(members[0], states[1].path(), &[]).await;
    until(&haproxy, "it has come back", |seen| seen == SERVES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_bus_a_gateway_is_down_for_haproxy_until_the_bus_is_back() {
    let Some(mut server) = Server::start().await.expect("a server") else {
        return skipped("the agent without a bus", "no redis-server");
    };
    let state = tempfile::tempdir().expect("a directory");
    let members = [member(7), member(8)];
    let _one = start(members[0], state.path(), &joined(server.port(), state.path())).await;
    let haproxy = Balancer::start(Sample::HaproxyAgent, &members).await.expect("haproxy");
    let Some(haproxy) = haproxy else {
        return skipped("the agent without a bus", "no haproxy");
    };
    until(&haproxy, "it serves", |seen| seen == SERVES).await;
    let client = Caller::connect(haproxy.address()).await.expect("a client");
    server.kill().expect("killed");
    until(&haproxy, "it is down", |seen| !seen.up).await;
    assert!(says(members[0].agent).await.starts_with("down #bus lost: "));
    server.start_again().await.expect("started");
    until(&haproxy, "it serves", |seen| seen == SERVES).await;
    client.leave(1000).await.expect("its connection has lived through it");
}
