//! `lab`: the instruments, one subcommand each.

use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use slackwater::front::{Front, ListenAddress, Listener, listener::Refusal};
use slackwater_lab::echo::{self, Echo};

#[derive(Parser)]
#[command(about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    instrument: Instrument,
}

#[derive(Subcommand)]
enum Instrument {
    /// Echo every message on the gateway's own WebSocket code, until interrupted.
    Echo {
        /// Where to listen: ADDR:PORT or unix:/path.
        #[arg(long, default_value = "127.0.0.1:9001")]
        listen: ListenAddress,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Arguments::parse().instrument {
        Instrument::Echo { listen } => echo(listen).await,
    }
}

async fn echo(listen: ListenAddress) -> anyhow::Result<()> {
    let listener = Listener::bind(listen, Refusal::Shut)?;
    let front = Front::start(vec![listener], echo::settings(), Arc::new(Echo));
    for address in front.addresses() {
        tracing::info!(%address, "echo");
    }
    tokio::signal::ctrl_c().await.context("no signals")?;
    front.close().await;
    Ok(())
}
