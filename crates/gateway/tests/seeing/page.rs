//! The page of the admin port in a real Chromium: what it shows, that its buttons work, and that
//! nobody else's page can press them.

use std::io;
use std::path::PathBuf;

use serde_json::json;
use slackwater_lab::browser::{Browser, Tab};
use slackwater_lab::opensrf;
use slackwater_lab::proof::skipped;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::{Seen, call};

const DEMO: &str = "slackwater.demo";

async fn browser() -> Option<Browser> {
    let browser = Browser::start().await.unwrap();
    if browser.is_none() {
        skipped("the page in a browser", "chromium is not installed");
    }
    browser
}

/// What `slackwater page` prints.
async fn address(seen: &Seen) -> String {
    let output = seen.gateway.command(&["page"]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn shows(tab: &mut Tab, id: &str, text: &str) {
    let is = format!("document.getElementById({id:?}).textContent.includes({text:?})");
    tab.until(&is).await.unwrap();
}

/// Keeps a picture if the tester asks for some.
async fn picture(tab: &mut Tab, name: &str) {
    if let Some(directory) = std::env::var_os("LAB_PICTURES") {
        tab.picture(&PathBuf::from(directory).join(name)).await.unwrap();
    }
}

#[tokio::test]
async fn an_operator_drains_and_calls_it_off_with_the_keyboard_and_sees_who_holds_it() {
    let Some(browser) = browser().await else { return };
    let mut seen = Seen::start(&["--ebb-window", "0s"]).await;
    let mut busy = seen.gateway.connect().await.unwrap();
    for trace in 1..=20 {
        assert_eq!(
            call(&mut busy, trace, DEMO, "slackwater.demo.echo", json!([trace])).await.unwrap(),
            205
        );
    }
    assert_eq!(call(&mut busy, 21, "opensrf.math", "add", json!([1, 2])).await.unwrap(), 205);
    let wait = opensrf::request(DEMO, "t", 22, "slackwater.demo.wait", &json!([60.0, "late"]));
    busy.send_text(&wait).await.unwrap();
    let mut idle = seen.gateway.connect().await.unwrap();
    seen.gateway.until("it is under way", |status| status["executed"] == 22).await.unwrap();

    let mut tab = browser.open(&address(&seen).await).await.unwrap();
    shows(&mut tab, "phase", "serving").await;
    shows(&mut tab, "behind", "embedded:").await;
    for (card, value) in [("connections", "2"), ("pending", "1"), ("answered", "21")] {
        shows(&mut tab, card, value).await;
    }
    shows(&mut tab, "services", "slackwater.demo20").await;
    shows(&mut tab, "services", "opensrf.math1").await;
    shows(&mut tab, "clients", "slackwater.demo slackwater.demo.wait").await;
    assert_eq!(tab.evaluate("location.hash").await.unwrap(), "", "the key is not left to be seen");
    assert_eq!(tab.evaluate("document.getElementById('undrain').disabled").await.unwrap(), true);
    picture(&mut tab, "serving.png").await;

    // To the button, into the dialog, to its button.
    tab.until("!document.getElementById('drain').disabled").await.unwrap();
    tab.evaluate("document.activeElement.blur()").await.unwrap();
    tab.press("Tab").await.unwrap();
    assert_eq!(tab.evaluate("document.activeElement.id").await.unwrap(), "drain");
    tab.press("Enter").await.unwrap();
    tab.until("document.getElementById('sure').open").await.unwrap();
    tab.press("Escape").await.unwrap();
    tab.until("!document.getElementById('sure').open").await.unwrap();
    assert_eq!(seen.gateway.status().await.unwrap()["phase"], "serving", "Escape does nothing");
    tab.press("Enter").await.unwrap();
    tab.until("document.getElementById('sure').open").await.unwrap();
    tab.evaluate("document.getElementById('deadline').value = '45s'").await.unwrap();
    tab.press("Enter").await.unwrap();
    seen.gateway.until("it drains", |status| status["phase"] == "ebb").await.unwrap();
    assert_eq!(idle.closed().await.unwrap().0, Some(1012));
    shows(&mut tab, "phase", "ebb").await;
    shows(&mut tab, "progress-text", "1 of 2 closed").await;
    shows(&mut tab, "progress-text", "to the deadline").await;
    shows(&mut tab, "holders", "slackwater.demo slackwater.demo.wait").await;
    let left = seen.gateway.status().await.unwrap()["drain"]["deadline_seconds_left"].as_f64();
    assert!(left.is_some_and(|left| left < 45.0), "{left:?}");
    picture(&mut tab, "draining.png").await;
    tab.dark(true).await.unwrap();
    picture(&mut tab, "draining-dark.png").await;

    tab.until("!document.getElementById('undrain').disabled").await.unwrap();
    tab.evaluate("document.getElementById('undrain').focus()").await.unwrap();
    tab.press("Enter").await.unwrap();
    seen.gateway.until("it serves", |status| status["phase"] == "serving").await.unwrap();
    shows(&mut tab, "phase", "serving").await;
    drop(busy);
}

#[tokio::test]
async fn its_console_sends_a_request_and_shows_the_answers() {
    let Some(browser) = browser().await else { return };
    let seen = Seen::start(&[]).await;
    let mut tab = browser.open(&format!("http://{}/", seen.admin)).await.unwrap();
    shows(&mut tab, "phase", "serving").await;
    let url = tab.evaluate("document.getElementById('url').value").await.unwrap();
    assert_eq!(url, format!("ws://{}/", seen.gateway.address()));
    tab.evaluate("document.getElementById('form').requestSubmit()").await.unwrap();
    shows(&mut tab, "answers", "#1 3").await;
    shows(&mut tab, "answers", "205").await;
    tab.evaluate("document.getElementById('params').value = '{'").await.unwrap();
    tab.evaluate("document.getElementById('form').requestSubmit()").await.unwrap();
    shows(&mut tab, "answers", "JSON").await;
    // Without the key the buttons are shut, nobody is named, and it says what to do.
    assert_eq!(tab.evaluate("document.getElementById('drain').disabled").await.unwrap(), true);
    assert_eq!(tab.evaluate("document.getElementById('locked').hidden").await.unwrap(), false);
    assert_eq!(
        tab.evaluate("document.getElementById('clients-panel').hidden").await.unwrap(),
        true
    );
}

/// Browsers offer compression by themselves, and inflate what comes with their own code.
#[tokio::test]
async fn a_browser_sends_and_receives_compressed_messages() {
    let Some(browser) = browser().await else { return };
    for (options, agreed, compressed) in
        [(&[][..], "permessage-deflate", true), (&["--compress-from", "off"], "", false)]
    {
        let seen = Seen::start(options).await;
        let mut tab = browser.open(&format!("http://{}/", seen.admin)).await.unwrap();
        let large = serde_json::Value::from("all the same ".repeat(20_000));
        let request = opensrf::request(DEMO, "t", 1, "slackwater.demo.echo", &json!([large]));
        let url = format!("ws://{}/", seen.gateway.address());
        tab.evaluate(&format!(
            "globalThis.got = ''; globalThis.socket = new WebSocket({url:?});
             socket.onopen = () => socket.send({});
             socket.onmessage = event => got += event.data; 0",
            serde_json::Value::from(request)
        ))
        .await
        .unwrap();
        // It comes in parts.
        tab.until("got.includes('205') && got.length > 260000").await.unwrap();
        let extensions = tab.evaluate("socket.extensions").await.unwrap();
        assert!(extensions.as_str().unwrap().starts_with(agreed), "{extensions}");
        assert_eq!(extensions == "", !compressed, "{extensions}");
        let (_, metrics) = seen.ask("GET", "/metrics", "").await;
        for direction in ["received", "sent"] {
            let name = format!("slackwater_client_{direction}_bytes_total ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect(&metrics);
            let bytes: u64 = line.parse().unwrap();
            assert_eq!(bytes < 26_000, compressed, "{bytes} bytes {direction} of 260,000");
        }
    }
}

#[tokio::test]
async fn it_says_so_when_the_gateway_has_gone() {
    let Some(browser) = browser().await else { return };
    let mut seen = Seen::start(&[]).await;
    let mut tab = browser.open(&address(&seen).await).await.unwrap();
    shows(&mut tab, "phase", "serving").await;
    seen.gateway.signal(slackwater_lab::process::Signal::KILL).unwrap();
    seen.gateway.exit().await.unwrap();
    tab.until("!document.getElementById('alarm').hidden").await.unwrap();
    shows(&mut tab, "alarm", "does not answer").await;
}

/// Somebody's web site, at which each path answers the same page.
async fn other_site() -> io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok_and(|length| length == 0) {
                continue;
            }
            let page = "<!doctype html><title>elsewhere</title><p>elsewhere";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{page}",
                page.len()
            );
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    Ok(address)
}

#[tokio::test]
async fn another_page_in_the_same_browser_can_neither_press_its_buttons_nor_read_it() {
    let Some(browser) = browser().await else { return };
    let seen = Seen::start(&[]).await;
    // The operator has the page open, with its key.
    let mut own = browser.open(&address(&seen).await).await.unwrap();
    shows(&mut own, "phase", "serving").await;
    let mut tab = browser.open(&format!("http://{}/", other_site().await.unwrap())).await.unwrap();
    tab.until("document.title === 'elsewhere'").await.unwrap();
    let admin = format!("http://{}", seen.admin);
    for attempt in [
        format!("fetch('{admin}/drain', {{method: 'POST', mode: 'no-cors'}}).then(() => 'sent')"),
        format!(
            "fetch('{admin}/drain', {{method: 'POST', headers: {{Authorization: 'Bearer x'}}}})\
             .then(() => 'read', () => 'stopped')"
        ),
        format!("fetch('{admin}/status').then(() => 'read', () => 'stopped')"),
    ] {
        let outcome = tab.evaluate(&attempt).await.unwrap();
        assert_ne!(outcome, "read", "{attempt}");
    }
    // A form goes without asking anybody first.
    let form = format!(
        "(() => {{ const form = document.createElement('form'); form.method = 'post'; \
         form.action = '{admin}/drain'; document.body.append(form); form.submit(); }})()"
    );
    tab.evaluate(&form).await.unwrap();
    tab.until("document.body.innerText.includes('may not')").await.unwrap();
    // Nor is it shown in a frame, where a click could be stolen.
    let mut framing =
        browser.open(&format!("http://{}/", other_site().await.unwrap())).await.unwrap();
    framing.until("document.title === 'elsewhere'").await.unwrap();
    let frame = format!(
        "new Promise(resolve => {{ const frame = document.createElement('iframe'); \
         frame.src = '{admin}/'; frame.onload = () => resolve(frame.contentDocument === null); \
         document.body.append(frame); }})"
    );
    assert_eq!(framing.evaluate(&frame).await.unwrap(), true, "an error page in its place");
    assert_eq!(seen.gateway.status().await.unwrap()["phase"], "serving");
}

#[tokio::test]
async fn a_stranger_gets_nothing_but_a_look() {
    let seen = Seen::start(&[]).await;
    let key = address(&seen).await.split_once("#key=").unwrap().1.to_owned();
    let admin = seen.admin;
    let right = format!("Authorization: Bearer {key}\r\n");
    for (what, headers, code) in [
        ("without the key", String::new(), 401),
        ("with another", "Authorization: Bearer 00\r\n".to_owned(), 401),
        ("from another page", format!("{right}Origin: http://evil.example\r\n"), 403),
        ("from another port", format!("{right}Origin: http://127.0.0.1:1\r\n"), 403),
        ("from another site", format!("{right}Sec-Fetch-Site: cross-site\r\n"), 403),
    ] {
        for path in ["/drain", "/undrain"] {
            assert_eq!(seen.ask("POST", path, &headers).await.0, code, "{what}: {path}");
        }
        assert_eq!(seen.ask("GET", "/connections", &headers).await.0, code, "{what}");
    }
    // A name that was made to point here (DNS rebinding).
    let rebound = format!(
        "POST /drain HTTP/1.1\r\nHost: evil.example:{}\r\n{right}Connection: close\r\n\r\n",
        admin.port()
    );
    let answer = slackwater_lab::raw::exchange(admin, rebound.as_bytes()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert_eq!(seen.gateway.status().await.unwrap()["phase"], "serving");
    // Of many clients, some are named.
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(seen.gateway.connect().await.unwrap());
    }
    for (query, number) in [("", 5), ("?most=3", 3), ("?most=9", 5), ("?holding=9", 0)] {
        let (code, named) = seen.ask("GET", &format!("/connections{query}"), &right).await;
        let named: Vec<serde_json::Value> = serde_json::from_str(&named).unwrap();
        assert_eq!((code, named.len()), (200, number), "{query}");
    }
    let own = format!("{right}Origin: http://{admin}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(seen.ask("POST", "/drain", &own).await.0, 200);
    assert_ne!(seen.gateway.status().await.unwrap()["phase"], "serving");
}

#[tokio::test]
async fn without_an_admin_port_there_is_no_page_and_it_is_said() {
    let gateway = slackwater_lab::process::Gateway::start(crate::PROGRAM, &[]).await.unwrap();
    let output = gateway.command(&["page"]).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("admin_listen"), "{said}");
}
