//! What an attacker, or a broken client, gets, and that nobody else suffers: beside each attack a
//! well-behaved client makes one call after the other, and when it is over memory comes back.
//!
//! The attackers, the gateway (a build for tests) and the well-behaved client share the processors of
//! this machine, in the short form with other tests, too. So the bound on his p99 has a floor; the figures
//! are reported as they are. In the long form the attackers have only what processors are left, and
//! he has one at once where that is permitted, as though they had machines of their own.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod frames;
mod handshakes;
mod hoarders;
mod quotas;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::kernel::resident;
use slackwater_lab::opensrf;
use slackwater_lab::process::Gateway;
use slackwater_lab::proof::{is_long, length, report};
use slackwater_lab::raw::{Message, RawClient};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");
const DEMO: &str = "slackwater.demo";

/// A p99 below this harms nobody; below it, how many times as long as before means nothing.
fn floor() -> Duration {
    length(Duration::from_millis(250), Duration::from_millis(50))
}

/// What may stay of an attack's memory: what an allocator keeps, and what one good client takes.
const KEPT: u64 = 48 << 20;

/// How long a well-behaved client is watched before the attack.
fn watched() -> Duration {
    length(Duration::from_millis(700), Duration::from_secs(4))
}

/// A well-behaved client, in a thread of its own: one call after the other.
struct WellBehaved {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Took>>,
}

/// What he has seen.
#[derive(Clone, Copy)]
struct Took {
    call: Duration,
    /// An exchange with somebody whom nobody attacks: what of such figures is the machine's.
    elsewhere: Duration,
}

impl Took {
    /// What is above all but a hundredth of it, of each.
    fn p99(all: &[Self]) -> Self {
        let p99 = |of: fn(&Self) -> Duration| {
            let mut times: Vec<Duration> = all.iter().map(of).collect();
            times.sort();
            times[times.len() * 99 / 100]
        };
        Self { call: p99(|took| took.call), elsewhere: p99(|took| took.elsewhere) }
    }
}

/// Has this thread scheduled by a policy of chrt(1) from here on, in the long form.
fn schedule(policy: &str, priority: &str) {
    if is_long() {
        let thread = std::fs::read_link("/proc/thread-self").unwrap();
        let number = thread.file_name().unwrap();
        let set = Command::new("chrt").args([policy, "--pid", priority]).arg(number).output();
        if !set.as_ref().is_ok_and(|set| set.status.success()) {
            report(format_args!("chrt {policy} is not permitted: {set:?}"));
        }
    }
}

/// How long he pauses between two calls.
const PAUSE: Duration = Duration::from_millis(2);

/// Somebody who sends back what he is sent, in a thread of his own.
fn unattacked() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut reader, _) = listener.accept().unwrap();
    client.set_nodelay(true).unwrap();
    reader.set_nodelay(true).unwrap();
    std::thread::spawn(move || {
        schedule("--other", "0");
        let mut writer = reader.try_clone()?;
        std::io::copy(&mut reader, &mut writer)
    });
    client
}

impl WellBehaved {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let calls = Arc::<AtomicUsize>::default();
        let counts = Arc::clone(&calls);
        let thread = std::thread::spawn(move || {
            schedule("--fifo", "1");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut client = RawClient::connect(address, "/").await.expect("he is let in");
                let mut other = unattacked();
                let mut took = Vec::new();
                while !stops.load(Ordering::Relaxed) {
                    let trace = u32::try_from(took.len() + 1).unwrap();
                    let began = Instant::now();
                    let params = json!(["well"]);
                    let method = "slackwater.demo.echo";
                    let text = opensrf::request(DEMO, "t", trace, method, &params);
                    client.send_text(&text).await.expect("he is read");
                    let code = final_code(&mut client, trace).await.expect("he is answered");
                    assert_eq!(code, 205, "he is served");
                    let call = began.elapsed();
                    // Not by the runtime, whose timer counts whole milliseconds; nobody else is in it.
                    std::thread::sleep(PAUSE);
                    let began = Instant::now();
                    other.write_all(text.as_bytes()).unwrap();
                    other.read_exact(&mut vec![0; text.len()]).unwrap();
                    took.push(Took { call, elsewhere: began.elapsed() });
                    counts.store(took.len(), Ordering::Relaxed);
                }
                took
            })
        });
        Self { stop, calls, thread }
    }

    /// The p99 of all his calls, of which there are enough to speak of one.
    fn p99(self) -> Took {
        while self.calls.load(Ordering::Relaxed) < 50 && !self.thread.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stop.store(true, Ordering::Relaxed);
        Took::p99(&self.thread.join().expect("nothing went wrong for him"))
    }
}

