//! The gateway in the place of OpenSRF's own: it is given that one's `opensrf_core.xml` and nothing
//! else, joins the same bus with the same account, and writes the same lines to the same logs.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use slackwater_lab::bus::redis::server::DOMAIN;
use slackwater_lab::opensrf::{self, answers};
use slackwater_lab::process::{Gateway, Signal};
use slackwater_lab::raw::{Message, RawClient, handshake};
use slackwater_lab::site::{Bus, Services, Site};
use tokio::net::TcpStream;

const PROGRAM: &str = env!("CARGO_BIN_EXE_slackwater");

#[tokio::test]
async fn the_file_that_a_site_has_is_all_that_is_needed() {
    let Some(host) = Host::start("").await else { return };
    let mut gateway = host.gateway(&["--trusted-proxy", "127.0.0.0/8"]).await.unwrap();
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let mut client = RawClient::without_handshake(stream).unwrap();
    let shake = handshake("/", "X-Forwarded-For: 198.51.100.7\r\n");
    client.send_bytes(shake.as_bytes()).await.unwrap();
    client.finish_handshake().await.unwrap();
    let ask = |method: &str, params: &Value| {
        let request = opensrf::request("opensrf.math", "t", 1, method, params);
        request.replacen("{", "{\"log_xid\":\"xid-7\",", 1)
    };
    for (method, params) in [("add", json!([1, 2])), ("secret.login", json!(["user", "pass"]))] {
        client.send_text(&ask(method, &params)).await.unwrap();
        final_code(&mut client).await;
    }
    gateway.signal(Signal::TERM).unwrap();
    client.read_message().await.unwrap();
    client.close(1012).await.unwrap();
    client.end().await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0), "{}", gateway.log());

    assert_eq!(gateway.log(), "", "nothing to stderr: the file says where");
    let log = std::fs::read_to_string(host.logfile()).unwrap();
    let acts: Vec<&str> = log.lines().filter(|line| line.contains(" [ACT:")).collect();
    let [add, login] = acts[..] else { panic!("{log}") };
    let pid = gateway_pid(add);
    assert!(add.starts_with("client/site-1 20"), "{add}");
    assert!(add.contains(&format!(" [ACT:{pid}:told.rs:")), "{add}");
    assert!(add.ends_with(":xid-7] [198.51.100.7] [] opensrf.math add 1, 2"), "{add}");
    assert!(login.ends_with("[] opensrf.math secret.login **PARAMS REDACTED**"), "{login}");
    assert!(!log.contains("pass"), "{log}");
    host.site.stop().await.unwrap();
}

#[tokio::test]
async fn a_log_that_was_rotated_goes_on_in_a_new_file() {
    let Some(host) = Host::start("").await else { return };
    let gateway = host.gateway(&[]).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let old = host.logfile().with_extension("log.1");
    std::fs::rename(host.logfile(), &old).unwrap();
    let mut trace = 0;
    while !host.logfile().exists() {
        trace += 1;
        let request = opensrf::request("opensrf.math", "t", trace, "add", &json!([trace, 0]));
        client.send_text(&request).await.unwrap();
        final_code(&mut client).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Every request stands in one of the two.
    let mut lines = std::fs::read_to_string(&old).unwrap();
    let all = |lines: &str| (1..=trace).all(|n| lines.contains(&format!("math add {n}, 0")));
    let began = std::time::Instant::now();
    while !all(&lines) {
        assert!(began.elapsed() < Duration::from_secs(10), "{lines}");
        lines = std::fs::read_to_string(&old).unwrap();
        lines += &std::fs::read_to_string(host.logfile()).unwrap();
    }
    drop(gateway);
    host.site.stop().await.unwrap();
}

#[tokio::test]
async fn lines_go_to_syslog_with_the_facilities_and_the_tag_of_the_file() {
    let Some(host) = Host::start("<syslog>local2</syslog><actlog>local3</actlog>").await else {
        return;
    };
    let socket = host.directory.path().join("syslog");
    let syslog = UnixDatagram::bind(&socket).unwrap();
    syslog.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let place = format!("syslog:{}", socket.display());
    let gateway = host.gateway(&["--log-to", &place]).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let request = opensrf::request("opensrf.math", "t", 1, "add", &json!([1, 2]));
    client.send_text(&request).await.unwrap();
    final_code(&mut client).await;
    // In either order: a first client may be served before the gateway has said that it serves.
    let (mut act, mut serving) = (None, None);
    while act.is_none() || serving.is_none() {
        let line = next_line(&syslog).unwrap();
        if line.contains("[ACT:") {
            act = Some(line);
        } else if line.contains("serving") {
            serving = Some(line);
        }
    }
    let (act, serving) = (act.unwrap(), serving.unwrap());
    // Facility times eight and severity: local3.info, local2.info.
    assert!(act.starts_with("<158>") && act.contains(" client/site-1: [ACT:"), "{act}");
    assert!(act.ends_with("] [127.0.0.1] [] opensrf.math add 1, 2"), "{act}");
    assert!(
        serving.starts_with("<150>") && serving.contains(" client/site-1: [INFO:"),
        "{serving}"
    );
    drop(gateway);
    host.site.stop().await.unwrap();
}

#[tokio::test]
async fn a_large_message_is_sent_and_warned_of_and_one_too_large_is_refused() {
    let Some(host) = Host::start("<msg_size_warn>2000</msg_size_warn>").await else { return };
    let mut gateway = host.gateway(&["--max-message-size", "10KiB"]).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    for (bytes, code) in [(100, 205), (5_000, 205), (11_000, 0)] {
        let value = json!(["x".repeat(bytes)]);
        let method = "opensrf.system.echo";
        let request = opensrf::request("opensrf.math", "t", 1, method, &value);
        client.send_text(&request).await.unwrap();
        assert_eq!(final_code(&mut client).await, code, "{bytes}");
    }
    // At its end every line has been written.
    drop(client);
    gateway.signal(Signal::TERM).unwrap();
    gateway.exit().await.unwrap();
    let log = std::fs::read_to_string(host.logfile()).unwrap();
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("a large message")).collect();
    let [line] = warned[..] else { panic!("{log}") };
    assert!(line.contains(" [WARN:") && line.contains("size=5"), "{line}");
    host.site.stop().await.unwrap();
}

