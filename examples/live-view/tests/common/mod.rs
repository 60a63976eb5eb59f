//! The server as a process of its own, and clients that speak HTTP/1.1 over plain TCP.

#![allow(dead_code, reason = "each test binary uses its share")]

pub(crate) mod chromium;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Nothing that is waited for takes so long unless it never comes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running server that replays what the test publishes, as fast as it goes.
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
        let address = line.trim().strip_prefix("live view on http://").expect("it says where");
        Server {
            address: address.parse().unwrap(),
            source: child.stdin.take(),
            child,
        }
    }

    /// Publishes one event for each text, from one session.
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

    /// A browser's stream. The filter goes into the address as it is, so it must be encoded.
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

    /// As ctrl-c in a terminal does.
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
            assert!(started.elapsed() < DEADLINE, "the server does not end");
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
        let left = match headers.get("content-length") {
            Some(length) => Left::Bytes(length.parse().unwrap()),
            None => Left::Chunk(0),
        };
        let body = Body { stream, left };
        Response { status, headers, body }
    }

    pub(crate) fn text(mut self) -> String {
        let mut text = String::new();
        self.body.read_to_string(&mut text).unwrap();
        text
    }
}

/// A body of known length, or in chunks.
struct Body {
    stream: BufReader<TcpStream>,
    left: Left,
}

/// What is left of the body, or of the chunk.
enum Left {
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
        if let Left::Chunk(0) = self.left {
            self.left = match self.next_chunk()? {
                0 => Left::Bytes(0),
                size => Left::Chunk(size),
            };
        }
        let (Left::Bytes(left) | Left::Chunk(left)) = &mut self.left;
        let most = buffer.len().min(*left);
        if most == 0 {
            return Ok(0);
        }
        let read = self.stream.read(&mut buffer[..most])?;
        *left -= read;
        Ok(read)
    }
}

/// One browser's server-sent events.
pub(crate) struct Events {
    body: BufReader<Body>,
    /// The subscriber's id.
    pub(crate) id: String,
    /// The latest overview.
    pub(crate) overview: Value,
}

impl Events {
    /// The next event of the bus; `None` at the end of the stream, which must have been announced.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < DEADLINE, "no event comes: {}", self.overview);
            match self.next_raw() {
                Some((name, value)) if name == "event" => return Some(value),
                Some((name, value)) if name == "overview" => self.overview = value,
                Some((name, _)) => {
                    assert_eq!(name, "end");
                    assert!(self.next_raw().is_none(), "nothing follows the end");
                    return None;
                }
                None => panic!("the stream broke off"),
            }
        }
    }

    /// The next overview; events of the bus before it are passed over.
    pub(crate) fn next_overview(&mut self) -> Value {
        loop {
            let (name, value) = self.next_raw().expect("the stream goes on");
            if name == "overview" {
                return value;
            }
        }
    }

    /// Everything up to the event with this text, which is left out.
    pub(crate) fn until(&mut self, text: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().expect("the stream goes on");
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

/// What the overview says of a subscriber.
pub(crate) fn subscriber<'a>(overview: &'a Value, id: &str) -> Option<&'a Value> {
    overview["subscribers"]
        .as_array()?
        .iter()
        .find(|subscriber| subscriber["id"] == id)
}
