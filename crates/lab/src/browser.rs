//! A real Chromium without a screen, steered over its DevTools protocol.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::raw::{Message, RawClient, handshake};

/// The names that distributions give it.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running browser; ends when dropped.
#[derive(Debug)]
pub struct Browser {
    _child: Child,
    _profile: tempfile::TempDir,
    devtools: SocketAddr,
    path: String,
}

/// One of its tabs.
#[derive(Debug)]
pub struct Tab {
    client: RawClient,
    orders: u64,
}

impl Browser {
    /// Starts one. `None` if none is installed here.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start() -> io::Result<Option<Self>> {
        for program in PROGRAMS {
            match Self::start_as(program).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                started => return started.map(Some),
            }
        }
        Ok(None)
    }

    async fn start_as(program: &str) -> io::Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        command.args(["--no-first-run", "--remote-debugging-port=0", "--window-size=1280,1000"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut said =
            BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
        let listening = async {
            while let Some(line) = said.next_line().await? {
                let url = line.strip_prefix("DevTools listening on ws://");
                if let Some((address, path)) = url.and_then(|url| url.split_once('/')) {
                    return Ok((address.parse().map_err(io::Error::other)?, format!("/{path}")));
                }
            }
            Err(io::Error::other("the browser ended"))
        };
        let (devtools, path) = tokio::time::timeout(PATIENCE, listening).await??;
        // Who writes to a pipe that nobody reads waits one day.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Ok(Self { _child: child, _profile: profile, devtools, path })
    }

    /// Opens an address in a tab of its own.
    ///
    /// # Errors
    /// The browser does not do it.
    pub async fn open(&self, url: &str) -> io::Result<Tab> {
        let mut whole = self.attach(&self.path).await?;
        let made = whole.order("Target.createTarget", json!({"url": "about:blank"})).await?;
        let target = made["targetId"].as_str().unwrap_or_default();
        let mut tab = self.attach(&format!("/devtools/page/{target}")).await?;
        tab.order("Page.navigate", json!({"url": url})).await?;
        Ok(tab)
    }

    async fn attach(&self, path: &str) -> io::Result<Tab> {
        let stream = TcpStream::connect(self.devtools).await?;
        let mut client = RawClient::without_handshake(stream)?;
        client.patience = PATIENCE;
        // It takes no other name than its own.
        let handshake = handshake(path, "").replace("gateway.test", "127.0.0.1");
        client.send_bytes(handshake.as_bytes()).await?;
        client.finish_handshake().await?;
        Ok(Tab { client, orders: 0 })
    }
}

impl Tab {
    /// One order of the DevTools protocol, and its result.
    ///
    /// # Errors
    /// The browser refuses it, or is gone.
    pub async fn order(&mut self, method: &str, params: Value) -> io::Result<Value> {
        self.orders += 1;
        let order = json!({"id": self.orders, "method": method, "params": params});
        self.client.send_text(&order.to_string()).await?;
        loop {
            let Message::Text(text) = self.client.read_message().await? else {
                return Err(io::Error::other("the tab is closed"));
            };
            let said: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
            if said["id"] == self.orders {
                let result = said["result"].clone();
                return if result.is_null() { Err(io::Error::other(text)) } else { Ok(result) };
            }
        }
    }

    /// What an expression of JavaScript comes to on the page.
    ///
    /// # Errors
    /// It throws.
    pub async fn evaluate(&mut self, expression: &str) -> io::Result<Value> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let result = self.order("Runtime.evaluate", params).await?;
        if result.get("exceptionDetails").is_some() {
            return Err(io::Error::other(format!("{expression}: {result}")));
        }
        Ok(result["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// It is not in time; the text says what the page shows.
    pub async fn until(&mut self, expression: &str) -> io::Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.evaluate(expression).await.is_ok_and(|value| value == true) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let shown = self.evaluate("document.body.innerText").await?;
        Err(io::Error::other(format!("never: {expression}; it shows: {shown}")))
    }

    /// Presses a key and lets it go, as somebody at a keyboard.
    ///
    /// # Errors
    /// The browser refuses it.
    pub async fn press(&mut self, key: &str) -> io::Result<()> {
        let (code, text) = match key {
            "Tab" => (9, None),
            "Enter" => (13, Some("\r")),
            "Escape" => (27, None),
            _ => return Err(io::Error::other(format!("unknown key: {key}"))),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
            });
            if let Some(text) = text.filter(|_| kind == "keyDown") {
                params["text"] = text.into();
            }
            self.order("Input.dispatchKeyEvent", params).await?;
        }
        Ok(())
    }

    /// Whether pages are to be dark.
    ///
    /// # Errors
    /// The browser refuses it.
    pub async fn dark(&mut self, dark: bool) -> io::Result<()> {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.order("Emulation.setEmulatedMedia", features).await?;
        Ok(())
    }

    /// Writes what the page looks like into a PNG file.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn picture(&mut self, path: &Path) -> io::Result<()> {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let result = self.order("Page.captureScreenshot", params).await?;
        let data = result["data"].as_str().unwrap_or_default();
        std::fs::write(path, STANDARD.decode(data).map_err(io::Error::other)?)
    }
}
