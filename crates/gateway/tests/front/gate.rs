//! Refusing and reopening.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use slackwater::front::listener::Refusal;
use slackwater::front::{Front, Inherited, Listener, Then};
use slackwater_lab::raw::{Message, RawClient, exchange, handshake};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Greeter, settings, start, start_with};

/// The runtime has one thread, and the connects block it: nothing is accepted meanwhile.
#[tokio::test]
async fn who_waits_in_the_queue_gets_a_503_and_who_comes_later_is_refused() {
    let (front, server) = start(settings());
    let waiting: Vec<_> = (0..64).map(|_| StdTcpStream::connect(server).unwrap()).collect();
    front.refuse(Then::Stay).await.unwrap();
    for stream in waiting {
        assert_is_503(&read_to_end(stream).await);
    }
    for _ in 0..3 {
        let refused = TcpStream::connect(server).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    front.reopen().await.unwrap();
    assert_serves(server).await;
}

#[tokio::test]
async fn a_handshake_that_is_half_read_gets_a_503() {
    let (front, server) = start(settings());
    let request = handshake("/", "");
    let mut halves = Vec::new();
    for cut in [0, 1, 50, request.len() - 1] {
        let stream = TcpStream::connect(server).await.unwrap();
        let mut client = RawClient::without_handshake(stream).unwrap();
        client.send_bytes(&request.as_bytes()[..cut]).await.unwrap();
        halves.push(client);
    }
    // By then all of them were accepted and read.
    assert_serves(server).await;
    front.refuse(Then::Stay).await.unwrap();
    for mut client in halves {
        client.send_bytes(b"the rest of it").await.unwrap();
        let answer = client.finish_handshake().await.unwrap_err().to_string();
        assert_is_503(&answer);
    }
}

#[tokio::test]
async fn clients_stay_while_the_front_refuses() {
    let (front, server) = start(settings());
    let mut client = RawClient::connect(server, "/").await.unwrap();
    let Message::Text(_address) = client.read_message().await.unwrap() else { panic!() };
    front.refuse(Then::Leave).await.unwrap();
    client.send_text("still here").await.unwrap();
    assert_eq!(client.read_message().await.unwrap(), Message::Text("still here".to_owned()));
}

#[tokio::test]
async fn a_front_that_is_told_to_answers_503_until_it_is_reopened() {
    let (front, server) = start_with(settings(), Refusal::Answer, usize::MAX);
    front.refuse(Then::Leave).await.unwrap();
    for _ in 0..3 {
        assert_is_503(&exchange(server, handshake("/", "").as_bytes()).await.unwrap());
        assert_is_503(&exchange(server, b"").await.unwrap());
    }
    front.reopen().await.unwrap();
    assert_serves(server).await;
}

#[tokio::test]
async fn an_inherited_socket_is_never_shut() {
    let owner = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let server = owner.local_addr().unwrap();
    let inherited = inherited(&owner);
    let front = Front::start(vec![inherited], settings(), Greeter::new(usize::MAX));
    assert_serves(server).await;

    front.refuse(Then::Stay).await.unwrap();
    assert_is_503(&exchange(server, handshake("/", "").as_bytes()).await.unwrap());

    front.refuse(Then::Leave).await.unwrap();
    let mut waiting = TcpStream::connect(server).await.unwrap();
    let unanswered = timeout(Duration::from_millis(100), waiting.read(&mut [0])).await;
    assert!(unanswered.is_err(), "the queue is left alone");
    let (_, peer) = owner.accept().unwrap();
    assert_eq!(peer, waiting.local_addr().unwrap(), "it is there for the successor");

    front.reopen().await.unwrap();
    assert_serves(server).await;
}

#[tokio::test]
async fn refusing_and_reopening_can_go_on_for_ever() {
    let (front, server) = start(settings());
    let socket = listening(server);
    assert_eq!(socket.len(), 1);
    for _ in 0..100 {
        front.refuse(Then::Stay).await.unwrap();
        assert_eq!(listening(server), [""; 0]);
        let refused = TcpStream::connect(server).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        front.reopen().await.unwrap();
        front.reopen().await.unwrap();
        assert_eq!(listening(server), socket, "the same one");
        drop(TcpStream::connect(server).await.unwrap());
    }
}

#[tokio::test]
async fn an_order_that_is_overtaken_returns() {
    let (front, server) = start(settings());
    // Undecided, so that `refuse` could wait for it.
    let _half = TcpStream::connect(server).await.unwrap();
    for _ in 0..20 {
        let both = async { tokio::join!(front.refuse(Then::Stay), front.reopen()) };
        let (refused, reopened) = timeout(Duration::from_secs(10), both).await.unwrap();
        refused.unwrap();
        reopened.unwrap();
    }
    assert_serves(server).await;
}

/// As systemd passes it on.
fn inherited(owner: &StdTcpListener) -> Listener {
    let socket = OwnedFd::from(owner.try_clone().unwrap());
    Listener::inherited(Inherited::try_from(socket).unwrap()).unwrap()
}

#[tokio::test]
async fn who_was_accepted_from_an_inherited_socket_is_served_while_the_process_leaves() {
    let owner = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let server = owner.local_addr().unwrap();
    let front = Front::start(vec![inherited(&owner)], settings(), Greeter::new(usize::MAX));
    let (request, mut halves) = (handshake("/", ""), Vec::new());
    for cut in [0, 50] {
        let stream = TcpStream::connect(server).await.unwrap();
        let mut client = RawClient::without_handshake(stream).unwrap();
        client.send_bytes(&request.as_bytes()[..cut]).await.unwrap();
        halves.push((client, cut));
    }
    let stream = TcpStream::connect(server).await.unwrap();
    let mut silent = RawClient::without_handshake(stream).unwrap();
    // By then all of them were accepted.
    assert_serves(server).await;
    let leave = front.refuse(Then::Leave);
    let finish = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for (client, cut) in &mut halves {
            client.send_bytes(&request.as_bytes()[*cut..]).await.unwrap();
            client.finish_handshake().await.unwrap();
        }
    };
    let (left, ()) = tokio::join!(leave, finish);
    left.unwrap();
    let answer = silent.finish_handshake().await.unwrap_err().to_string();
    assert_is_503(&answer);
}

async fn assert_serves(server: SocketAddr) {
    let mut client = RawClient::connect(server, "/").await.unwrap();
    client.send_text("echo").await.unwrap();
    let Message::Text(_address) = client.read_message().await.unwrap() else { panic!() };
    assert_eq!(client.read_message().await.unwrap(), Message::Text("echo".to_owned()));
}

fn assert_is_503(answer: &str) {
    let answer = answer.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

async fn read_to_end(stream: StdTcpStream) -> String {
    stream.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(stream).unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

/// The inodes of the sockets that listen on this port (proc(5), net/tcp).
fn listening(server: SocketAddr) -> Vec<String> {
    const LISTEN: &str = "0A";
    let local = format!("0100007F:{:04X}", server.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row[1] == local && row[3] == LISTEN);
    ours.map(|row| row[9].to_owned()).collect()
}
