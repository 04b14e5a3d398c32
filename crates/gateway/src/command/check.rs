//! `slackwater check`: what would be wrong if the gateway were started now, a line each.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::gateway::Gateway;
use super::{Failure, print};
use crate::config::{LogTo, ServeOptions, Settings, Surroundings, Transport};
use crate::front::ListenAddress;
use crate::operate::control::is_live;
use crate::operate::logs;
use crate::serve::{ServeError, Stay, join_bus};

pub(super) async fn run(options: ServeOptions, surroundings: &Surroundings) -> Result<u8, Failure> {
    let settings = match Settings::load(options, surroundings) {
        Ok(settings) => settings,
        Err(error) => {
            print::line(format_args!("wrong  configuration  {error}"))?;
            return Ok(1);
        }
    };
    let mut report = Report { wrong: false };
    report.add("configuration", Ok("understood"))?;

    if settings.log.to != LogTo::Stderr {
        report.add("log_to", logs::try_place(&settings.log.to).map(|()| "can be written"))?;
    }
    let control =
        settings.control.clone().unwrap_or_else(|| surroundings.control_path(&settings.listen));
    let running = match Gateway::at(control.clone()).status().await {
        Ok(status) => status.listen,
        Err(_) => Vec::new(),
    };
    for listen in &settings.listen {
        let free = match listen {
            ListenAddress::Tcp(address) => tcp_is_free(*address),
            ListenAddress::Unix(path) => unix_is_free(path),
        };
        let own = running.contains(&listen.to_string());
        report.add(format_args!("listen {listen}"), free_or_own(free, own))?;
    }
    let aside = [("admin_listen", settings.admin_listen), ("agent_listen", settings.agent_listen)];
    for (key, address) in aside {
        let Some(address) = address else { continue };
        // The gateway does not tell where it answers others than clients; while one runs, a busy
        // port can be its own.
        let own = !running.is_empty();
        report.add(format_args!("{key} {address}"), free_or_own(tcp_is_free(address), own))?;
    }
    let made_at_start = settings.control.is_none() && !control.parent().is_some_and(Path::exists);
    let usable = if !running.is_empty() {
        Ok("a gateway runs here")
    } else if made_at_start {
        Ok("free")
    } else {
        unix_is_free(&control).map(|()| "free")
    };
    report.add(format_args!("control {}", control.display()), usable)?;
    match settings.bus.transport() {
        Transport::Embedded(_) => {
            report.add(format_args!("bus {}", settings.bus), Ok("inside the process"))?;
        }
        Transport::Redis(_) | Transport::Xmpp(_) | Transport::Either(..) => {
            let joined = match join_bus(&settings, Stay::Long).await {
                Ok(bus) => {
                    bus.sender.close().await;
                    Ok("reached, and left again")
                }
                Err(ServeError::Bus { reason, .. }) => Err(io::Error::other(reason)),
                Err(error) => Err(io::Error::other(error)),
            };
            report.add(format_args!("bus {}", settings.bus), joined)?;
        }
    }
    Ok(u8::from(report.wrong))
}

/// The lines so far.
struct Report {
    wrong: bool,
}

impl Report {
    fn add(&mut self, what: impl Display, found: io::Result<&str>) -> Result<(), Failure> {
        match found {
            Ok(found) => print::line(format_args!("ok     {what}  {found}")),
            Err(error) => {
                self.wrong = true;
                print::line(format_args!("wrong  {what}  {error}"))
            }
        }
    }
}

fn free_or_own(free: io::Result<()>, own: bool) -> io::Result<&'static str> {
    match free {
        Err(error) if own && error.kind() == ErrorKind::AddrInUse => Ok("the gateway that runs"),
        found => found.map(|()| "free"),
    }
}

/// Binds without listening, so that no client can be caught by the attempt.
fn tcp_is_free(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// A socket that nobody listens at is replaced at the start, so it counts as free.
fn unix_is_free(path: &Path) -> io::Result<()> {
    match is_live(path) {
        Ok(true) => Err(ErrorKind::AddrInUse.into()),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if !path.parent().is_some_and(Path::exists) {
                return Err(io::Error::new(ErrorKind::NotFound, "its directory does not exist"));
            }
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}
