//! What must be so of a gateway at every instant, whatever its clients and its operator do.

use std::io;
use std::time::Duration;

use serde_json::Value;

use crate::kernel;
use crate::ledger::balanced;
use crate::process::Gateway;

/// Looks at the gateway again and again. Ends with what was not in order.
pub(super) async fn watch(
    gateway: &Gateway,
    clients: u64,
    threads: usize,
    samples: &mut u64,
) -> io::Error {
    let mut last = Sample::default();
    loop {
        let next = async {
            let status = gateway.status().await?;
            let sample = Sample::of(&status)?;
            sample.plausible(clients).and_then(|()| sample.follows(&last)).map_err(|wrong| {
                io::Error::other(format!("{wrong}: {sample:?} after {last:?}: {status}"))
            })?;
            let now = kernel::threads(gateway.pid())?;
            if now != threads {
                return Err(io::Error::other(format!("{threads} threads became {now}")));
            }
            Ok(sample)
        };
        match next.await {
            Ok(sample) => last = sample,
            Err(error) => return error,
        }
        *samples += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What is watched of a status.
#[derive(Debug, Clone, Default)]
struct Sample {
    phase: String,
    connections: u64,
    pending: u64,
    closed: u64,
    /// These never shrink.
    sums: [u64; 8],
}

impl Sample {
    fn of(status: &Value) -> io::Result<Self> {
        balanced(status).map_err(io::Error::other)?;
        let count = |name: &str| status[name].as_u64().unwrap_or_default();
        let closed = status["closed"].as_object();
        let closed = closed.into_iter().flat_map(|map| map.values()).filter_map(Value::as_u64);
        let sums = [
            "received",
            "executed",
            "answered",
            "rejected",
            "crossed_requests",
            "cut_off",
            "client_gone",
            "service_gone",
        ];
        Ok(Self {
            phase: status["phase"].as_str().unwrap_or_default().to_owned(),
            connections: count("connections"),
            pending: count("pending_requests"),
            closed: closed.sum(),
            sums: sums.map(count),
        })
    }

    fn plausible(&self, clients: u64) -> Result<(), &'static str> {
        // One a client, another that is just ending, and the probe.
        if self.connections > 2 * clients + 1 {
            return Err("more connections than there can be");
        }
        if self.phase == "drained" && (self.connections, self.pending) != (0, 0) {
            return Err("drained with somebody there");
        }
        Ok(())
    }

    fn follows(&self, last: &Self) -> Result<(), &'static str> {
        if self.closed < last.closed || self.sums.iter().zip(&last.sums).any(|(now, was)| now < was)
        {
            return Err("a sum has shrunk");
        }
        if self.closed + self.connections < last.closed + last.connections {
            return Err("a connection has gone uncounted");
        }
        Ok(())
    }
}

/// What a gateway without clients holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resources {
    descriptors: usize,
    pub(super) threads: usize,
    listening: usize,
}

impl Resources {
    fn of(gateway: &Gateway) -> io::Result<Self> {
        let pid = gateway.pid();
        Ok(Self {
            descriptors: kernel::descriptors(pid)?,
            threads: kernel::threads(pid)?,
            listening: kernel::listening(pid)?,
        })
    }

    /// When it is the same for a while: the last connection has then been let go.
    pub(super) async fn settled(gateway: &mut Gateway) -> io::Result<Self> {
        gateway.until("nobody is there", |status| status["connections"] == 0).await?;
        let (mut last, mut same) = (Self::of(gateway)?, 0);
        while same < 10 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = Self::of(gateway)?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }

    /// Whether nothing has leaked.
    pub(super) async fn still(self, gateway: &mut Gateway) -> io::Result<()> {
        let now = Self::settled(gateway).await?;
        let one = self.listening == 1;
        if one && now == self {
            Ok(())
        } else {
            Err(io::Error::other(format!("{self:?}: {now:?}")))
        }
    }
}
