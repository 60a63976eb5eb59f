//! Two hosts, each a process with a bus and sessions of its own, and a viewer that follows one scroll across both.
//!
//! ```sh
//! cargo run --release -p sharing-bus-nats --example two_hosts
//! ```
//!
//! It starts a NATS server of its own, on loopback and with a scratch store, and itself twice as a host. What the viewer sees
//! goes to the error stream as it comes; the account on the standard output is the same each time. It ends on its own.

mod host;
mod viewer;

use std::error::Error;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sharing_bus_nats::NatsOptions;
use sharing_bus_nats_test_server::Server;
use uuid::Uuid;

/// The scroll that has a session on either host.
const FOLLOWED: Uuid = Uuid::from_u128(0x5c40_1100_0000_4000_8000_0000_0000_0001);
const HOSTS: [&str; 2] = ["alpha", "beta"];
/// How long anything may take that is to happen.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => conduct(),
        [role, server, name] if role == "host" => host::run(server, name),
        _ => Err("usage: two_hosts".into()),
    }
}

fn options(server: &str) -> NatsOptions {
    NatsOptions::new(server).realm("two-hosts")
}

fn conduct() -> Result<(), Box<dyn Error>> {
    let server = Server::start();
    let viewer = viewer::Viewer::start(&server.url())?;
    let mut hosts = Vec::new();
    for name in HOSTS {
        hosts.push(Host::start(&server.url(), name)?);
    }
    let seen = viewer.follow()?;
    for host in hosts {
        print!("{}", host.account()?);
    }
    print!("{seen}");
    Ok(())
}

/// A host's process.
struct Host(Child);

impl Host {
    fn start(server: &str, name: &str) -> Result<Host, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["host", server, name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(Host(command.spawn()?))
    }

    /// What it says at its end.
    fn account(mut self) -> Result<String, Box<dyn Error>> {
        let mut account = String::new();
        self.0
            .stdout
            .take()
            .ok_or("it is piped")?
            .read_to_string(&mut account)?;
        let status = self.0.wait()?;
        if !status.success() {
            std::io::stdout().write_all(account.as_bytes())?;
            return Err(format!("a host failed: {status}").into());
        }
        Ok(account)
    }
}

impl Drop for Host {
    /// Does nothing to one that has ended.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
