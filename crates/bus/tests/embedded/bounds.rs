//! Nothing grows without bound, nothing blocks, everything ends.

use std::time::Duration;

use slackwater_bus::embedded::Options;
use slackwater_bus::{Bus, Event, QueueLimits};
use slackwater_core::osrf::envelope::Recipient;
use tokio::time::{sleep, timeout};

use crate::client::{Client, body, codes, message, outgoing, payload, status, statuses};

#[tokio::test(start_paused = true)]
async fn a_listener_without_workers_answers_503_for_trace_1() {
    let mut bus = Client::with(Options { max_running: 2, ..Options::default() });
    bus.request("slackwater.demo", "a", 7, "slackwater.demo.hold", "[\"x\"]");
    bus.connect("slackwater.demo", "b", 7);
    assert_eq!(codes(&bus.next().await), [200]);
    bus.request("slackwater.demo", "c", 7, "slackwater.demo.echo", "[1]");
    let envelope = bus.next().await;
    let text = "Service unavailable: no available children and backlog queue at limit";
    assert_eq!(statuses(&envelope), [status(1, "osrfMethodException", 503, text)]);
    assert_eq!((envelope.thread.as_str(), envelope.xid.as_deref()), ("c", Some("xid-c")));
    bus.request("opensrf.math", "d", 1, "add", "[1,1]");
    assert_eq!(codes(&bus.next().await), [200, 205], "another service has its own workers");
    assert_eq!(codes(&bus.next().await), [408]);
    bus.request("slackwater.demo", "e", 7, "slackwater.demo.echo", "[1]");
    assert_eq!(codes(&bus.next().await), [200, 205], "the session's worker is free again");
}

#[tokio::test(start_paused = true)]
async fn an_atomic_result_is_bounded() {
    let mut bus = Client::new();
    // 9 times 8 MiB is more than the 64 MiB that an array may have.
    let param = format!("\"{}\"", "x".repeat(8 << 20));
    let params = format!("[{}]", [param.as_str(); 9].join(","));
    bus.request("slackwater.demo", "t", 1, "slackwater.demo.echo.atomic", &params);
    assert_eq!(codes(&bus.next().await), [500]);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_gateway_fills_the_bus_and_never_blocks_its_senders() {
    let queue = QueueLimits { envelopes: 100, bytes: 1 << 20 };
    let mut bus = Client::with(Options { queue, ..Options::default() });
    let echo = body(&[message(1, "REQUEST", &payload("slackwater.demo.echo", "[1]"))]);
    let demo = || Recipient::Service("slackwater.demo".to_owned());
    let sender = bus.bus.sender.clone();
    let taken = || sender.send(outgoing(demo(), "t", &echo)).is_ok();
    let mut accepted = 0;
    // Nobody reads events, so the bus works on until it is full.
    loop {
        if !taken() {
            sleep(Duration::from_millis(10)).await;
            if !taken() {
                break;
            }
        }
        accepted += 1;
        assert!(accepted < 100_000, "the bus has no bound");
    }
    for answered in 0..accepted {
        let envelope = bus.next().await;
        assert_eq!(codes(&envelope), [200, 205], "answer {answered} of {accepted}");
    }
    bus.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_too_much_to_do_has_envelopes_refused() {
    let mut bus = Client::new();
    bus.connect("slackwater.demo", "s", 0);
    let worker = bus.next().await.from;
    bus.request_of(&worker, "s", 1, "slackwater.demo.hold", "[\"h\"]");
    for trace in 2..2_000 {
        bus.request_of(&worker, "s", trace, "slackwater.demo.echo", "[1]");
    }
    let refused = timeout(Duration::from_secs(1), bus.bus.events.recv()).await.expect("an event");
    let Some(Event::Refused { envelope, why }) = refused else { panic!("{refused:?}") };
    assert_eq!((envelope.to, why.to_string().is_empty()), (Recipient::Worker(worker), false));
}

#[tokio::test(start_paused = true)]
async fn accepted_requests_are_answered_when_all_senders_are_gone() {
    let bus = Client::new();
    bus.request("slackwater.demo", "t", 1, "slackwater.demo.wait", "[3]");
    let Bus { sender, mut events } = bus.bus;
    drop(sender);
    let Some(Event::Received(envelopes)) = events.recv().await else { panic!("no answer") };
    assert_eq!(codes(&envelopes[0]), [200, 205]);
    assert!(events.recv().await.is_none(), "then the bus has ended");
}

#[tokio::test(start_paused = true)]
async fn the_bus_ends_with_its_reader() {
    let mut client = Client::new();
    client.request("slackwater.demo", "t", 1, "slackwater.demo.wait", "[80000]");
    client.connect("slackwater.demo", "s", 0);
    client.next().await;
    let Bus { sender, events } = client.bus;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 3, "the router, a request, a session");
    drop(events);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks(), 0);
    let envelope = outgoing(Recipient::Service("opensrf.math".into()), "t", "[]");
    assert_eq!(sender.send(envelope.clone()), Err(envelope));
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_takes_up_no_room() {
    let queue = QueueLimits { envelopes: 100, bytes: 10_000 };
    let mut bus = Client::with(Options { queue, ..Options::default() });
    let params = format!("[\"{}\"]", "x".repeat(6_000));
    bus.connect("slackwater.demo", "s", 0);
    let worker = bus.next().await.from;
    bus.request_of(&worker, "s", 1, "slackwater.demo.echo", &params);
    assert_eq!(codes(&bus.next().await), [200, 205]);
    bus.request("slackwater.demo", "t", 1, "slackwater.demo.echo", &params);
    assert_eq!(codes(&bus.next().await), [200, 205]);
}
