//! The Debian package and the units in `packaging`, as dpkg and systemd themselves see and run them;
//! the image, as a container engine would.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod container;
mod migrate;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slackwater_lab::bus::redis::server::DOMAIN;
use slackwater_lab::machine::{File, Machine};
use slackwater_lab::opensrf;
use slackwater_lab::proof::skipped;
use slackwater_lab::raw::{End, Message, RawClient};
use slackwater_lab::site::{Bus, Services, Site};

const DEMO: &str = "slackwater.demo";

/// What puts Slackwater in the place of websocketd, and the unit that sites have of that.
const DROP_IN: &str = "websocketd-osrf.service.d/slackwater.conf";
const WEBSOCKETD: &str = "[Unit]\nDescription=Websocketd OpenSRF\nAfter=network.target\n\n\
    [Service]\nType=simple\nUser=root\nExecStart=/bin/true --loglevel error --maxforks 250\n\n\
    [Install]\nWantedBy=multi-user.target\n";

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd").join(name)
}

/// Runs systemd-analyze on a service, if it is there.
fn analyze(arguments: &[&str], unit: &Path) -> Option<std::process::Output> {
    match Command::new("systemd-analyze").args(arguments).arg(unit).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            skipped("the units, by systemd-analyze", "there is none");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_service_is_exposed_no_more_than_2_of_10() {
    let arguments = ["security", "--offline=true", "--no-pager", "--threshold=20"];
    if let Some(output) = analyze(&arguments, &unit("slackwater.service")) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// A port that is free now; the container has the network of this machine.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The Debian package of the program under test; `None`, loudly, where none can be made.
fn package(version: &str) -> Option<Vec<u8>> {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        skipped("the Debian package", "there is no dpkg-deb");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let build = unit("../deb/build");
    let built = Command::new(build)
        .arg(env!("CARGO_BIN_EXE_slackwater"))
        .arg(directory.path())
        .env("COMPRESSION", "none")
        .env("VERSION", version)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    Some(std::fs::read(String::from_utf8(built.stdout).unwrap().trim()).unwrap())
}

#[test]
fn the_package_asks_for_the_c_library_that_the_program_needs() {
    let Some(package) = package("1.0") else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slackwater.deb");
    std::fs::write(&path, package).unwrap();
    let shown = Command::new("dpkg-deb").arg("--field").arg(path).arg("Depends").output().unwrap();
    let depends = String::from_utf8(shown.stdout).unwrap();
    let asked = depends.strip_prefix("libc6 (>= 2.").and_then(|rest| rest.split_once(')'));
    let asked: u32 = asked.unwrap_or_else(|| panic!("{depends}")).0.parse().unwrap();
    let program = std::fs::read(env!("CARGO_BIN_EXE_slackwater")).unwrap();
    let text = String::from_utf8_lossy(&program);
    let needed = text.split("GLIBC_2.").skip(1).filter_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    });
    assert_eq!(Some(asked), needed.max(), "{depends}");
}

/// A systemd with the package, which is not installed yet, and a configuration and a socket on a
/// port of their own.
async fn machine(what: &str, address: SocketAddr) -> Option<Machine> {
    let read = |path: PathBuf| std::fs::read(path).unwrap();
    let file = |path, content: Vec<u8>, mode| File { path, content, mode };
    let port = format!("[Socket]\nListenStream=\nListenStream={address}\n");
    let config = format!("listen = [\"{address}\"]\nebb_window = \"0s\"\nlog_level = \"debug\"\n");
    let drop_in = format!("/etc/systemd/system/{DROP_IN}");
    let files = [
        file("/slackwater.deb", package("1.0")?, 0o644),
        file("/newer.deb", package("1.1")?, 0o644),
        file("/usr/local/bin/slackwater", read(env!("CARGO_BIN_EXE_slackwater").into()), 0o755),
        file("/etc/systemd/system/websocketd-osrf.service", WEBSOCKETD.into(), 0o644),
        file(&drop_in, read(unit(DROP_IN)), 0o644),
        file("/etc/slackwater/slackwater.toml", config.into_bytes(), 0o644),
        file("/etc/systemd/system/slackwater.socket.d/port.conf", port.into_bytes(), 0o644),
    ];
    Machine::start(what, &files).await.unwrap()
}

async fn property(machine: &Machine, name: &str) -> String {
    let shown = ["systemctl", "show", "--value", "--property", name, "slackwater.service"];
    machine.must(&shown).await.unwrap().trim().to_owned()
}

