//! `slackwater status --watch` in a real terminal, tmux's.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use slackwater_lab::opensrf;
use slackwater_lab::proof::skipped;

use crate::{PROGRAM, Seen};

/// A terminal of 100 columns and 30 lines in which a command runs.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// `None`: tmux is not installed.
    fn start(socket: PathBuf, command: &str) -> Option<Self> {
        let terminal = Self { socket };
        let size = ["-x", "100", "-y", "30"];
        let arguments = [&["-f", "/dev/null", "new-session", "-d"], &size[..], &[command]].concat();
        terminal.tmux(&arguments)?;
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Option<String> {
        let output =
            Command::new("tmux").arg("-S").arg(&self.socket).args(arguments).output().ok()?;
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until it shows something, and gives all that it shows then.
    async fn shows(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]).unwrap();
            if wanted(&screen) {
                return screen;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "never: {what}\n{screen}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output().ok();
    }
}

#[tokio::test]
async fn it_shows_what_happens_as_it_happens_on_one_screen() {
    let mut seen = Seen::start(&["--ebb-window", "0s"]).await;
    let directory = seen.gateway.directory().to_owned();
    let control = directory.join("control");
    let command = format!("{PROGRAM} status --watch --control {}", control.display());
    let Some(terminal) = Terminal::start(directory.join("tmux"), &command) else {
        return skipped("status --watch in a terminal", "tmux is not installed");
    };
    let shown = terminal.shows("it serves", |screen| screen.contains("0 connections")).await;
    assert!(shown.starts_with("serving  127.0.0.1:"), "{shown}");
    let mut busy = seen.gateway.connect().await.unwrap();
    let wait = json!([60.0, "late"]);
    let wait = opensrf::request("slackwater.demo", "t", 1, "slackwater.demo.wait", &wait);
    let math = opensrf::request("opensrf.math", "m", 1, "add", &json!([1, 2]));
    busy.send_text(&math).await.unwrap();
    busy.read_message().await.unwrap();
    busy.send_text(&wait).await.unwrap();
    let mut idle = seen.gateway.connect().await.unwrap();
    let shown = terminal.shows("who is there", |screen| screen.contains("2 connections")).await;
    assert!(shown.contains("1 pending request"), "{shown}");
    let shown = terminal.shows("services", |screen| screen.contains("opensrf.math")).await;
    assert_eq!(shown.matches("connections").count(), 1, "one picture, not a roll of them: {shown}");
    seen.gateway.command(&["drain"]).await.unwrap();
    assert_eq!(idle.closed().await.unwrap().0, Some(1012));
    drop(idle);
    let shown = terminal.shows("one has gone", |screen| screen.contains("1 of 2 closed")).await;
    assert!(shown.starts_with("ebb  "), "{shown}");
    assert!(shown.contains("slackwater.demo slackwater.demo.wait"), "{shown}");
    assert!(shown.contains("held by"), "{shown}");
    // It ends with the gateway.
    drop(busy);
    seen.gateway.signal(slackwater_lab::process::Signal::TERM).unwrap();
    seen.gateway.exit().await.unwrap();
}
