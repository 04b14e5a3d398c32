//! Where a gateway is, again and again: an address and ports that stay the same, and the process
//! that is there now.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::balancer::Member;
use crate::caller::{DEMO, PATH};
use crate::crowd::LABEL;
use crate::opensrf;
use crate::process::{Gateway, Signal};
use crate::raw::{Message, RawClient};
use crate::site::{Site, joined};

/// For a drain, and for a balancer to notice that one is over.
const PATIENCE: Duration = Duration::from_secs(60);

/// The thread of the witness's session.
const WITNESS: &str = "witness";

pub(super) struct Place {
    member: Member,
    state: tempfile::TempDir,
    gateway: Option<Gateway>,
}

impl Place {
    /// At an address of its own: connections that others make, from 127.0.0.1, cannot take its
    /// ports while nobody is there.
    pub(super) fn at(address: impl Into<IpAddr>) -> io::Result<Self> {
        let address = address.into();
        let port = || TcpListener::bind((address, 0))?.local_addr();
        let (listen, admin, agent) = (port()?, port()?, port()?);
        let state = tempfile::tempdir()?;
        Ok(Self { member: Member { listen, admin, agent }, state, gateway: None })
    }

    pub(super) const fn member(&self) -> Member {
        self.member
    }

    pub(super) async fn start(
        &mut self,
        site: &Site,
        program: &Path,
        options: &[&str],
    ) -> io::Result<()> {
        let mut own = match site.server() {
            Some(server) => joined(server.port(), self.state.path()),
            None => {
                let state = self.state.path().display().to_string();
                site.options().into_iter().chain(["--state-dir".to_owned(), state]).collect()
            }
        };
        let Member { listen, admin, agent } = self.member;
        own.extend(["--listen".to_owned(), listen.to_string()]);
        own.extend(["--admin-listen".to_owned(), admin.to_string()]);
        own.extend(["--agent-listen".to_owned(), agent.to_string()]);
        let all: Vec<&str> =
            own.iter().map(String::as_str).chain(options.iter().copied()).collect();
        self.gateway = Some(Gateway::start(program, &all).await?);
        Ok(())
    }

    /// Waits until the balancer sends new clients here.
    pub(super) async fn is_sent_clients_by(&mut self, balancer: SocketAddr) -> io::Result<()> {
        let began = Instant::now();
        while self.gateway()?.status().await?["closed"]["client"].is_null() {
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other("the balancer does not take it back"));
            }
            let mut probe = RawClient::connect(balancer, PATH).await?;
            probe.close(1000).await?;
            probe.end().await?;
        }
        Ok(())
    }

    /// Tells it to drain and to end, and gives its last status and what its bus has executed. A
    /// witness sees to it that these can be read when all clients have gone: its session holds the
    /// drain.
    pub(super) async fn drain(&mut self) -> io::Result<(Value, u64)> {
        let mut witness = RawClient::connect(self.member.listen, PATH).await?;
        witness.send_text(&opensrf::connect(DEMO, WITNESS)).await?;
        witness.read_message().await?;
        let gateway = self.gateway()?;
        gateway.signal(Signal::TERM)?;
        let alone: fn(&Value) -> bool = |status| status["connections"] == 1;
        let status = gateway.until_within(PATIENCE, "all clients have gone", alone).await?;
        let executed = count(&mut witness).await?;
        leave(witness).await?;
        match gateway.exit().await? {
            status if status.code() == Some(0) => {}
            status => return Err(io::Error::other(format!("{status}: {}", gateway.log()))),
        }
        let log = gateway.log();
        if !log.is_empty() {
            return Err(io::Error::other(log));
        }
        self.gateway = None;
        Ok((status, executed))
    }

    pub(super) async fn kill(&mut self) -> io::Result<()> {
        let gateway = self.gateway()?;
        gateway.signal(Signal::KILL)?;
        gateway.exit().await?;
        self.gateway = None;
        Ok(())
    }

    /// Requests that have been answered by those who are there now.
    pub(super) async fn answered(places: &mut [Self; 2]) -> io::Result<u64> {
        let mut answered = 0;
        for place in places {
            let status = place.gateway()?.status().await?;
            answered += status["answered"].as_u64().unwrap_or_default();
        }
        Ok(answered)
    }

    fn gateway(&mut self) -> io::Result<&mut Gateway> {
        self.gateway.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Asks in the witness's session how many requests of the crowd the bus has executed.
async fn count(witness: &mut RawClient) -> io::Result<u64> {
    let method = format!("{DEMO}.count");
    let request = opensrf::request(DEMO, WITNESS, 1, &method, &json!([LABEL, 0]));
    witness.send_text(&request).await?;
    loop {
        if let Message::Text(text) = witness.read_message().await?
            && let Some(count) = opensrf::answers(&text).iter().find_map(|a| a.content.as_u64())
        {
            return Ok(count);
        }
    }
}

/// Ends the session, and with it the drain.
async fn leave(mut witness: RawClient) -> io::Result<()> {
    witness.send_text(&opensrf::disconnect(WITNESS)).await?;
    while !matches!(witness.read_message().await?, Message::Close { code: Some(1012), .. }) {}
    witness.close(1012).await?;
    witness.end().await.map(drop)
}
