//! The server as a child process, and clients that speak HTTP/1.1 over plain TCP.

#![allow(dead_code, reason = "each test binary uses only some of the items")]

pub(crate) mod chromium;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A timeout that is exceeded only if the expected event never occurs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running server that replays the records of the test as fast as possible.
pub(crate) struct Server {
    child: Child,
    source: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Server {
        let listen: &[&str] = if args.contains(&"--listen") {
            &[]
        } else {
            &["--listen", "127.0.0.1:0"]
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_live-view"))
            .args(["--replay", "-", "--rate", "0"])
            .args(listen)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("live view on http://")
            .expect("the server prints its address");
        Server {
            address: address.parse().unwrap(),
            source: child.stdin.take(),
            child,
        }
    }

    /// Publishes one event for each text. All events belong to one session.
    pub(crate) fn publish(&mut self, connector: &str, kind: &str, texts: impl IntoIterator<Item = impl AsRef<str>>) {
        let source = self.source.as_mut().expect("the source has not ended");
        let mut lines = String::new();
        for text in texts {
            let record = json!({
                "ts": "2026-01-02T03:04:05Z",
                "connector_id": connector,
                "native_session_id": "main",
                "kind": kind,
                "payload": { "text": text.as_ref() },
            });
            lines += &format!("{record}\n");
        }
        source.write_all(lines.as_bytes()).unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.get_with(path, &[("Host", &self.address.to_string())])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
        Response::read(stream)
    }

    /// Opens the stream of a browser. The filter is inserted into the URL unchanged, so it must be encoded.
    pub(crate) fn watch(&self, filter: &str) -> Events {
        let response = self.get(&format!("/events?filter={filter}"));
        assert_eq!(response.status, 200);
        let mut events = Events {
            body: BufReader::new(response.body),
            id: String::new(),
            overview: Value::Null,
        };
        let (name, hello) = events.next_raw().unwrap();
        assert_eq!(name, "hello");
        events.id = hello["id"].as_str().unwrap().to_owned();
        events
    }

    /// Sends the signal of ctrl-c.
    pub(crate) fn interrupt(&self) {
        let kill = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    pub(crate) fn end_source(&mut self) {
        self.source = None;
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "the server does not exit");
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    body: Body,
}

impl Response {
    fn read(stream: TcpStream) -> Response {
        let mut stream = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).expect("a status line").parse().unwrap();
        let mut headers = HashMap::new();
        loop {
            let line = line();
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let unread = match headers.get("content-length") {
            Some(length) => Unread::Bytes(length.parse().unwrap()),
            None => Unread::Chunk(0),
        };
        let body = Body { stream, unread };
        Response { status, headers, body }
    }

    pub(crate) fn text(mut self) -> String {
        let mut text = String::new();
        self.body.read_to_string(&mut text).unwrap();
        text
    }
}

/// A body with a known length, or in chunks.
struct Body {
    stream: BufReader<TcpStream>,
    unread: Unread,
}

/// The number of unread bytes of the body or of the current chunk.
enum Unread {
    Bytes(usize),
    Chunk(usize),
}

impl Body {
    fn next_chunk(&mut self) -> io::Result<usize> {
        let mut size = String::new();
        while size.trim().is_empty() {
            size.clear();
            if self.stream.read_line(&mut size)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Unread::Chunk(0) = self.unread {
            self.unread = match self.next_chunk()? {
                0 => Unread::Bytes(0),
                size => Unread::Chunk(size),
            };
        }
        let (Unread::Bytes(unread) | Unread::Chunk(unread)) = &mut self.unread;
        let limit = buffer.len().min(*unread);
        if limit == 0 {
            return Ok(0);
        }
        let read = self.stream.read(&mut buffer[..limit])?;
        *unread -= read;
        Ok(read)
    }
}

/// The server-sent events of one browser.
pub(crate) struct Events {
    body: BufReader<Body>,
    /// The subscriber's id.
    pub(crate) id: String,
    /// The latest overview.
    pub(crate) overview: Value,
}

impl Events {
    /// Returns the next event of the bus, or `None` after the `end` event. Panics if the stream ends without that
    /// event.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < DEADLINE, "no event received: {}", self.overview);
            match self.next_raw() {
                Some((name, value)) if name == "event" => return Some(value),
                Some((name, value)) if name == "overview" => self.overview = value,
                Some((name, _)) => {
                    assert_eq!(name, "end");
                    assert!(self.next_raw().is_none(), "no event follows `end`");
                    return None;
                }
                None => panic!("the stream ended without an `end` event"),
            }
        }
    }

    /// Returns the next overview, and skips the events of the bus before it.
    pub(crate) fn next_overview(&mut self) -> Value {
        loop {
            let (name, value) = self.next_raw().expect("the stream continues");
            if name == "overview" {
                return value;
            }
        }
    }

    /// Returns the events before the event with this text.
    pub(crate) fn until(&mut self, text: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().expect("the stream continues");
            if event["text"] == text {
                return events;
            }
            events.push(event);
        }
    }

    fn next_raw(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            if self.body.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(text) = line.strip_prefix("event: ") {
                text.trim_end().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            }
        }
    }
}

pub(crate) fn texts(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["text"].as_str().unwrap()).collect()
}

pub(crate) fn missed(events: &[Value]) -> u64 {
    events.iter().map(|event| event["missed"].as_u64().unwrap()).sum()
}

/// Returns the statistics of a subscriber in the overview.
pub(crate) fn subscriber<'a>(overview: &'a Value, id: &str) -> Option<&'a Value> {
    overview["subscribers"]
        .as_array()?
        .iter()
        .find(|subscriber| subscriber["id"] == id)
}
