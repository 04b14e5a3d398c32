//! The bus by a name, and nobody who says any more where that is.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use slackwater_lab::bus::Process as _;
use slackwater_lab::bus::redis::server::Server;
use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::proof::skipped;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use crate::PROGRAM;

/// Where nobody answers.
const SILENT: &str = "127.0.0.97";

/// A system with hosts and a name server of its own, for one program.
struct System {
    directory: tempfile::TempDir,
    _server: UdpSocket,
}

impl System {
    /// `None`, and a loud word about it, if this may not be made here.
    async fn new(what: &str, hosts: &str) -> io::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            skipped(what, "only root can give a program a name server of its own");
            return Ok(None);
        }
        let system =
            Self { directory: tempfile::tempdir()?, _server: UdpSocket::bind((SILENT, 53)).await? };
        std::fs::write(system.hosts(), hosts)?;
        // It waits for half a minute, twice.
        let servers = format!("nameserver {SILENT}\noptions timeout:30 attempts:2\n");
        std::fs::write(system.path("servers"), servers)?;
        let mounts = format!(
            "mount --bind {} /etc/hosts && mount --bind {} /etc/resolv.conf && exec {PROGRAM} \"$@\"",
            system.hosts().display(),
            system.path("servers").display()
        );
        let script = format!("#!/bin/sh\nexec unshare --mount sh -c '{mounts}' sh \"$@\"\n");
        std::fs::write(system.program(), script)?;
        std::fs::set_permissions(system.program(), Permissions::from_mode(0o755))?;
        Ok(Some(system))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn hosts(&self) -> PathBuf {
        self.path("hosts")
    }

    /// The gateway in it.
    fn program(&self) -> PathBuf {
        self.path("gateway")
    }
}

#[tokio::test]
async fn a_name_that_is_asked_for_in_vain_does_not_hold_up_the_end() {
    let hosts = "127.0.0.1 localhost bus.test\n";
    let what = "the end while a name is looked for";
    let Some(system) = System::new(what, hosts).await.unwrap() else { return };
    let Some(mut server) = Server::start().await.unwrap() else { return };
    let bus = format!("redis://gateway:gatewaypw@bus.test:{}/", server.port());
    let state = system.path("state").display().to_string();
    let options = ["--bus", &bus, "--state-dir", &state];
    let mut gateway = Gateway::start(system.program(), &options).await.unwrap();
    std::fs::write(system.hosts(), "127.0.0.1 localhost\n").unwrap();
    server.kill().unwrap();
    let began = Instant::now();
    while !gateway.log().contains("not back yet") {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", gateway.log());
        sleep(Duration::from_millis(10)).await;
    }
    // Whoever looked is given up, and still looks.
    assert!(gateway.log().contains("no answer from bus.test"), "{}", gateway.log());
    let began = Instant::now();
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}
