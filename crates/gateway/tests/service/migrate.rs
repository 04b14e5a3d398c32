//! Slackwater in the place of websocketd as docs/migrate-from-websocketd.md says it, and the way
//! back, in a real systemd and over a real Redis.

use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::bus::redis::server::DOMAIN;
use slackwater_lab::machine::{File, Machine};
use slackwater_lab::opensrf::{self, answers};
use slackwater_lab::raw::{Message, RawClient};
use slackwater_lab::site::{Bus, Services, Site};
use tokio::net::TcpStream;

use crate::{DROP_IN, free_port, unit};

/// What stands in for websocketd: somebody who runs and serves nobody.
const OLD: &str = "[Unit]\nDescription=Websocketd OpenSRF\nAfter=network.target\n\n\
    [Service]\nType=simple\nUser=root\nExecStart=/usr/bin/sleep infinity\n\n\
    [Install]\nWantedBy=multi-user.target\n";

const UNIT: &str = "websocketd-osrf.service";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drop_in_puts_it_in_the_place_of_websocketd_and_without_it_the_old_one_is_back() {
    let Some(site) = Site::start(Bus::Redis, Services::default()).await.unwrap() else { return };
    let redis = site.server().unwrap().port();
    let address = free_port();
    // A site's file. Only the port is another: that of the page may be taken here.
    let drop_in = std::fs::read_to_string(unit(DROP_IN)).unwrap();
    assert_eq!(drop_in.matches("[::]:7682").count(), 1);
    let drop_in = drop_in.replace("[::]:7682", &address.to_string());
    // The bus's port is not the usual one, either.
    let drop_in = format!("{drop_in}\n[Service]\nEnvironment=SLACKWATER_TRANSPORT=redis\n");
    let core = format!(
        "<config><gateway><router_name>router</router_name><domain>{DOMAIN}</domain>\
         <username>gateway</username><passwd>gatewaypw</passwd><port>{redis}</port>\
         <loglevel>3</loglevel><logfile>/openils/var/log/gateway.log</logfile></gateway></config>"
    );
    let file = |path, content: Vec<u8>, mode| File { path, content, mode };
    let program = std::fs::read(env!("CARGO_BIN_EXE_slackwater")).unwrap();
    let files = [
        file("/usr/local/bin/slackwater", program, 0o755),
        file("/etc/systemd/system/websocketd-osrf.service", OLD.into(), 0o644),
        file("/root/packaging/slackwater.conf", drop_in.into_bytes(), 0o644),
        file("/openils/conf/opensrf_core.xml", core.into_bytes(), 0o644),
        file("/openils/var/log/others.log", Vec::new(), 0o644),
    ];
    let machine = Machine::start("the drop-in for websocketd", &files).await.unwrap();
    let Some(machine) = machine else { return };
    machine.must(&["systemctl", "start", UNIT]).await.unwrap();
    assert_eq!(runs(&machine).await, "sleep");

    let place = format!("/etc/systemd/system/{DROP_IN}");
    let install = ["install", "-D", "-m", "644", "/root/packaging/slackwater.conf", &place];
    machine.must(&install).await.unwrap();
    machine.must(&["systemctl", "daemon-reload"]).await.unwrap();
    let restarted = machine.must(&["systemctl", "restart", UNIT]).await;
    if let Err(error) = restarted {
        let said = machine.run(&["journalctl", "--no-pager", "-u", UNIT]).await.unwrap();
        panic!("{error}\n{}", String::from_utf8_lossy(&said.stdout));
    }
    assert_eq!(runs(&machine).await, "slackwater");
    let mut client = RawClient::connect(address, "/osrf-websocket-translator").await.unwrap();
    let request = opensrf::request("opensrf.math", "t", 1, "add", &json!([1, 2]));
    client.send_text(&request).await.unwrap();
    let Message::Text(text) = client.read_message().await.unwrap() else { panic!("no answer") };
    assert!(answers(&text).iter().any(|answer| answer.content == 3), "{text}");
    let log = machine.must(&["cat", "/openils/var/log/gateway.log"]).await.unwrap();
    assert!(log.contains("opensrf.math add 1, 2"), "{log}");

    // The way back: who is there is told to come again.
    machine.must(&["rm", &place]).await.unwrap();
    machine.must(&["systemctl", "daemon-reload"]).await.unwrap();
    let restart = machine.must(&["systemctl", "restart", UNIT]);
    let closed = async {
        let close = client.read_message().await.unwrap();
        assert_eq!(format!("{close:?}"), r#"Close { code: Some(1012), reason: "drained" }"#);
        client.close(1012).await.unwrap();
        client.end().await.unwrap();
        drop(client);
    };
    let (restarted, ()) = tokio::join!(restart, closed);
    restarted.unwrap();
    assert_eq!(runs(&machine).await, "sleep");
    assert!(TcpStream::connect(address).await.is_err(), "nobody of ours is left");
    machine.stop().await.unwrap();
    site.stop().await.unwrap();
}

/// The program of the unit's main process, once it is active.
async fn runs(machine: &Machine) -> String {
    let began = Instant::now();
    loop {
        let shown = ["systemctl", "show", "--value", "--property", "MainPID", UNIT];
        let pid = machine.must(&shown).await.unwrap().trim().to_owned();
        let comm = machine.run(&["cat", &format!("/proc/{pid}/comm")]).await.unwrap();
        let name = String::from_utf8_lossy(&comm.stdout).trim().to_owned();
        // Between fork and exec it is systemd's own.
        if !name.is_empty() && !name.starts_with('(') {
            return name;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{UNIT} does not run: {name}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
