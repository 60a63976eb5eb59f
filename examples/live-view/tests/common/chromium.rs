//! A headless Chromium, controlled through its DevTools protocol.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use super::DEADLINE;

/// The default executable. The environment variable `CHROMIUM` overrides it.
const PATH: &str = "chromium";

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
];

/// A running Chromium with a new profile.
pub(crate) struct Chromium {
    child: Child,
    _profile: TempDir,
    address: String,
    root: Connection,
}

impl Chromium {
    pub(crate) fn start() -> Chromium {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(env::var_os("CHROMIUM").unwrap_or(PATH.into()))
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium starts");
        let mut output = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = output
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| Some(line.strip_prefix("DevTools listening on ")?.to_owned()))
            .expect("Chromium prints its address");
        // Chromium prints more lines. Another thread reads and discards them, so that the pipe does not fill up.
        std::thread::spawn(move || output.for_each(drop));
        let address = url.split('/').nth(2).expect("a host in the URL").to_owned();
        Chromium {
            child,
            _profile: profile,
            root: Connection::open(&address, &url),
            address,
        }
    }

    /// Opens a page in a new browser context. Contexts share nothing with each other, not even connections.
    pub(crate) fn open(&mut self, url: &str) -> Page {
        let context = self.root.call("Target.createBrowserContext", json!({}));
        let target = self.root.call(
            "Target.createTarget",
            json!({ "url": "about:blank", "browserContextId": context["browserContextId"] }),
        );
        let socket = format!(
            "ws://{}/devtools/page/{}",
            self.address,
            target["targetId"].as_str().unwrap()
        );
        let mut page = Page {
            connection: Connection::open(&self.address, &socket),
        };
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.call("Page.navigate", json!({ "url": url }));
        page
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.root.send("Browser.close", json!({}));
        let started = Instant::now();
        while started.elapsed() < DEADLINE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::yield_now();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One tab.
pub(crate) struct Page {
    connection: Connection,
}

impl Page {
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.connection.call(method, parameters)
    }

    /// Returns the value of a JavaScript expression.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
        );
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Evaluates the expression repeatedly until it is truthy.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let started = Instant::now();
        while !self.evaluate(&format!("Boolean({expression})")).as_bool().unwrap() {
            if started.elapsed() > DEADLINE {
                let shown = self.evaluate("document.body.innerText");
                panic!(
                    "`{expression}` is still false; the page shows:\n{}",
                    shown.as_str().unwrap()
                );
            }
        }
    }

    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.evaluate(&format!("document.querySelector({selector:?}).textContent"));
        text.as_str().unwrap().to_owned()
    }

    /// Presses a key that types no text.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types a text into the focused element, one character at a time.
    pub(crate) fn type_text(&mut self, text: &str) {
        for character in text.chars() {
            let event = json!({ "type": "char", "text": character.to_string() });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Saves a screenshot of the whole page, including the parts outside the viewport.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", parameters);
        let image = decode(answer["data"].as_str().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, image).unwrap();
    }

    /// Returns the errors of the page: exceptions and log entries, such as violations of the content security policy.
    pub(crate) fn errors(&mut self) -> Vec<Value> {
        // The answer to this call arrives after all earlier messages.
        self.evaluate("0");
        self.connection.errors.clone()
    }
}

struct Connection {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    errors: Vec<Value>,
}

impl Connection {
    fn open(address: &str, url: &str) -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, _) = tungstenite::client(url, stream).expect("Chromium accepts the websocket");
        Connection {
            socket,
            last_id: 0,
            errors: Vec::new(),
        }
    }

    fn send(&mut self, method: &str, parameters: Value) -> tungstenite::Result<()> {
        self.last_id += 1;
        let message = json!({ "id": self.last_id, "method": method, "params": parameters });
        self.socket.send(Message::text(message.to_string()))
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.send(method, parameters).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            if message["method"] == "Runtime.exceptionThrown" || message["method"] == "Log.entryAdded" {
                self.errors.push(message["params"].take());
            }
        }
    }
}

/// Decodes Base64, the encoding of images in DevTools.
fn decode(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().take_while(|&byte| byte != b'=') {
        let value = ALPHABET.iter().position(|&letter| letter == byte).expect("base64");
        bits = (bits << 6) | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
