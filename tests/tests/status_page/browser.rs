//! A real browser without a window, steered by the Chrome DevTools protocol.

use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::patience::{GLANCE, within};
use tests::{Client, Scratch, Target};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const LIMIT: Duration = Duration::from_secs(60);

/// One page. The browser ends with it.
pub(super) struct Page {
    _browser: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    /// Exceptions, and what the page's policy has refused.
    pub complaints: Vec<String>,
    _profile: Scratch,
}

impl Page {
    /// Opens a URL. Nothing if this machine has no such browser.
    pub(super) async fn open(url: &str, scheme: &str) -> Option<Self> {
        let name = NAMES.into_iter().find(|name| tests::process::tool(name))?;
        let profile = Scratch::new();
        let mut browser = Command::new(name)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-port=0", "--no-first-run", "--lang=en"])
            .arg("--host-resolver-rules=MAP evil.example 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the browser");
        let mut lines = BufReader::new(browser.stderr.take().expect("its stderr")).lines();
        let browser_url = loop {
            let line = tokio::time::timeout(LIMIT, lines.next_line())
                .await
                .expect("the browser starts")
                .expect("a line");
            let line = line.expect("the browser says where it listens");
            if let Some((_, url)) = line.split_once("DevTools listening on ") {
                break url.trim().to_owned();
            }
        };
        // What it says later is read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = browser_url.trim_start_matches("ws://").split('/').next().expect("an address");
        let id = first_page(&Target::from_url(&format!("http://{address}"))).await;
        let debugger = format!("ws://{address}/devtools/page/{id}");
        let (socket, _) = connect_async(debugger).await.expect("the page's socket");
        let mut page = Self { _browser: browser, socket, next: 0, complaints: Vec::new(), _profile: profile };
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            page.call(domain, json!({})).await;
        }
        let metrics = json!({ "width": 1200, "height": 1400, "deviceScaleFactor": 1, "mobile": false });
        page.call("Emulation.setDeviceMetricsOverride", metrics).await;
        page.call("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        page.call("Emulation.setEmulatedMedia", feature).await;
        page.go(url).await;
        Some(page)
    }

    /// Opens another URL in its place.
    pub(super) async fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
        let is_there = format!(
            "location.href.startsWith({}) && document.readyState === 'complete'",
            json!(url.trim_end_matches('/'))
        );
        self.until(&is_there).await;
    }

    /// From now on its reader wants nothing to move.
    pub(super) async fn still(&mut self) {
        let feature = json!({ "features": [{ "name": "prefers-reduced-motion", "value": "reduce" }] });
        self.call("Emulation.setEmulatedMedia", feature).await;
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let request = json!({ "id": self.next, "method": method, "params": params });
        self.socket.send(Message::text(request.to_string())).await.expect("a command");
        loop {
            let message = tokio::time::timeout(LIMIT, self.socket.next()).await.expect("an answer in time");
            let message = message.expect("a browser that runs").expect("an open socket");
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["id"] == self.next {
                return message["result"].clone();
            }
            let text = message["params"].to_string();
            let refused = text.contains("Content Security Policy");
            if message["method"] == "Runtime.exceptionThrown"
                || (message["method"] == "Log.entryAdded" && refused)
            {
                self.complaints.push(text);
            }
        }
    }

    /// The value of an expression in the page.
    pub(super) async fn value(&mut self, expression: &str) -> Value {
        self.evaluate(expression).await.unwrap_or_else(|exception| panic!("{expression}: {exception}"))
    }

    /// Waits until an expression is true. One that throws is not true yet: the element that it asks for may not be there
    /// before the page has its first data.
    pub(super) async fn until(&mut self, expression: &str) {
        let limit = Instant::now() + LIMIT;
        loop {
            let seen = self.evaluate(expression).await;
            if seen == Ok(Value::Bool(true)) {
                return;
            }
            if Instant::now() > limit {
                let page = self.value("document.body.innerText").await;
                panic!("never true: {expression}\nat last: {seen:?}\n{page}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The value of an expression in the page, or the exception that it throws.
    async fn evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", parameters).await;
        match &result["exceptionDetails"] {
            Value::Null => Ok(result["result"]["value"].clone()),
            exception => Err(exception.clone()),
        }
    }

    /// A picture of the page, in the folder that `GRACEHTTP_SCREENSHOTS` names.
    pub(super) async fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("GRACEHTTP_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({ "format": "webp", "quality": 82 })).await;
        let folder = std::path::Path::new(&folder);
        std::fs::write(folder.join(format!("{name}.webp.base64")), shot["data"].as_str().expect("a picture"))
            .expect("the picture");
    }
}

/// The name of the browser's page. The browser may listen before it has one.
async fn first_page(browser: &Target) -> String {
    let named = async {
        loop {
            let mut client = Client::connect(browser).await.expect("its list");
            let list = client.get("/json").await.expect("its list").text();
            let list: Value = serde_json::from_str(&list).expect("JSON");
            let page = list.as_array().and_then(|pages| pages.iter().find(|page| page["type"] == "page"));
            if let Some(id) = page.and_then(|page| page["id"].as_str()) {
                return id.to_owned();
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    within(LIMIT, "the browser's page", named).await
}
