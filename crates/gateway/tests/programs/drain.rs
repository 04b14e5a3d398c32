//! The drain, with each tracker: no line that a program has read loses its answer, and none that
//! comes behind our Close is read.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use slackwater_lab::kernel;
use slackwater_lab::process::Signal;
use slackwater_lab::raw::{End, Message, RawClient};

use crate::{assert_gone, leader, run, script, text};

/// A program that notes each line that it has read in a file of its own, works on it for a moment,
/// and answers: by JSON-RPC's form if it was asked in it. SIGUSR1 ends it between two lines.
const COUNTS: &str = r#"
    use strict;
    my $leave = 0;
    $SIG{USR1} = sub { $leave = 1 } if $ARGV[1];
    open(my $read, ">>", "$ARGV[0]/read.$$") or die;
    $_->autoflush(1) for $read, *STDOUT;
    require IO::Handle;
    until ($leave) {
        my $ready = "";
        vec($ready, 0, 1) = 1;
        next unless select($ready, undef, undef, 0.2) > 0;
        my $line = "";
        while (sysread(STDIN, my $byte, 1)) { last if $byte eq "\n"; $line .= $byte; }
        last if $line eq "";
        my ($name) = $line =~ /([0-9]+-[0-9]+)/;
        print $read "$name\n";
        select(undef, undef, undef, 0.03);
        print $line =~ /^\{/ ? qq({"id":"$name","result":1}\n) : "done $name\n";
    }
"#;

/// Asks one thing after the other, each when the last was answered, until it is closed. Gives what
/// was asked and what was answered.
async fn chatters(mut client: RawClient, name: u64, rpc: bool) -> [BTreeSet<String>; 2] {
    let (mut sent, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for number in 0.. {
        let asked = format!("{name}-{number}");
        let line =
            if rpc { format!("{{\"id\":\"{asked}\",\"method\":\"m\"}}") } else { asked.clone() };
        if client.send_text(&line).await.is_ok() {
            sent.insert(asked.clone());
        }
        match client.read_message().await.unwrap() {
            Message::Text(text) => {
                assert!(text.contains(&asked), "{asked}: {text}");
                answered.insert(asked);
                // A person that reads for a while, so that there is slack water to be found.
                tokio::time::sleep(Duration::from_millis(20 * (name % 4))).await;
            }
            Message::Close { code, reason } => {
                assert_eq!((code, &*reason), (Some(1012), "drained"));
                client.close(1012).await.unwrap();
                assert_eq!(client.end().await.unwrap(), End::Fin);
                return [sent, answered];
            }
            Message::Binary(bytes) => panic!("{bytes:?}"),
        }
    }
    unreachable!("it is closed some day")
}

#[tokio::test]
async fn under_load_every_line_that_was_read_is_answered() {
    for track in ["lines", "quiet", "jsonrpc", "program"] {
        let directory = tempfile::tempdir().unwrap();
        let options = [
            ["--track", track],
            ["--track-idle", "100ms"],
            ["--quiet-window", "10ms"],
            ["--deadline", "3s"],
        ];
        let place = directory.path().to_str().unwrap();
        let hears = if track == "program" { "1" } else { "0" };
        let command = ["perl", "-e", COUNTS, place, hears];
        let mut gateway = run(options.as_flattened(), &command).await.unwrap();
        let mut clients = Vec::new();
        for name in 0..12 {
            let client = gateway.connect().await.unwrap();
            clients.push(tokio::spawn(chatters(client, name, track == "jsonrpc")));
        }
        let busy = |status: &serde_json::Value| status["executed"].as_u64() > Some(100);
        gateway.until("work is done", busy).await.unwrap();
        gateway.signal(Signal::TERM).unwrap();
        let (mut sent, mut answered) = (BTreeSet::new(), BTreeSet::new());
        for client in clients {
            let [said, heard] = client.await.unwrap();
            sent.extend(said);
            answered.extend(heard);
        }
        let status = gateway.exit().await.unwrap();
        let read: BTreeSet<String> = std::fs::read_dir(directory.path())
            .unwrap()
            .flat_map(|file| {
                let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        assert!(read.is_subset(&sent), "{track}");
        assert_eq!(read, answered, "{track}: read and answered");
        assert_eq!(status.code(), Some(0), "{track}: {}", gateway.log());
    }
}

#[tokio::test]
async fn a_program_that_talks_all_the_time_is_drained_by_lines_and_never_quiet() {
    let talks = "while :; do echo tick; sleep 0.3; done";
    for (track, reason) in [("lines", "drained"), ("quiet", "deadline")] {
        let options = ["--track", track, "--deadline", "2s", "--quiet-window", "50ms"];
        let mut gateway = script(&options, talks).await.unwrap();
        let mut client = gateway.connect().await.unwrap();
        text(&mut client).await.unwrap();
        gateway.signal(Signal::TERM).unwrap();
        loop {
            match client.read_message().await.unwrap() {
                Message::Text(line) => assert_eq!(line, "tick"),
                Message::Close { reason: told, .. } => break assert_eq!(told, reason),
                Message::Binary(bytes) => panic!("{bytes:?}"),
            }
        }
        client.close(1012).await.unwrap();
        client.end().await.unwrap();
        drop(client);
        // Nobody had asked for anything: nothing is lost.
        assert_eq!(gateway.exit().await.unwrap().code(), Some(0), "{track}");
    }
}

#[tokio::test]
async fn a_pending_line_holds_the_drain_and_nothing_else_does() {
    let held = "read -r line; sleep 1; echo \"done $line\"; cat > /dev/null";
    let mut gateway = script(&["--track", "lines"], held).await.unwrap();
    let mut busy = gateway.connect().await.unwrap();
    let mut idle = gateway.connect().await.unwrap();
    busy.send_text("work").await.unwrap();
    gateway.until("pending", |status| status["pending_requests"] == 1).await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    let drained = (Some(1012), "drained".to_owned(), End::Fin);
    assert_eq!(idle.closed().await.unwrap(), drained);
    assert_eq!(text(&mut busy).await.unwrap(), "done work");
    assert_eq!(busy.closed().await.unwrap(), drained);
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn past_the_deadline_what_is_pending_is_cut_off_and_said() {
    let options = ["--track", "jsonrpc", "--deadline", "1s"];
    let mut gateway = script(&options, "echo $$; cat > /dev/null").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    client.send_text(r#"{"jsonrpc":"2.0","id":7,"method":"slow"}"#).await.unwrap();
    gateway.until("pending", |status| status["pending_requests"] == 1).await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    let told: serde_json::Value = serde_json::from_str(&text(&mut client).await.unwrap()).unwrap();
    assert_eq!((&told["id"], &told["error"]["data"]["status"]), (&7.into(), &504.into()));
    assert_eq!(client.closed().await.unwrap().1, "deadline");
    assert_eq!(gateway.exit().await.unwrap().code(), Some(3));
    assert_gone(&[leader]);
}

#[tokio::test]
async fn what_comes_after_the_soft_deadline_is_refused_and_not_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let program =
        format!("while read -r line; do echo \"$line\" >> {}; done", file.path().to_str().unwrap());
    let options = ["--track", "jsonrpc", "--deadline", "4s"];
    let mut gateway = script(&options, &program).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    client.send_text(r#"{"id":1,"method":"slow"}"#).await.unwrap();
    gateway.until("pending", |status| status["pending_requests"] == 1).await.unwrap();
    let began = Instant::now();
    gateway.signal(Signal::TERM).unwrap();
    tokio::time::sleep_until((began + Duration::from_millis(3_200)).into()).await;
    client.send_text(r#"{"id":2,"method":"late"}"#).await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&text(&mut client).await.unwrap()).unwrap();
    assert_eq!((&told["id"], &told["error"]["data"]["status"]), (&2.into(), &503.into()));
    let told: serde_json::Value = serde_json::from_str(&text(&mut client).await.unwrap()).unwrap();
    assert_eq!((&told["id"], &told["error"]["data"]["status"]), (&1.into(), &504.into()));
    client.closed().await.unwrap();
    gateway.exit().await.unwrap();
    let read = std::fs::read_to_string(file.path()).unwrap();
    assert!(read.contains("slow") && !read.contains("late"), "{read}");
}

#[tokio::test]
async fn with_track_program_it_is_told_and_decides() {
    let decides = "trap 'echo leaving; sleep 0.5; echo last; exit 0' USR1; echo $$; \
                   while :; do sleep 0.05; done";
    let mut gateway = script(&["--track", "program"], decides).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "leaving");
    assert_eq!(text(&mut client).await.unwrap(), "last");
    let drained = (Some(1012), "drained".to_owned(), End::Fin);
    assert_eq!(client.closed().await.unwrap(), drained);
    assert_eq!(gateway.exit().await.unwrap().code(), Some(0));
    assert_gone(&[leader]);
}

#[tokio::test]
async fn one_that_decides_to_stay_is_cut_off_at_the_deadline() {
    let options = ["--track", "program", "--deadline", "1s"];
    let mut gateway = script(&options, "trap '' USR1; echo $$; cat").await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(client.closed().await.unwrap().1, "deadline");
    assert_eq!(gateway.exit().await.unwrap().code(), Some(3));
    assert_gone(&[leader]);
}

#[tokio::test]
async fn usr1_to_everybody_over_cat_loses_nothing() {
    let mut gateway = run(&["--track", "lines"], &["cat"]).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    client.send_text("before").await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "before");
    // As `systemctl kill -s USR1` does: the programs first, then the gateway.
    let children = kernel::children(gateway.pid()).unwrap();
    assert_eq!(children.len(), 1);
    for child in children {
        rustix::process::kill_process(child, Signal::USR1).unwrap();
    }
    client.send_text("after").await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "after");
    gateway.signal(Signal::USR1).unwrap();
    let drained = (Some(1012), "drained".to_owned(), End::Fin);
    assert_eq!(client.closed().await.unwrap(), drained);
    gateway.until("drained", |status| status["phase"] == "drained").await.unwrap();
}

#[tokio::test]
async fn usr1_is_relayed_if_asked_for() {
    let program = "trap 'echo told' USR1; echo $$; while :; do sleep 0.05; done";
    let options = ["--relay-usr1", "--track", "lines", "--ebb-window", "0s"];
    let mut gateway = script(&options, program).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    let leader = leader(&mut client).await;
    gateway.signal(Signal::TERM).unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "told");
    assert_eq!(client.closed().await.unwrap().0, Some(1012));
    gateway.exit().await.unwrap();
    assert_gone(&[leader]);
}

#[tokio::test]
async fn a_drain_that_is_called_off_leaves_everybody_connected() {
    let mut gateway = run(&["--ebb-window", "30s"], &["cat"]).await.unwrap();
    let mut client = gateway.connect().await.unwrap();
    gateway.signal(Signal::USR1).unwrap();
    gateway.until("draining", |status| status["phase"] == "ebb").await.unwrap();
    let undrained = gateway.command(&["undrain"]).await.unwrap();
    assert!(undrained.status.success(), "{undrained:?}");
    client.send_text("still").await.unwrap();
    assert_eq!(text(&mut client).await.unwrap(), "still");
    gateway.connect().await.unwrap();
}
