//! The close sequence over TLS: a client that is owed a large answer and goes on sending gets all that
//! was executed, then Close, close_notify and FIN in order.

use std::io;
use std::time::Duration;

use serde_json::json;
use slackwater_lab::certificate::Certificate;
use slackwater_lab::opensrf;
use slackwater_lab::process::Gateway;
use slackwater_lab::raw::{End, Message, RawClient, exchange, frame, opcode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const DEMO: &str = "slackwater.demo";

async fn secured(options: &[&str]) -> (Gateway, Certificate) {
    let made = Certificate::of(&["localhost"]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, &made.certificate).unwrap();
    std::fs::write(&key, &made.key).unwrap();
    let files = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    let tls = ["--tls-certificate", files[0], "--tls-key", files[1], "--ebb-window", "0s"];
    let options = [&tls[..], options].concat();
    (Gateway::start(env!("CARGO_BIN_EXE_slackwater"), &options).await.unwrap(), made)
}

async fn connect(
    gateway: &Gateway,
    made: &Certificate,
) -> io::Result<RawClient<TlsStream<TcpStream>>> {
    let mut client = made.connect(gateway.address()).await?;
    client.finish_handshake().await?;
    Ok(client)
}

#[tokio::test]
async fn a_client_that_goes_on_sending_gets_all_that_was_executed_and_an_orderly_end() {
    let (mut gateway, made) = secured(&["--quiet-window", "20ms"]).await;
    let client = connect(&gateway, &made).await.unwrap();
    let (mut reader, mut writer) = client.into_halves();
    let text = opensrf::request(DEMO, "big", 1, "slackwater.demo.bytes", &json!([3 << 20]));
    writer.write_all(&frame(opcode::TEXT, true, text.as_bytes())).await.unwrap();
    // What is to be answered at once: Pings and the Close.
    let (answers, mut to_answer) = tokio::sync::mpsc::unbounded_channel();
    let sending = tokio::spawn(async move {
        let mut sent = 1_u64;
        // One each 50 ms leaves quiet windows between them, as a person does; some cross our Close.
        loop {
            tokio::select! {
                answer = to_answer.recv() => match answer {
                    Some((code, payload)) => {
                        let payload: Vec<u8> = payload;
                        writer.write_all(&frame(code, true, &payload)).await.unwrap();
                        if code == opcode::CLOSE {
                            return (sent, writer);
                        }
                        continue;
                    }
                    None => return (sent, writer),
                },
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            let trace = u32::try_from(sent).unwrap();
            let text = opensrf::request(DEMO, "s", trace, "slackwater.demo.echo", &json!([sent]));
            let text = frame(opcode::TEXT, true, text.as_bytes());
            writer.write_all(&text).await.unwrap();
            sent += 1;
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    crate::drain(&mut gateway).await.unwrap();
    let (mut answered, mut bytes) = (0_u64, 0);
    let code = loop {
        let frame = reader.read_frame().await.unwrap();
        match frame.opcode {
            opcode::TEXT => {
                bytes += frame.payload.len();
                let text = String::from_utf8(frame.payload).unwrap();
                let finals = opensrf::answers(&text).into_iter().filter(|a| a.is_final());
                answered += finals.count() as u64;
            }
            opcode::PING => answers.send((opcode::PONG, frame.payload)).unwrap(),
            opcode::CLOSE => break u16::from_be_bytes([frame.payload[0], frame.payload[1]]),
            _ => {}
        }
    };
    answers.send((opcode::CLOSE, code.to_be_bytes().to_vec())).unwrap();
    let (sent, mut writer) = sending.await.unwrap();
    assert_eq!(code, 1012);
    // Without close_notify rustls would call the end of the stream an error.
    assert_eq!(reader.end().await.unwrap(), End::Fin);
    writer.shutdown().await.ok();
    let drained = gateway.until("it has gone", |status| status["connections"] == 0).await.unwrap();
    assert!(bytes > 3 << 20, "the large one came whole: {bytes}");
    assert_eq!(drained["answered"], answered);
    assert_eq!(drained["executed"], answered, "what was executed was answered: {drained}");
    assert_eq!(drained["lost_replies"], 0);
    let crossed = drained["crossed_requests"].as_u64().unwrap();
    assert_eq!(answered + crossed, sent, "{drained}");
    assert!(answered > 2, "{drained}");
}

#[tokio::test]
async fn browsers_that_come_by_http_are_sent_to_https_at_the_same_address() {
    let from = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (gateway, made) = secured(&["--redirect-listen", &from.to_string()]).await;
    let to = gateway.address().port();
    for (host, asked, location) in [
        ("gateway.test:80", "/a/b?c=d", format!("https://gateway.test:{to}/a/b?c=d")),
        ("[::1]", "/", format!("https://[::1]:{to}/")),
        ("gateway.test", "//evil.example/x", format!("https://gateway.test:{to}//evil.example/x")),
    ] {
        let request = format!("GET {asked} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = exchange(from, request.as_bytes()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 301 "), "{answer}");
        let expected = format!("location: {location}\r\n");
        assert!(answer.to_ascii_lowercase().contains(&expected), "{answer}");
    }
    // And there they are served.
    let mut client = connect(&gateway, &made).await.unwrap();
    let text = opensrf::request(DEMO, "t", 1, "slackwater.demo.echo", &json!(["x"]));
    client.send_text(&text).await.unwrap();
    assert!(matches!(client.read_message().await.unwrap(), Message::Text(_)));
}
