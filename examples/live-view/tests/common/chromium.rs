//! A headless Chromium, driven through its DevTools protocol.

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

/// Where Chromium is, unless `CHROMIUM` says so.
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

/// A browser of its own, with a new profile.
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
            .expect("Chromium says where it listens");
        // It says more, which must go somewhere.
        std::thread::spawn(move || output.for_each(drop));
        let address = url.split('/').nth(2).expect("a host in the URL").to_owned();
        Chromium {
            child,
            _profile: profile,
            root: Connection::open(&address, &url),
            address,
        }
    }

    /// A page in a browser context of its own: a profile that shares nothing with the others, connections included.
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

    /// What a JavaScript expression comes to.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
        );
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Asks again and again until the expression is truthy.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let started = Instant::now();
        while !self.evaluate(&format!("Boolean({expression})")).as_bool().unwrap() {
            if started.elapsed() > DEADLINE {
                let shown = self.evaluate("document.body.innerText");
                panic!(
                    "`{expression}` does not come true; the page shows:\n{}",
                    shown.as_str().unwrap()
                );
            }
        }
    }

    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.evaluate(&format!("document.querySelector({selector:?}).textContent"));
        text.as_str().unwrap().to_owned()
    }

    /// Presses a key that makes no text.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types into whatever has the focus, key by key.
    pub(crate) fn type_text(&mut self, text: &str) {
        for character in text.chars() {
            let event = json!({ "type": "char", "text": character.to_string() });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// The whole page, beyond what the window shows.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", parameters);
        let image = decode(answer["data"].as_str().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, image).unwrap();
    }

    /// What the browser complained about: exceptions, and what the content security policy refused.
    pub(crate) fn complaints(&mut self) -> Vec<Value> {
        // An answer comes after everything that came before it.
        self.evaluate("0");
        self.connection.complaints.clone()
    }
}

struct Connection {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    complaints: Vec<Value>,
}

impl Connection {
    fn open(address: &str, url: &str) -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, _) = tungstenite::client(url, stream).expect("Chromium takes the websocket");
        Connection {
            socket,
            last_id: 0,
            complaints: Vec::new(),
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
                self.complaints.push(message["params"].take());
            }
        }
    }
}

/// Base64, as DevTools packs images.
fn decode(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.bytes().take_while(|&byte| byte != b'=') {
        let place = ALPHABET.iter().position(|&letter| letter == byte).expect("base64");
        bits = (bits << 6) | place as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
