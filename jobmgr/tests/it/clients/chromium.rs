//! A real browser, driven over WebDriver (W3C) as a person would drive it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::processes::{Signal, naming, signal};
use crate::support::programs::{or_skip, run};
use crate::support::server::{PATIENCE, eventually};

/// What stands for an element, as the standard has it.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys, as the standard has them: one that is held, and what ends that.
const CONTROL: char = '\u{E009}';
const RELEASE: char = '\u{E000}';
/// No window, no sandbox (which root can't have), and nothing asked of anybody but the page's own server.
const ARGUMENTS: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--window-size=1280,1600",
];

/// A browser with one window; ended when it is dropped.
pub struct Chromium {
    driver: Child,
    port: u16,
    session: String,
    /// Its profile.
    _profile: TempDir,
}

impl Chromium {
    /// `None` after saying aloud that there is none.
    pub fn start() -> Option<Self> {
        or_skip("Chromium", run(Command::new("chromedriver").arg("--version")))?;
        let profile = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut driver = Command::new("chromedriver");
        driver.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = driver.spawn().unwrap();
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        eventually("chromedriver listens", || Client::try_connect(([127, 0, 0, 1], port).into()).is_ok());
        let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let wanted = json!({ "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" } });
        let session = browser.call("POST", "/session", json!({ "capabilities": { "alwaysMatch": wanted } })).unwrap();
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// Goes to an address.
    pub fn open(&self, url: &str) {
        self.ask("POST", "/url", json!({ "url": url }));
    }

    /// Clicks on what the selector finds, once it is there.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.script("arguments[0].scrollIntoView({ block: 'center' })", json!([{ ELEMENT: element }]));
        self.ask("POST", &format!("/element/{element}/click"), json!({}));
    }

    /// Types into a field, in place of what is in it.
    pub fn fill(&self, selector: &str, text: &str) {
        // A page may put back what is cleared.
        self.type_into(selector, &format!("{CONTROL}a{RELEASE}{text}"));
    }

    /// Types into a field; of one for files, the text is a path.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.ask("POST", &format!("/element/{element}/value"), json!({ "text": text }));
    }

    /// The text of what the selector finds, once it is there.
    pub fn text(&self, selector: &str) -> String {
        let element = self.find(selector);
        self.ask("GET", &format!("/element/{element}/text"), Value::Null).as_str().unwrap().to_owned()
    }

    /// Runs a script in the page; gives what it returns.
    pub fn script(&self, script: &str, arguments: Value) -> Value {
        self.ask("POST", "/execute/sync", json!({ "script": script, "args": arguments }))
    }

    /// What the browser has complained about since it was asked last.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.ask("POST", "/se/log", json!({ "type": "browser" }));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes a picture of what the selector finds.
    pub fn picture(&self, selector: &str, file: &Path) {
        let element = self.find(selector);
        let picture = self.ask("GET", &format!("/element/{element}/screenshot"), Value::Null);
        let picture = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap();
        std::fs::write(file, picture).unwrap();
    }

    fn find(&self, selector: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let wanted = json!({ "using": "css selector", "value": selector });
        loop {
            match self.call("POST", &format!("{}/element", self.session), wanted.clone()) {
                Ok(found) => return found[ELEMENT].as_str().unwrap().to_owned(),
                Err(why) => assert!(Instant::now() < until, "{selector}: {why}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        self.call(method, &format!("{}{path}", self.session), body).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    fn call(&self, method: &str, path: &str, body: Value) -> Result<Value, Value> {
        let mut client = Client::connect(([127, 0, 0, 1], self.port).into());
        let body = if method == "GET" { Vec::new() } else { body.to_string().into_bytes() };
        let answer = client.try_send(method, path, "Content-Type: application/json\r\n", &body).unwrap();
        let value = std::mem::take(&mut answer.json()["value"]);
        if answer.status == 200 { Ok(value) } else { Err(value) }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver ends the browser; with the driver killed, the browser would stay.
        if !self.session.is_empty() {
            drop(self.call("DELETE", &self.session, Value::Null));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
        // One that was slow to end, and what it has started: each names the profile, which is this test's own.
        for pid in naming(&self._profile.path().display().to_string()) {
            signal(pid, Signal::KILL);
        }
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
