//! That nothing is left behind, however many have come and gone: 50,000 in the long form.

use std::io;
use std::time::Duration;

use slackwater_lab::proof::{is_long, report};
use slackwater_lab::raw::RawClient;
use slackwater_lab::{kernel, process::Gateway};
use tokio::task::JoinSet;

use crate::{run, text};

/// Clients at a time.
const AT_ONCE: usize = 50;

#[tokio::test]
async fn descriptors_processes_and_memory_are_back_where_they_were() {
    let visits = if is_long() { 50_000 } else { 1_000 };
    let mut gateway = run(&["--log-level", "warn"], &["cat"]).await.unwrap();
    // What is taken once stays: threads, buffers of the runtime.
    come_and_go(&gateway, 500).await;
    let before = settled(&mut gateway).await;
    come_and_go(&gateway, visits).await;
    let after = settled(&mut gateway).await;
    report(format_args!(
        "{visits} clients with a program each, came and went: {before:?}, then {after:?}"
    ));
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!((before.children, after.children), (0, 0));
    let grown = after.resident.saturating_sub(before.resident);
    assert!(grown < 4 << 20, "{grown} bytes more");
}

#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    children: usize,
    resident: u64,
}

async fn settled(gateway: &mut Gateway) -> Footprint {
    gateway.until("nobody is left", |status| status["connections"] == 0).await.unwrap();
    // The connection that has asked for this is gone as well.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let pid = gateway.pid();
    Footprint {
        descriptors: kernel::descriptors(pid).unwrap(),
        children: kernel::children(pid).unwrap().len(),
        resident: kernel::resident(pid).unwrap(),
    }
}

async fn come_and_go(gateway: &Gateway, visits: usize) {
    let address = gateway.address();
    let mut visitors = JoinSet::new();
    for _ in 0..AT_ONCE {
        visitors.spawn(async move {
            for _ in 0..visits / AT_ONCE {
                let mut client = RawClient::connect(address, "/").await?;
                client.send_text("hello").await?;
                assert_eq!(text(&mut client).await?, "hello");
                client.close(1000).await?;
                client.closed().await?;
            }
            Ok::<_, io::Error>(())
        });
    }
    while let Some(outcome) = visitors.join_next().await {
        outcome.unwrap().unwrap();
    }
}
