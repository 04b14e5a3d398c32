//! TLS: who is let in by it, and that its end is as orderly as any.

use slackwater_lab::certificate::Certificate;
use slackwater_lab::raw::{End, Message, RawClient, handshake};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::Websocketd;

struct Files {
    directory: tempfile::TempDir,
    made: Certificate,
}

impl Files {
    fn new() -> Self {
        let made = Certificate::of(&["localhost"]).unwrap();
        let files = Self { directory: tempfile::tempdir().unwrap(), made };
        std::fs::write(files.path("cert.pem"), &files.made.certificate).unwrap();
        std::fs::write(files.path("key.pem"), &files.made.key).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn flags(&self) -> [String; 3] {
        let flag = |name, file| format!("--{name}={}", self.path(file));
        ["--ssl".to_owned(), flag("sslcert", "cert.pem"), flag("sslkey", "key.pem")]
    }

    async fn connect(&self, running: &Websocketd) -> RawClient<TlsStream<TcpStream>> {
        self.made.connect(running.address).await.unwrap()
    }
}

#[tokio::test]
async fn programs_are_reached_over_tls_and_know_of_it() {
    let files = Files::new();
    let flags = files.flags();
    let words: Vec<&str> = flags.iter().map(String::as_str).chain(["env"]).collect();
    let running = Websocketd::start(&words).await;
    running.until_logged("wss://127.0.0.1:").await;
    let mut client = files.connect(&running).await;
    client.finish_handshake().await.unwrap();
    let mut lines = Vec::new();
    while let Message::Text(line) = client.read_message().await.unwrap() {
        lines.push(line);
    }
    assert!(lines.iter().any(|line| line == "HTTPS=on"), "{lines:#?}");
    // Who speaks no TLS is no client, and hurts nobody.
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    let request = handshake("/", "");
    tokio::io::AsyncWriteExt::write_all(&mut plain, request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
}

#[tokio::test]
async fn a_drain_over_tls_loses_nothing_of_a_large_answer() {
    let files = Files::new();
    let flags = files.flags();
    let script =
        "read -r line; sleep 0.3; head -c 3000000 /dev/zero | tr '\\0' x; echo; cat > /dev/null";
    let words: Vec<&str> = flags.iter().map(String::as_str).chain(["sh", "-c", script]).collect();
    let running = Websocketd::start_in(&words, &[("SLACKWATER_TRACK", "lines")]).await;
    let mut client = files.connect(&running).await;
    client.finish_handshake().await.unwrap();
    client.send_text("work").await.unwrap();
    let stopping = tokio::spawn(running.stop());
    let Message::Text(answer) = client.read_message().await.unwrap() else { panic!("no answer") };
    assert_eq!(answer.len(), 3_000_000);
    let closed = client.closed().await.unwrap();
    assert_eq!(closed, (Some(1012), "drained".to_owned(), End::Fin));
    let (status, log) = stopping.await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn with_sslca_only_clients_with_a_certificate_are_taken() {
    let files = Files::new();
    let mut flags = files.flags().to_vec();
    flags.push(format!("--sslca={}", files.path("cert.pem")));
    let words: Vec<&str> = flags.iter().map(String::as_str).chain(["cat"]).collect();
    let running = Websocketd::start(&words).await;
    let mut client = files.connect(&running).await;
    assert!(client.finish_handshake().await.is_err(), "without a certificate");
}