async fn until(machine: &Machine, name: &str, wanted: impl Fn(&str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let value = property(machine, name).await;
        if wanted(&value) {
            return value;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{name}: {value}; {}",
            log(machine).await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn log(machine: &Machine) -> String {
    let status = ["systemctl", "status", "--no-pager", "--full", "slackwater.service"];
    String::from_utf8_lossy(&machine.run(&status).await.unwrap().stdout).into_owned()
}

/// A request that takes so many seconds and is answered "done".
fn wait(seconds: f64) -> String {
    opensrf::request(DEMO, "t", 1, &format!("{DEMO}.wait"), &json!([seconds, "done"]))
}

/// Begins a request that takes so many seconds, and sees it executed.
async fn ask(machine: &Machine, client: &mut RawClient, seconds: f64) {
    client.send_text(&wait(seconds)).await.unwrap();
    let began = Instant::now();
    loop {
        let status = machine.must(&["slackwater", "status", "--json"]).await.unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        if status["pending_requests"] == 1 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not executed: {status}");
    }
}

/// Waits for its answer, and for the Close behind it.
async fn assert_answered_and_drained(client: &mut RawClient) {
    let mut done = false;
    loop {
        match client.read_message().await.unwrap() {
            Message::Text(text) => {
                done |= opensrf::answers(&text).iter().any(|answer| answer.content == "done");
            }
            Message::Close { code, reason } => {
                assert_eq!((done, code, reason.as_str()), (true, Some(1012), "drained"));
                client.close(1012).await.unwrap();
                assert_eq!(client.end().await.unwrap(), End::Fin);
                client.shutdown().await.unwrap();
                return;
            }
            other @ Message::Binary(_) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_is_installed_verified_started_drained_stopped_restarted_upgraded_and_purged_and_nobody_loses_an_answer()
 {
    let address = free_port();
    let Some(machine) = machine("the units in a real systemd", address).await else { return };
    // The configuration of this machine stays, as an administrator's would.
    machine.must(&["dpkg", "--force-confold", "--install", "/slackwater.deb"]).await.unwrap();
    for brought in [
        "/usr/share/man/man1/slackwater-drain.1.gz",
        "/usr/share/bash-completion/completions/slackwater",
    ] {
        machine.must(&["test", "-s", brought]).await.unwrap();
    }
    for unit in ["slackwater.service", "slackwater.socket", "websocketd-osrf.service"] {
        let verified = machine.run(&["systemd-analyze", "verify", unit]).await.unwrap();
        assert!(verified.status.success(), "{verified:?}");
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(!said.contains("slackwater") && !said.contains("websocketd"), "{said}");
    }
    let shown = ["systemctl", "show", "--property", "Type,ExecStart", "websocketd-osrf.service"];
    let shown = machine.must(&shown).await.unwrap();
    assert!(shown.contains("Type=notify") && !shown.contains("/bin/true"), "{shown}");
    service_alone(&machine, address).await;
    behind_its_socket(&machine, address).await;
    over_a_redis_that_has_a_name(&machine, address).await;
    upgraded(&machine, address).await;
    purged(&machine).await;
    machine.stop().await.unwrap();
}

async fn purged(machine: &Machine) {
    machine.must(&["systemctl", "start", "slackwater.service"]).await.unwrap();
    machine.must(&["dpkg", "--purge", "slackwater"]).await.unwrap();
    assert_ne!(property(machine, "ActiveState").await, "active");
    let left = ["/usr/bin/slackwater", "/etc/slackwater", "/var/lib/slackwater"];
    for path in left {
        assert!(!machine.run(&["test", "-e", path]).await.unwrap().status.success(), "{path}");
    }
}

async fn service_alone(machine: &Machine, address: SocketAddr) {
    if let Err(error) = machine.must(&["systemctl", "start", "slackwater.service"]).await {
        panic!("{error}\n{}", log(machine).await);
    }
    // SIGUSR1: it drains, says so, and stays.
    let mut client = RawClient::connect(address, "/").await.unwrap();
    ask(machine, &mut client, 2.5).await;
    machine.must(&["systemctl", "kill", "-s", "USR1", "slackwater.service"]).await.unwrap();
    until(machine, "StatusText", |text| text.contains("connections left: 1")).await;
    assert_answered_and_drained(&mut client).await;
    until(machine, "StatusText", |text| text == "drained").await;
    machine.must(&["slackwater", "undrain"]).await.unwrap();
    until(machine, "StatusText", |text| text == "serving").await;

    // A reload harms nobody.
    let mut client = RawClient::connect(address, "/").await.unwrap();
    ask(machine, &mut client, 1.5).await;
    let file = "/etc/slackwater/slackwater.toml";
    let edit = async |script: &str| machine.must(&["sed", "-i", script, file]).await.unwrap();
    let reload = ["systemctl", "reload", "slackwater.service"];
    edit("$a path = '/only'").await;
    if let Err(error) = machine.must(&reload).await {
        panic!("{error}\n{}", log(machine).await);
    }
    assert!(RawClient::connect(address, "/").await.is_err(), "the new configuration holds");
    edit("$a pth = 1").await;
    let failed = machine.run(&reload).await.unwrap();
    assert!(!failed.status.success(), "{failed:?}");
    until(machine, "ActiveState", |state| state == "active").await;
    assert!(log(machine).await.contains("pth: no such key"), "{}", log(machine).await);
    assert!(RawClient::connect(address, "/").await.is_err(), "and still does");
    edit("/^pth/d").await;
    edit("/^path/d").await;
    // By a signal, of which systemd is told by the process alone.
    machine.must(&["systemctl", "kill", "-s", "HUP", "slackwater.service"]).await.unwrap();
    let began = Instant::now();
    while RawClient::connect(address, "/").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", log(machine).await);
    }
    until(machine, "ActiveState", |state| state == "active").await;

    // A stop answers what is pending.
    let stop = machine.must(&["systemctl", "stop", "slackwater.service"]);
    let (stopped, ()) = tokio::join!(stop, assert_answered_and_drained(&mut client));
    stopped.unwrap();
    assert_eq!(property(machine, "Result").await, "success", "{}", log(machine).await);
}

async fn behind_its_socket(machine: &Machine, address: SocketAddr) {
    machine.must(&["systemctl", "start", "slackwater.socket"]).await.unwrap();
    // The first client starts it.
    let mut client = RawClient::connect(address, "/").await.unwrap();
    ask(machine, &mut client, 2.0).await;
    let first = property(machine, "MainPID").await;
    let restart = machine.must(&["systemctl", "restart", "slackwater.service"]);
    let others = async {
        let mut served = Vec::new();
        // From the drain on into the life of the successor.
        for _ in 0..20 {
            // Who stays without reading would hold the drain.
            let connect = async move { RawClient::connect(address, "/").await.map(drop) };
            served.push(tokio::spawn(connect));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for connected in served {
            connected.await.unwrap().expect("neither refused nor answered 503");
        }
    };
    let (restarted, (), ()) =
        tokio::join!(restart, assert_answered_and_drained(&mut client), others);
    restarted.unwrap();
    assert_ne!(property(machine, "MainPID").await, first);
    machine.must(&["systemctl", "stop", "slackwater.socket", "slackwater.service"]).await.unwrap();
}

/// What the hardened unit must still allow: names in place of addresses, a file that only the group
/// may read, syslog.
async fn over_a_redis_that_has_a_name(machine: &Machine, address: SocketAddr) {
    let Some(site) = Site::start(Bus::Redis, Services::default()).await.unwrap() else { return };
    let port = site.server().unwrap().port();
    let file = "/etc/slackwater/slackwater.toml";
    let script = format!(
        "set -e; cp {file} /before; echo '127.0.0.1 bus.example' >>/etc/hosts\n\
         install -m 640 -o root -g slackwater /dev/null /etc/slackwater/password\n\
         echo gatewaypw >/etc/slackwater/password\n\
         echo 'bus = \"redis://gateway@bus.example:{port}/?domain={DOMAIN}\"' >>{file}\n\
         echo 'bus_password_file = \"/etc/slackwater/password\"' >>{file}\n\
         echo 'log_to = \"syslog\"' >>{file}"
    );
    machine.must(&["sh", "-c", &script]).await.unwrap();
    if let Err(error) = machine.must(&["systemctl", "start", "slackwater.service"]).await {
        panic!("{error}\n{}", log(machine).await);
    }
    let mut client = RawClient::connect(address, "/").await.unwrap();
    ask(machine, &mut client, 0.5).await;
    let stop = machine.must(&["systemctl", "stop", "slackwater.service"]);
    let (stopped, ()) = tokio::join!(stop, assert_answered_and_drained(&mut client));
    stopped.unwrap();
    let journal = ["journalctl", "--no-pager", "--unit", "slackwater.service", "--identifier"];
    let journal = machine.must(&[&journal[..], &["client"]].concat()).await.unwrap();
    assert!(journal.contains("drained: nothing was cut off"), "by syslog: {journal}");
    machine.must(&["cp", "/before", file]).await.unwrap();
    site.stop().await.unwrap();
}

/// dpkg restarts it, behind its socket: who is there is answered, who comes is served.
async fn upgraded(machine: &Machine, address: SocketAddr) {
    machine.must(&["systemctl", "start", "slackwater.socket", "slackwater.service"]).await.unwrap();
    let mut client = RawClient::connect(address, "/").await.unwrap();
    ask(machine, &mut client, 2.0).await;
    let first = property(machine, "MainPID").await;
    let newer = machine.must(&["dpkg", "--force-confold", "--install", "/newer.deb"]);
    let others = async {
        until(machine, "ActiveState", |state| state == "deactivating").await;
        drop(RawClient::connect(address, "/").await.expect("served by the newer one"));
    };
    let (upgraded, (), ()) = tokio::join!(newer, assert_answered_and_drained(&mut client), others);
    upgraded.unwrap();
    let version = ["dpkg-query", "--show", "--showformat", "${Version}", "slackwater"];
    assert_eq!(machine.must(&version).await.unwrap(), "1.1");
    assert_ne!(property(machine, "MainPID").await, first);
    assert_eq!(property(machine, "ActiveState").await, "active");
}
