//! The drain as clients and operators see it, on the real program: one test for each row in which
//! today's gateways lose answers, and for what an operator is promised.
//!
//! A worker here waits until the test lets it go (`slackwater.demo.hold` and `.release`), so that
//! nothing depends on how fast the machine is. What a bus has a part in is proven on each.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod client;
mod deadline;
mod inherited;
mod refusal;
mod rows;
mod signals;
mod systemd;
mod tls;

use std::io;

use slackwater_lab::process::Gateway;
use slackwater_lab::site::Site;

/// A gateway on which nothing is waited for that a test does not wait for.
async fn gateway(site: &Site, options: &[&str]) -> io::Result<Gateway> {
    let mut all = options.to_vec();
    for default in [["--ebb-window", "0s"], ["--log-level", "debug"]] {
        if !options.contains(&default[0]) {
            all.extend(default);
        }
    }
    site.gateway(env!("CARGO_BIN_EXE_slackwater"), &all).await
}

/// Begins a drain that leaves the process up.
async fn drain(gateway: &mut Gateway) -> io::Result<()> {
    gateway.control("POST", "/drain", "").await?;
    let leaving = |phase: &serde_json::Value| phase == "ebb" || phase == "drained";
    gateway.until("connections leave", |status| leaving(&status["phase"])).await?;
    Ok(())
}