/// Reads to the final answer of a request; gives its code.
async fn final_code(client: &mut RawClient, trace: u32) -> std::io::Result<u16> {
    loop {
        let Message::Text(text) = client.read_message().await? else {
            return Err(std::io::Error::other("closed"));
        };
        let last = opensrf::answers(&text).into_iter().find(|a| a.trace == trace && a.is_final());
        if let Some(last) = last {
            return Ok(last.code);
        }
    }
}

/// A gateway under attack.
struct Ground {
    gateway: Gateway,
    calm: Duration,
    memory: u64,
    beside: Option<WellBehaved>,
}

impl Ground {
    /// Starts one, and sees how a well-behaved client fares before the attack.
    async fn start(options: &[&str]) -> Self {
        let gateway = Gateway::start(PROGRAM, options).await.unwrap();
        let before = WellBehaved::start(gateway.address());
        tokio::time::sleep(watched()).await;
        let calm = tokio::task::spawn_blocking(|| before.p99()).await.unwrap().call;
        let memory = resident(gateway.pid()).unwrap();
        let beside = Some(WellBehaved::start(gateway.address()));
        // The attackers are in this thread.
        schedule("--idle", "0");
        Self { gateway, calm, memory, beside }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Whether the attack should go on: so few calls were made beside it that they say nothing.
    fn goes_on(&self) -> bool {
        let calls = self.beside.as_ref().map_or(0, |beside| beside.calls.load(Ordering::Relaxed));
        calls < length(50, 500)
    }

    /// The most memory that the attack has taken so far, beyond what there was before it.
    fn taken(&self) -> u64 {
        resident(self.gateway.pid()).unwrap().saturating_sub(self.memory)
    }

    /// The attack is over, its connections are dropped: nobody has suffered, nothing is left.
    async fn endured(mut self, what: &str, most: u64) {
        let beside = self.beside.take().unwrap();
        let Took { call: stormy, elsewhere } =
            tokio::task::spawn_blocking(|| beside.p99()).await.unwrap();
        self.gateway.until("all have gone", |status| status["connections"] == 0).await.unwrap();
        let began = Instant::now();
        let mut left = self.taken();
        while left > KEPT && began.elapsed() < Duration::from_secs(15) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            left = self.taken();
        }
        let mib = |bytes: u64| bytes >> 20;
        report(format_args!(
            "{what}: p99 beside it {:.1} ms, elsewhere {:.1} ms, before {:.1} ms; {} MiB at most, {} MiB left",
            stormy.as_secs_f64() * 1e3,
            elsewhere.as_secs_f64() * 1e3,
            self.calm.as_secs_f64() * 1e3,
            mib(most),
            mib(left)
        ));
        assert!(stormy <= (self.calm * 3).max(floor()), "{stormy:?}, before {:?}", self.calm);
        assert!(left <= KEPT, "{left} bytes are left");
        let status = self.gateway.status().await.unwrap();
        assert_eq!(status["pending_requests"], 0);
        assert!(!self.gateway.log().contains("panic"), "{}", self.gateway.log());
        self.gateway.signal(slackwater_lab::process::Signal::TERM).unwrap();
        assert_eq!(self.gateway.exit().await.unwrap().code(), Some(0));
    }
}
