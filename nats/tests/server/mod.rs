//! The real nats-server as a process of one's own: on loopback, a free port and a scratch store; used by the tests, the
//! bench and an example. Only ever the process that was started here is signalled.

#![allow(dead_code, reason = "each file that includes this uses a part of it")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) jetstream: bool,
    pub(crate) login: Option<Login>,
    pub(crate) tls: Option<Tls>,
    pub(crate) cluster: Option<Cluster>,
    /// In bytes; the server's own default is 1 MiB.
    pub(crate) max_payload: Option<usize>,
}

/// Whom a server lets in.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    Password {
        user: String,
        password: String,
    },
    Token(String),
    /// The public key of a user.
    NKey(String),
}

/// Files in PEM of a server that speaks TLS.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The root that must have signed the certificates of clients, if they need any.
    pub(crate) client_root: Option<PathBuf>,
}

/// The ports on which servers find each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    pub(crate) own: u16,
    pub(crate) peer: u16,
}

/// A running, paused or killed server.
pub(crate) struct Server {
    port: u16,
    monitor: u16,
    scheme: &'static str,
    scratch: TempDir,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::start_with(&Options::default())
    }

    pub(crate) fn start_jetstream() -> Server {
        Server::start_with(&Options {
            jetstream: true,
            ..Options::default()
        })
    }

    pub(crate) fn start_with(options: &Options) -> Server {
        let mut server = Server::absent(options);
        server.restart();
        server
    }

    /// A server that is not there yet: its address is, and [`restart`](Self::restart) starts it.
    pub(crate) fn absent(options: &Options) -> Server {
        let server = Server {
            port: free_port(),
            monitor: free_port(),
            scheme: if options.tls.is_some() { "tls" } else { "nats" },
            scratch: tempfile::tempdir().expect("a scratch folder"),
            process: None,
        };
        let config = server.config(options);
        std::fs::write(server.path("nats.conf"), config).expect("the scratch folder is writable");
        server
    }

    fn config(&self, options: &Options) -> String {
        let (port, monitor) = (self.port, self.monitor);
        let mut config = format!("listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n");
        if options.jetstream {
            let store = self.path("store");
            writeln!(config, "jetstream {{ store_dir: {store:?} }}").expect("a String takes all");
        }
        match &options.login {
            None => Ok(()),
            Some(Login::Password { user, password }) => {
                writeln!(config, "authorization {{ user: {user:?}, password: {password:?} }}")
            }
            Some(Login::Token(token)) => writeln!(config, "authorization {{ token: {token:?} }}"),
            Some(Login::NKey(public)) => writeln!(config, "authorization {{ users: [{{ nkey: {public:?} }}] }}"),
        }
        .expect("a String takes all");
        if let Some(tls) = &options.tls {
            let (certificate, key) = (&tls.certificate, &tls.key);
            let root = tls.client_root.as_ref();
            let verify = root.map_or(String::new(), |root| format!(", ca_file: {root:?}, verify: true"));
            writeln!(
                config,
                "tls {{ cert_file: {certificate:?}, key_file: {key:?}{verify} }}"
            )
            .expect("a String takes all");
        }
        if let Some(Cluster { own, peer }) = options.cluster {
            let routes = format!("routes: [\"nats-route://127.0.0.1:{peer}\"]");
            writeln!(
                config,
                "cluster {{ name: test, listen: \"127.0.0.1:{own}\", {routes} }}"
            )
            .expect("a String takes all");
        }
        if let Some(bytes) = options.max_payload {
            writeln!(config, "max_payload: {bytes}").expect("a String takes all");
        }
        config
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Ends the process at once, as a crash would. Its store stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it is ours");
        }
    }

    /// Starts the server on the same port and store, killing the one that runs; returns once it greets.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"));
        let process = Command::new(program())
            .arg("--config")
            .arg(self.path("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the scratch folder is writable"))
            .spawn()
            .expect("nats-server starts");
        self.process = Some(process);
        let deadline = Instant::now() + START;
        while self.greeting().is_none() {
            let ended = self
                .process
                .as_mut()
                .and_then(|process| process.try_wait().expect("it is ours"));
            if ended.is_some() || Instant::now() > deadline {
                panic!("nats-server does not answer; it says:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Stops the process where it stands: connections stay open and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("the server runs").id();
        // The shell's own `kill`, which is everywhere.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
        assert!(sent.expect("a shell").success());
    }

    /// A page of the server's monitoring, such as `/varz`, `/connz` or `/subsz`.
    pub(crate) fn monitor(&self, page: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(local(self.monitor)).expect("the monitoring port");
        write!(stream, "GET {page} HTTP/1.0\r\n\r\n").expect("the monitoring port");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the monitoring port");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer in HTTP");
        serde_json::from_str(body).expect("an answer in JSON")
    }

    /// The line that every client is greeted with, once the server is ready.
    fn greeting(&self) -> Option<String> {
        let stream = TcpStream::connect(local(self.port)).ok()?;
        stream.set_read_timeout(Some(START)).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        line.starts_with("INFO ").then_some(line)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A port below those that the system gives to connections: one that waits for a killed server must not be given the
/// server's own port, and meet itself.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Tests that run at once are processes that start elsewhere in the range.
    let start = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    loop {
        // Ordering: Relaxed, a counter that publishes nothing.
        let step = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((u32::from(start) + u32::from(step)) % u32::from(COUNT)) as u16;
        if TcpListener::bind(local(port)).is_ok() {
            return port;
        }
    }
}

/// Where nats-server is. Installs it where it is missing and that can be done without asking.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        find()
            .or_else(install)
            .expect("nats-server is not installed; run: sudo apt-get install -y nats-server")
    })
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join("nats-server"))
        .find(|file| file.is_file())
}

fn install() -> Option<PathBuf> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() != b"0" {
        return None;
    }
    let apt = "apt-get update -q; apt-get install -qy -o DPkg::Lock::Timeout=300 nats-server";
    let quiet = Command::new("sh")
        .arg("-c")
        .arg(apt)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet
        .ok()
        .filter(std::process::ExitStatus::success)
        .and_then(|_| find())
}
