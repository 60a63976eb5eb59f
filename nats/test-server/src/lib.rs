//! Starts the real nats-server as a child process, on loopback, with a free port and a scratch store.
//!
//! The tests, the benchmark and the example `two_hosts` of `sharing-bus-nats` use this crate. It signals only processes
//! that it started.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Time limit for a server's start.
const START: Duration = Duration::from_secs(20);

/// Configuration of a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether JetStream is on. Its store is in the scratch directory.
    pub jetstream: bool,
    /// The credentials that clients need. `None` admits all clients.
    pub login: Option<Login>,
    /// The certificate of a server that requires TLS.
    pub tls: Option<Tls>,
    /// The ports of a cluster of two servers.
    pub cluster: Option<Cluster>,
    /// Maximum size of a message in bytes. The server's default is 1 MiB.
    pub max_payload: Option<usize>,
}

/// The credentials that a server accepts.
#[derive(Clone, Debug)]
pub enum Login {
    /// A user name and a password.
    Password {
        /// The name of the user.
        user: String,
        /// The password of the user.
        password: String,
    },
    /// A token.
    Token(String),
    /// The public NKey of a user.
    NKey(String),
}

/// The PEM files of a server that requires TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The root that must have signed a client's certificate. `None` if clients need no certificate.
    pub client_root: Option<PathBuf>,
}

/// The ports through which two servers form a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// The port on which this server accepts routes.
    pub own: u16,
    /// The port on which the other server accepts routes.
    pub peer: u16,
}

/// A running, paused or killed server.
pub struct Server {
    port: u16,
    monitor: u16,
    scheme: &'static str,
    scratch: TempDir,
    process: Option<Child>,
}

impl Server {
    /// Starts a server with the default options.
    ///
    /// # Panics
    ///
    /// If nats-server is not installed or does not start. The same applies to all functions that start a server.
    pub fn start() -> Server {
        Server::start_with(&Options::default())
    }

    /// Starts a server with JetStream.
    pub fn start_jetstream() -> Server {
        Server::start_with(&Options {
            jetstream: true,
            ..Options::default()
        })
    }

    /// Starts a server with these options.
    pub fn start_with(options: &Options) -> Server {
        let mut server = Server::absent(options);
        server.restart();
        server
    }

    /// Reserves the address of a server that does not run yet. [`restart`](Self::restart) starts the server.
    pub fn absent(options: &Options) -> Server {
        let server = Server {
            port: free_port(),
            monitor: free_port(),
            scheme: if options.tls.is_some() { "tls" } else { "nats" },
            scratch: tempfile::tempdir().expect("a scratch directory can be created"),
            process: None,
        };
        let config = server.config(options);
        std::fs::write(server.path("nats.conf"), config).expect("the scratch directory is writable");
        server
    }

    fn config(&self, options: &Options) -> String {
        let (port, monitor) = (self.port, self.monitor);
        let mut config = format!("listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n");
        if options.jetstream {
            let store = self.path("store");
            writeln!(config, "jetstream {{ store_dir: {store:?} }}").expect("writing to a String does not fail");
        }
        match &options.login {
            None => Ok(()),
            Some(Login::Password { user, password }) => {
                writeln!(config, "authorization {{ user: {user:?}, password: {password:?} }}")
            }
            Some(Login::Token(token)) => writeln!(config, "authorization {{ token: {token:?} }}"),
            Some(Login::NKey(public)) => writeln!(config, "authorization {{ users: [{{ nkey: {public:?} }}] }}"),
        }
        .expect("writing to a String does not fail");
        if let Some(tls) = &options.tls {
            let (certificate, key) = (&tls.certificate, &tls.key);
            let root = tls.client_root.as_ref();
            let verify = root.map_or(String::new(), |root| format!(", ca_file: {root:?}, verify: true"));
            writeln!(
                config,
                "tls {{ cert_file: {certificate:?}, key_file: {key:?}{verify} }}"
            )
            .expect("writing to a String does not fail");
        }
        if let Some(Cluster { own, peer }) = options.cluster {
            let routes = format!("routes: [\"nats-route://127.0.0.1:{peer}\"]");
            writeln!(
                config,
                "cluster {{ name: test, listen: \"127.0.0.1:{own}\", {routes} }}"
            )
            .expect("writing to a String does not fail");
        }
        if let Some(bytes) = options.max_payload {
            writeln!(config, "max_payload: {bytes}").expect("writing to a String does not fail");
        }
        config
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns the server's address, in the form `nats://host:port` or `tls://host:port`.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Kills the process, as a crash would. The store remains.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process
                .kill()
                .expect("the child process can be signaled and waited for");
            process
                .wait()
                .expect("the child process can be signaled and waited for");
        }
    }

    /// Kills the process if it runs, and starts it again on the same port and store. Returns once the server accepts
    /// clients.
    pub fn restart(&mut self) {
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
            .stderr(log.expect("the scratch directory is writable"))
            .spawn()
            .expect("nats-server starts");
        self.process = Some(process);
        let deadline = Instant::now() + START;
        while self.greeting().is_none() {
            let ended = self.process.as_mut().and_then(|process| {
                process
                    .try_wait()
                    .expect("the child process can be signaled and waited for")
            });
            if ended.is_some() || Instant::now() > deadline {
                panic!("nats-server does not answer; its log:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Suspends the process: connections stay open, and the server does not answer.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Resumes a suspended process.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("the server runs").id();
        // `kill` is a built-in command of every shell, so no other program is needed.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
        assert!(sent.expect("the shell runs").success());
    }

    /// Returns a page of the server's monitoring port, such as `/varz`, `/connz` or `/subsz`.
    pub fn monitor(&self, page: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(local(self.monitor)).expect("the monitoring port answers");
        write!(stream, "GET {page} HTTP/1.0\r\n\r\n").expect("the monitoring port answers");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the monitoring port answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("the answer is HTTP");
        serde_json::from_str(body).expect("the answer is JSON")
    }

    /// Returns the first line that the server sends to a client, or `None` if the server is not ready.
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

/// Returns a free port below the range of ephemeral ports.
///
/// A client that reconnects to a killed server must not get that server's port as its own local port. Otherwise the
/// client would connect to itself.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Tests that run at the same time may be separate processes. Each process starts at a different place in the range.
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

/// Returns the path of nats-server. Installs the server first if it is missing and this user is root.
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
    let directories = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories
        .map(|directory| directory.join("nats-server"))
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