#[tokio::test]
async fn check_reads_the_file_and_tries_its_bus() {
    let Some(host) = Host::start("").await else { return };
    let check = |arguments: Vec<String>| async move {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.arg("check").args(["--listen", "127.0.0.1:0"]).args(arguments);
        let output = command.output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = check(host.options()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ok     log_to  can be written"), "{said}");
    assert!(said.contains("reached, and left again") && !said.contains("gatewaypw"), "{said}");
    host.write(&host.text("").replace("<port>", "<prot>").replace("</port>", "</prot>"));
    let (code, said) = check(host.options()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.ends_with("opensrf_core.xml: <gateway><port>: is missing\n"), "{said}");
    host.site.stop().await.unwrap();
}

/// A host on which OpenSRF is installed.
struct Host {
    site: Site,
    directory: tempfile::TempDir,
    port: u16,
}

impl Host {
    /// With these elements more in the gateway's section. `None`: this machine has no Redis.
    async fn start(more: &str) -> Option<Self> {
        let site = Site::start(Bus::Redis, Services::default()).await.unwrap()?;
        let port = site.server()?.port();
        let host = Self { site, directory: tempfile::tempdir().unwrap(), port };
        host.write(&host.text(more));
        Some(host)
    }

    fn text(&self, more: &str) -> String {
        let (port, logfile) = (self.port, self.logfile());
        format!(
            r#"<?xml version="1.0"?>
<!-- a host's own -->
<config>
  <opensrf><domain>elsewhere</domain><port>1</port></opensrf>
  <gateway>
    <client>true</client>
    <router_name>router</router_name>
    <domain>{DOMAIN}</domain>
    <username>gateway</username>
    <passwd>gatewaypw</passwd>
    <port>{port}</port>
    <loglevel>3</loglevel>
    <logfile>{}</logfile>
    <logtag>site-1</logtag>
    {more}
  </gateway>
  <shared><log_protect><match_string>secret.</match_string></log_protect></shared>
</config>
"#,
            logfile.display()
        )
    }

    fn write(&self, text: &str) {
        std::fs::write(self.directory.path().join("opensrf_core.xml"), text).unwrap();
    }

    fn logfile(&self) -> PathBuf {
        self.directory.path().join("gateway.log")
    }

    fn options(&self) -> Vec<String> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let config = path("opensrf_core.xml");
        // Its port is not the usual one, and an account that may do little does not ask twice.
        let more = ["--transport", "redis", "--state-dir"].map(str::to_owned);
        [vec!["--opensrf-config".to_owned(), config], more.to_vec(), vec![path("state")]].concat()
    }

    async fn gateway(&self, options: &[&str]) -> io::Result<Gateway> {
        let own = self.options();
        let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
        all.extend(["--ebb-window", "0s"]);
        all.extend(options);
        Gateway::start(Path::new(PROGRAM), &all).await
    }
}

/// The code of the final answer to the one request in flight; 0 for an error without a status.
async fn final_code(client: &mut RawClient) -> u16 {
    loop {
        let Message::Text(text) = client.read_message().await.unwrap() else { panic!("no text") };
        if text.contains("transport_error") {
            return 0;
        }
        if let Some(answer) = answers(&text).iter().find(|answer| answer.is_final()) {
            return answer.code;
        }
    }
}

fn next_line(syslog: &UnixDatagram) -> io::Result<String> {
    let mut bytes = [0; 4_096];
    let length = syslog.recv(&mut bytes)?;
    String::from_utf8(bytes[..length].to_vec()).map_err(io::Error::other)
}

/// The process id in a line: a number between its first two colons behind the bracket.
fn gateway_pid(line: &str) -> u32 {
    line.split_once("[ACT:").unwrap().1.split_once(':').unwrap().0.parse().unwrap()
}
