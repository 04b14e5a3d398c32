//! Programs behind WebSockets, on the real program: what passes, how each end of either side looks to
//! the other, and that nothing of a program is left.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod bounds;
mod drain;
mod ends;
mod messages;
mod soak;
mod trackers;

use std::io;
use std::path::Path;

use slackwater_lab::process::Gateway;
use slackwater_lab::raw::{Message, RawClient};

/// A gateway that runs this command for each client.
async fn run(options: &[&str], command: &[&str]) -> io::Result<Gateway> {
    let mut all = options.to_vec();
    for default in [["--ebb-window", "0s"], ["--log-level", "debug"]] {
        if !options.contains(&default[0]) {
            all.extend(default);
        }
    }
    Gateway::run(env!("CARGO_BIN_EXE_slackwater"), &all, command).await
}

/// The same for a shell script.
async fn script(options: &[&str], script: &str) -> io::Result<Gateway> {
    run(options, &["/bin/sh", "-c", script]).await
}

/// The next message, which must be text.
async fn text(client: &mut RawClient) -> io::Result<String> {
    match client.read_message().await? {
        Message::Text(text) => Ok(text),
        other @ (Message::Binary(_) | Message::Close { .. }) => {
            Err(io::Error::other(format!("{other:?} in place of a text")))
        }
    }
}

/// Asserts that nothing is left of the process groups of these leaders.
fn assert_gone(leaders: &[i32]) {
    let numbers = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let lives = |pid: &u32| {
        // One that is a zombie has ended; whose it is now has not looked yet. proc_pid_stat(5): the
        // name in brackets, the state, the parent, the group.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
        let fields: Vec<&str> = fields.split(' ').collect();
        fields[0] != "Z" && leaders.iter().any(|leader| fields[2] == leader.to_string())
    };
    let left: Vec<u32> = numbers.filter(lives).collect();
    assert!(left.is_empty(), "processes that live on: {left:?}");
}

/// The number that a program has told first.
async fn leader(client: &mut RawClient) -> i32 {
    text(client).await.expect("its number").trim().parse().expect("a process id")
}

/// Waits until the file holds this line.
async fn until_written(path: &Path, line: &str) {
    for _ in 0..2_000 {
        if std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(|other| other == line)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{line} was not written: {:?}", std::fs::read_to_string(path));
}
