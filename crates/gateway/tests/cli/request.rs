//! `slackwater request` against a WebSocket server that says what the test wants.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use slackwater::cli::{ClientCommand, RequestOptions};
use slackwater::command;
use slackwater::config::Surroundings;
use tokio::net::TcpListener;
use tokio_websockets::{CloseCode, Message, ServerBuilder};

#[tokio::test]
async fn a_completed_request_is_a_success() {
    let url = server(|thread| {
        vec![Message::text(answer(
            thread,
            &[result("200", "3"), part("STATUS", "Request Complete", "205", "null")],
        ))]
    })
    .await;
    assert_eq!(request(&url, &["1", "2"]).await, ExitCode::from(0));
}

#[tokio::test]
async fn an_answer_in_pieces_is_a_success() {
    let url = server(|thread| {
        [
            part("RESULT", "Partial Response", "206", r#""[1,""#),
            part("RESULT", "Partial Response", "206", r#""2]""#),
            part("RESULT", "No Content", "204", "null"),
            part("STATUS", "Request Complete", "205", "null"),
        ]
        .into_iter()
        .map(|part| Message::text(answer(thread, &[part])))
        .collect()
    })
    .await;
    assert_eq!(request(&url, &[]).await, ExitCode::from(0));
}

#[tokio::test]
async fn an_error_status_is_none() {
    let url = server(|thread| {
        vec![Message::text(answer(thread, &[part("STATUS", "Service Not Found", "404", "null")]))]
    })
    .await;
    assert_eq!(request(&url, &[]).await, ExitCode::from(1));
}

#[tokio::test]
async fn a_close_before_the_answer_is_none() {
    let drained = CloseCode::try_from(1012).unwrap();
    let url = server(move |_| vec![Message::close(Some(drained), "drained")]).await;
    assert_eq!(request(&url, &[]).await, ExitCode::from(1));
}

#[tokio::test]
async fn no_answer_in_time_is_none() {
    let url = server(|_| Vec::new()).await;
    let options = RequestOptions { timeout: "300ms".parse().unwrap(), ..options(&url, &[]) };
    assert_eq!(run(options).await, ExitCode::from(1));
}

#[tokio::test]
async fn without_a_gateway_it_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(request(&url, &[]).await, ExitCode::from(2));
}

#[tokio::test]
async fn what_was_typed_wrong_is_told_before_anything_is_sent() {
    assert_eq!(request("ws://127.0.0.1:1/", &["text"]).await, ExitCode::from(2));
    assert_eq!(request("https://127.0.0.1:1/", &[]).await, ExitCode::from(2));
}

async fn request(url: &str, params: &[&str]) -> ExitCode {
    run(options(url, params)).await
}

async fn run(options: RequestOptions) -> ExitCode {
    let surroundings = Surroundings::default();
    let running = command::run(ClientCommand::Request(options), &surroundings);
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("an end")
}

fn options(url: &str, params: &[&str]) -> RequestOptions {
    RequestOptions {
        service: "opensrf.math".to_owned(),
        method: "add".to_owned(),
        params: params.iter().map(ToString::to_string).collect(),
        url: url.to_owned(),
        ca: None,
        timeout: "50s".parse().unwrap(),
    }
}

/// Takes one client, reads its request, checks that it is one, and answers.
async fn server(answers: impl FnOnce(&str) -> Vec<Message> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (_, mut socket) = ServerBuilder::new().accept(stream).await.unwrap();
        let request = socket.next().await.unwrap().unwrap();
        let request: serde_json::Value = serde_json::from_str(request.as_text().unwrap()).unwrap();
        assert_eq!(request["service"], "opensrf.math");
        assert_eq!(request["osrf_msg"][0]["__p"]["payload"]["__p"]["method"], "add");
        for message in answers(request["thread"].as_str().unwrap()) {
            socket.send(message).await.unwrap();
        }
        while let Some(Ok(_)) = socket.next().await {}
    });
    url
}

fn answer(thread: &str, messages: &[String]) -> String {
    format!(r#"{{"thread":"{thread}","log_xid":"x","osrf_msg":[{}]}}"#, messages.join(","))
}

fn result(code: &str, content: &str) -> String {
    part("RESULT", "OK", code, content)
}

fn part(kind: &str, status: &str, code: &str, content: &str) -> String {
    format!(
        r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"1","type":"{kind}","payload":{{"__c":"x","__p":{{"status":"{status}","statusCode":"{code}","content":{content}}}}}}}}}"#
    )
}
