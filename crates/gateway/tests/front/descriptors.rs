//! Running out of file descriptors.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use slackwater_lab::raw::RawClient;
use tokio::net::TcpStream;

use crate::{settings, start};

const CHILD: &str = "descriptors::a_server_with_few_descriptors";
const DESCRIPTORS: u64 = 40;

#[tokio::test]
async fn accept_survives_out_of_file_descriptors() {
    let (server, mut child) = start_child();
    let mut crowd = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        crowd.push(TcpStream::connect(server).await.unwrap());
    }
    // The server holds what it can; now it has a second in which to spin.
    let before = processor_ticks(&child);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = processor_ticks(&child) - before;
    assert!(spent < 30, "{spent} of 100 ticks were spent on accepting nothing");
    drop(crowd);
    let mut client = RawClient::connect(server, "/").await.expect("it accepts again");
    client.read_message().await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Not a test of its own: the server of the one above, in a process of its own.
#[tokio::test]
#[ignore = "started by accept_survives_out_of_file_descriptors"]
async fn a_server_with_few_descriptors() {
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let (_front, address) = start(settings());
    println!("listening on {address}");
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn start_child() -> (SocketAddr, Child) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let address = output.lines().find_map(|line| {
        let line = line.unwrap();
        Some(line.split_once("listening on ")?.1.parse().unwrap())
    });
    (address.expect("the child says where it listens"), child)
}

/// User and system time so far, in hundredths of a second (proc(5), stat, fields 14 and 15).
fn processor_ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let (_, behind_name) = stat.rsplit_once(") ").unwrap();
    let fields = behind_name.split(' ').skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}
