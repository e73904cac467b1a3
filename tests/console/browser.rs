//! A browser: Chromium, driven over the WebDriver protocol (W3C) by its own driver.

use serde_json::{Value, json};
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Drivers that are started until one finds a port.
const DRIVERS: usize = 5;
/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(15);
/// The member by which WebDriver refers to elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys, as WebDriver names them.
pub mod key {
    pub const ENTER: &str = "\u{E007}";
    pub const ESCAPE: &str = "\u{E00C}";
    pub const TAB: &str = "\u{E004}";
    pub const SPACE: &str = " ";
    pub const DOWN: &str = "\u{E015}";
    pub const UP: &str = "\u{E013}";
    pub const LEFT: &str = "\u{E012}";
    pub const HOME: &str = "\u{E011}";
    pub const END: &str = "\u{E010}";
}

/// A browser with a profile of its own, at a service.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    http: reqwest::Client,
    base: String,
    _profile: TempDir,
}

impl Browser {
    /// A fresh browser; paths are below `base`.
    pub async fn at(base: &str) -> Self {
        Self::sized(base, 1280, 900).await
    }

    /// A fresh browser with a window of this size.
    pub async fn sized(base: &str, width: u32, height: u32) -> Self {
        let profile = TempDir::new().expect("a folder");
        let (driver, address) = driver();
        let http = reqwest::Client::new();
        let data = format!("--user-data-dir={}", profile.path().display());
        let mut arguments = vec![data, format!("--window-size={width},{height}")];
        arguments.extend(
            [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--lang=en-GB",
            ]
            .map(str::to_owned),
        );
        let mut options = json!({ "args": arguments });
        if width < 500 {
            // Windows have a least width; phones are emulated.
            let metrics = json!({"width": width, "height": height, "pixelRatio": 2.0});
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "unhandledPromptBehavior": "accept",
        }}});
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
            http,
            base: base.to_owned(),
            _profile: profile,
        };
        let begun = browser.send("POST", "/session", &wanted).await.expect("a browser");
        begun["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser
    }

    /// Asks the driver; the error is WebDriver's code.
    async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.address);
        let request = match method {
            "GET" => self.http.get(url),
            "DELETE" => self.http.delete(url),
            _ => self.http.post(url).json(body),
        };
        let answer: Value =
            request.send().await.expect("the driver answers").json().await.expect("JSON");
        let value = answer["value"].clone();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    async fn ask(&self, method: &str, below: &str, body: &Value) -> Result<Value, String> {
        self.send(method, &format!("/session/{}{below}", self.session), body).await
    }

    /// Opens a path, or an address of the same service.
    pub async fn open(&self, path: &str) {
        let url =
            if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        self.ask("POST", "/url", &json!({ "url": url })).await.expect("the page opens");
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.ask("POST", "/refresh", &json!({})).await.expect("the page reloads");
    }

    /// Goes back in history.
    pub async fn back(&self) {
        self.ask("POST", "/back", &json!({})).await.expect("the page goes back");
    }

    /// The path and query of the page.
    pub async fn path(&self) -> String {
        let url = self.ask("GET", "/url", &json!({})).await.expect("an address");
        let url = url.as_str().expect("an address");
        url.strip_prefix(&self.base).unwrap_or(url).to_owned()
    }

    /// What a script returns.
    pub async fn script(&self, script: &str) -> Value {
        self.try_script(script).await.expect("the script runs")
    }

    async fn try_script(&self, script: &str) -> Result<Value, String> {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": []})).await
    }

    /// What a script passes to its last argument.
    pub async fn async_script(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.ask("POST", "/execute/async", &body).await.expect("the script runs")
    }

    /// Waits until a script returns true.
    pub async fn until(&self, script: &str) {
        let script = &format!("return Boolean({script})");
        self.patiently(script, async || match self.try_script(script).await {
            Ok(Value::Bool(true)) => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits until the page shows this text.
    pub async fn sees(&self, text: &str) {
        let quoted = json!(text);
        self.until(&format!(
            "document.readyState === 'complete' && document.body.innerText.includes({quoted})"
        ))
        .await;
    }

    /// Waits until the page does not show this text.
    pub async fn sees_no(&self, text: &str) {
        let quoted = json!(text);
        self.until(&format!(
            "document.readyState === 'complete' && !document.body.innerText.includes({quoted})"
        ))
        .await;
    }

    /// The text that an element shows.
    pub async fn text(&self, css: &str) -> String {
        self.until(&format!("document.querySelector({})", json!(css))).await;
        let script = format!("return document.querySelector({}).innerText", json!(css));
        self.script(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements there are.
    pub async fn count(&self, css: &str) -> u64 {
        let script = format!("return document.querySelectorAll({}).length", json!(css));
        self.script(&script).await.as_u64().unwrap_or_default()
    }

    /// Clicks an element, as soon as it can be clicked.
    pub async fn click(&self, css: &str) {
        self.click_by("css selector", css).await;
    }

    /// Clicks the link, button or menu with exactly this text, the topmost if there are several.
    pub async fn press(&self, text: &str) {
        let quoted = format!("\"{text}\"");
        let among = |scope: &str| {
            format!(
                "{scope}//*[self::a or self::button or self::summary][normalize-space()={quoted}]"
            )
        };
        let path =
            format!("{} | {}", among("//dialog[@open]"), among("//body[not(.//dialog[@open])]"));
        self.click_by("xpath", &path).await;
    }

    async fn click_by(&self, using: &str, value: &str) {
        self.patiently(value, async || {
            for element in self.elements(using, value).await {
                let click = format!("/element/{element}/click");
                if self.ask("POST", &click, &json!({})).await.is_ok() {
                    return Some(());
                }
                // What stays at the edge of a dialog may cover it.
                let script = "arguments[0].scrollIntoView({block: 'center'})";
                let body = json!({"script": script, "args": [{ ELEMENT: element }]});
                let _ = self.ask("POST", "/execute/sync", &body).await;
            }
            None
        })
        .await;
    }

    /// Drags the pointer from one element to another.
    pub async fn drag(&self, from: &str, to: &str) {
        let (from, to) = self
            .patiently(from, async || {
                let from = self.elements("css selector", from).await.into_iter().next()?;
                let to = self.elements("css selector", to).await.into_iter().next()?;
                Some((from, to))
            })
            .await;
        let over = |element: &str| {
            let origin = json!({ ELEMENT: element });
            json!({"type": "pointerMove", "origin": origin, "x": 0, "y": 0, "duration": 50})
        };
        let actions = [
            over(&from),
            json!({"type": "pointerDown", "button": 0}),
            over(&to),
            json!({"type": "pointerUp", "button": 0}),
        ];
        let mouse = json!({"type": "pointer", "id": "mouse", "actions": actions,
            "parameters": {"pointerType": "mouse"}});
        let body = json!({ "actions": [mouse] });
        self.ask("POST", "/actions", &body).await.expect("the pointer is dragged");
    }

    /// Types into a field that is emptied first.
    pub async fn fill(&self, css: &str, text: &str) {
        self.patiently(css, async || {
            let element = self.elements("css selector", css).await.into_iter().next()?;
            self.ask("POST", &format!("/element/{element}/clear"), &json!({})).await.ok()?;
            let body = json!({ "text": text });
            self.ask("POST", &format!("/element/{element}/value"), &body).await.ok().map(drop)
        })
        .await;
    }

    /// Sets a field to what it can't be typed into in every locale, such as a date and time.
    pub async fn set(&self, css: &str, value: &str) {
        self.until(&format!("document.querySelector({})", json!(css))).await;
        self.script(&format!(
            "const f = document.querySelector({}); f.value = {}; \
             f.dispatchEvent(new Event('input', {{bubbles: true}})); \
             f.dispatchEvent(new Event('change', {{bubbles: true}}));",
            json!(css),
            json!(value)
        ))
        .await;
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub async fn keys(&self, keys: &[&str]) {
        let mut actions = Vec::new();
        for key in keys {
            actions.push(json!({"type": "keyDown", "value": key}));
            actions.push(json!({"type": "keyUp", "value": key}));
        }
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.ask("POST", "/actions", &body).await.expect("keys are pressed");
    }

    /// Types a text wherever the focus is.
    pub async fn types(&self, text: &str) {
        let keys: Vec<String> = text.chars().map(String::from).collect();
        self.keys(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// The text or label of whatever has the focus.
    pub async fn focused(&self) -> String {
        let script = "const e = document.activeElement; \
            return e.getAttribute('aria-label') || e.innerText || e.labels?.[0]?.innerText || e.id";
        self.script(script).await.as_str().unwrap_or_default().trim().to_owned()
    }

    /// Presses Tab until the focus is on what has this text or label.
    pub async fn tab_to(&self, label: &str) {
        for _ in 0..80 {
            if self.focused().await.lines().next() == Some(label) {
                return;
            }
            self.keys(&[key::TAB]).await;
        }
        panic!("Tab does not lead to {label:?}, but to {:?}", self.focused().await);
    }

    /// Grants what pages may ask for, such as the clipboard.
    pub async fn grant(&self, permission: &str) {
        let body = json!({"descriptor": {"name": permission}, "state": "granted"});
        self.ask("POST", "/permissions", &body).await.expect("a permission");
    }

    /// The preferred colour scheme: `light` or `dark`.
    pub async fn prefers(&self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        let body = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}});
        self.ask("POST", "/goog/cdp/execute", &body).await.expect("a colour scheme");
    }

    /// Shows pages as they are printed, by a browser that prefers the dark; or no longer.
    pub async fn on_paper(&self, on: bool) {
        let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        let params = if on {
            json!({"media": "print", "features": features})
        } else {
            json!({"media": "", "features": []})
        };
        let body = json!({"cmd": "Emulation.setEmulatedMedia", "params": params});
        self.ask("POST", "/goog/cdp/execute", &body).await.expect("paper");
    }

    /// The zone that the browser believes to be in.
    pub async fn lives_in(&self, zone: &str) {
        let params = json!({ "timezoneId": zone });
        let body = json!({"cmd": "Emulation.setTimezoneOverride", "params": params});
        self.ask("POST", "/goog/cdp/execute", &body).await.expect("a zone");
    }

    /// Opens another window, and looks at that from now on.
    pub async fn another_window(&self) {
        let window = self.ask("POST", "/window/new", &json!({"type": "window"})).await;
        let window = window.expect("a window");
        let body = json!({ "handle": window["handle"] });
        self.ask("POST", "/window", &body).await.expect("the window");
    }

    /// Makes the page this wide.
    pub async fn resize(&self, width: u32) {
        let params = json!({"width": width, "height": 900, "deviceScaleFactor": 1,
            "mobile": width < 500});
        let body = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": params});
        self.ask("POST", "/goog/cdp/execute", &body).await.expect("a width");
    }

    /// Puts the window away, so that nobody sees its page.
    pub async fn minimize(&self) {
        self.ask("POST", "/window/minimize", &json!({})).await.expect("the window is put away");
        self.until("document.hidden").await;
    }

    /// Brings the window back.
    pub async fn restore(&self) {
        let body = json!({"width": 1280, "height": 900});
        self.ask("POST", "/window/rect", &body).await.expect("the window is back");
        self.until("!document.hidden").await;
    }

    /// Cuts the browser off from the service, or connects it again.
    pub async fn offline(&self, off: bool) {
        let conditions = json!({"offline": off, "latency": 0, "throughput": -1});
        let body = json!({ "network_conditions": conditions });
        self.ask("POST", "/chromium/network_conditions", &body).await.expect("conditions");
    }

    /// Makes each answer of the service take this long.
    pub async fn waits(&self, milliseconds: u64) {
        let conditions = json!({"offline": false, "latency": milliseconds, "throughput": -1});
        let body = json!({ "network_conditions": conditions });
        self.ask("POST", "/chromium/network_conditions", &body).await.expect("conditions");
    }

    /// Keeps the browser from asking for addresses of these forms.
    pub async fn kept_from(&self, forms: &[&str]) {
        for (command, params) in
            [("Network.enable", json!({})), ("Network.setBlockedURLs", json!({ "urls": forms }))]
        {
            let body = json!({ "cmd": command, "params": params });
            self.ask("POST", "/goog/cdp/execute", &body).await.expect("addresses");
        }
    }

    /// What an element is called by what reads pages aloud.
    pub async fn called(&self, css: &str) -> String {
        let found =
            self.elements("css selector", css).await.into_iter().next().expect("an element");
        let label = self.ask("GET", &format!("/element/{found}/computedlabel"), &json!({})).await;
        label.expect("a label").as_str().unwrap_or_default().to_owned()
    }

    /// The window is in front: what is focused looks like it.
    pub async fn has_focus(&self) {
        let params = json!({ "enabled": true });
        let body = json!({"cmd": "Emulation.setFocusEmulationEnabled", "params": params});
        self.ask("POST", "/goog/cdp/execute", &body).await.expect("focus");
    }

    /// Turns scripts off or on for the pages to come.
    pub async fn scripts(&self, on: bool) {
        let params = json!({ "value": !on });
        let body = json!({"cmd": "Emulation.setScriptExecutionDisabled", "params": params});
        self.ask("POST", "/goog/cdp/execute", &body).await.expect("scripts");
    }

    /// A picture of the window, as a PNG.
    pub async fn picture(&self, file: &Path) {
        use base64::Engine;
        let picture = self.ask("GET", "/screenshot", &json!({})).await.expect("a picture");
        let text = picture.as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("a picture");
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, bytes).expect("a file");
    }

    /// Elements by their identifiers.
    async fn elements(&self, using: &str, value: &str) -> Vec<String> {
        let body = json!({"using": using, "value": value});
        let found = self.ask("POST", "/elements", &body).await.unwrap_or_default();
        let found = found.as_array().cloned().unwrap_or_default();
        found.iter().filter_map(|element| element[ELEMENT].as_str()).map(str::to_owned).collect()
    }

    /// Tries until there is something, within the bound.
    async fn patiently<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            if Instant::now() > end {
                let text =
                    self.try_script("return location.href + '\\n' + document.body.innerText");
                let text = text.await.unwrap_or_default();
                panic!("waited in vain for {what:?} on:\n{}", text.as_str().unwrap_or_default());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for Browser {
    /// Ends the browser, then its driver, also when a test fails.
    fn drop(&mut self) {
        let host = self.address.trim_start_matches("http://");
        if let Ok(mut stream) = TcpStream::connect(host) {
            let request = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
                self.session
            );
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read(&mut [0; 512]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A driver of its own on a free port, and where it listens. It takes a port that is free on one
/// kind of address and ends where another process has it on the other kind: then there is another.
fn driver() -> (Child, String) {
    (0..DRIVERS).find_map(|_| started_driver()).expect("a driver that finds a port")
}

fn started_driver() -> Option<(Child, String)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is installed; scripts/test installs it");
    let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
    let port = lines.by_ref().find_map(|line| {
        let line = line.expect("a line");
        let (_, port) = line.split_once("successfully on port ")?;
        Some(port.trim_end_matches('.').to_owned())
    });
    let Some(port) = port else {
        driver.wait().expect("it has ended");
        return None;
    };
    // What it says from here on is read, so that it is never stopped by a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Some((driver, format!("http://127.0.0.1:{port}")))
}
