//! What is served beside WebSockets.

use crate::{Websocketd, program};

fn site() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("static");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir_all(root.join("empty")).unwrap();
    std::fs::write(root.join("a.txt"), "hello").unwrap();
    std::fs::write(root.join("sub/index.html"), "<p>index").unwrap();
    std::fs::write(root.join(".secret"), "secret").unwrap();
    std::fs::write(place.path().join("outside.txt"), "outside").unwrap();
    std::os::unix::fs::symlink(place.path().join("outside.txt"), root.join("link.txt")).unwrap();
    let cgi = place.path().join("cgi");
    std::fs::create_dir_all(&cgi).unwrap();
    program(&cgi.join("env.sh"), "echo 'Content-Type: text/plain'; echo; env");
    program(&cgi.join("post.sh"), "echo 'Status: 201 Created'; echo 'X-Y: z'; echo; cat");
    program(&cgi.join("broken.sh"), "echo nothing that is a header");
    program(&cgi.join("slow.sh"), "echo 'A: b'; echo; echo first; sleep 1000");
    program(&place.path().join("outside.sh"), "echo 'A: b'; echo; echo outside");
    place
}

#[tokio::test]
async fn files_are_served_and_nothing_else_is() {
    let place = site();
    let flag = format!("--staticdir={}", place.path().join("static").display());
    let running = Websocketd::start(&[&flag, "cat"]).await;
    let answer = running.get("/a.txt").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    let range = "GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\n\r\n";
    let answer = running.exchange(range).await;
    assert!(answer.starts_with("HTTP/1.1 206 ") && answer.ends_with("\r\n\r\nel"), "{answer}");
    let answer = running.get("/sub/").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("<p>index"), "{answer}");
    for path in [
        "/",
        "/empty/",
        "/.secret",
        "/link.txt",
        "/nope",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/sub/..%2f..%2foutside.txt",
        "/<script>alert(1)</script>",
    ] {
        let answer = running.get(path).await;
        let status = answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 400 ");
        assert!(status && !answer.contains("<script>"), "{path}: {answer}");
    }
    let line = running.until_logged("/a.txt").await;
    assert!(line.contains("| ACCESS | http       |") && line.ends_with("| STATIC"), "{line}");
    // WebSockets are where they were.
    running.connect("/any/where").await;
}

#[tokio::test]
async fn cgi_scripts_are_run_and_answer_as_they_come() {
    let place = site();
    let flag = format!("--cgidir={}", place.path().join("cgi").display());
    let running = Websocketd::start(&[&flag, "--maxforks=1", "cat"]).await;
    let request = "GET /env.sh/more?a=b HTTP/1.1\r\nHost: x.org:81\r\nProxy: http://evil\r\n\r\n";
    let answer = running.exchange(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let has = |line: &str| assert!(answer.lines().any(|other| other == line), "{line}: {answer}");
    has("SCRIPT_NAME=/env.sh");
    has("PATH_INFO=/more");
    has("QUERY_STRING=a=b");
    has("SERVER_NAME=x.org");
    assert!(!answer.contains("HTTP_PROXY"), "{answer}");
    let post = "POST /post.sh HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let answer = running.exchange(post).await;
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("hello"), "{answer}");
    assert!(answer.to_lowercase().contains("x-y: z"), "{answer}");
    let answer = running.get("/broken.sh").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    for path in ["/nope.sh", "/../outside.sh", "/%2e%2e/outside.sh", "/"] {
        let answer = running.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    // A script that takes its time counts, and ends when nobody reads it any more.
    let mut stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let request = b"GET /slow.sh HTTP/1.1\r\nHost: x\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut head = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head).await.unwrap();
    let answer = running.handshake("/", "").await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    drop(stream);
    for _ in 0..1_000 {
        if running.handshake("/", "").await.starts_with("HTTP/1.1 101 ") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the script holds its place");
}

#[tokio::test]
async fn the_console_is_at_every_path_and_repeats_none() {
    let running = Websocketd::start(&["--devconsole", "cat"]).await;
    for path in ["/", "/any/%22%3E%3Cscript%3E"] {
        let answer = running.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("<html"), "{answer}");
        assert!(!answer.contains("\"><script>"), "{answer}");
    }
}
