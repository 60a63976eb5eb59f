//! Two hosts and a viewer that follows one scroll across both. Each host is a process with its own bus and sessions.
//!
//! ```sh
//! cargo run --release -p sharing-bus-nats --example two_hosts
//! ```
//!
//! The example starts its own NATS server, on loopback and with a scratch store. It also starts two copies of itself
//! as hosts. The viewer's lines go to standard error as they arrive. The report on standard output is the same each
//! time. The example ends by itself.

mod host;
mod viewer;

use std::error::Error;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sharing_bus_nats::NatsOptions;
use sharing_bus_nats_test_server::Server;
use uuid::Uuid;

/// The scroll that has one session on each host.
const FOLLOWED: Uuid = Uuid::from_u128(0x5c40_1100_0000_4000_8000_0000_0000_0001);
const HOSTS: [&str; 2] = ["alpha", "beta"];
/// Time limit for each expected event.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => run_all(),
        [role, server, name] if role == "host" => host::run(server, name),
        _ => Err("usage: two_hosts".into()),
    }
}

fn options(server: &str) -> NatsOptions {
    NatsOptions::new(server).realm("two-hosts")
}

fn run_all() -> Result<(), Box<dyn Error>> {
    let server = Server::start();
    let viewer = viewer::Viewer::start(&server.url())?;
    let mut hosts = Vec::new();
    for name in HOSTS {
        hosts.push(Host::start(&server.url(), name)?);
    }
    let seen = viewer.follow()?;
    for host in hosts {
        print!("{}", host.report()?);
    }
    print!("{seen}");
    Ok(())
}

/// The process of a host.
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

    /// Returns the report that the host prints at its end.
    fn report(mut self) -> Result<String, Box<dyn Error>> {
        let mut report = String::new();
        self.0
            .stdout
            .take()
            .ok_or("the output is piped")?
            .read_to_string(&mut report)?;
        let status = self.0.wait()?;
        if !status.success() {
            std::io::stdout().write_all(report.as_bytes())?;
            return Err(format!("a host failed: {status}").into());
        }
        Ok(report)
    }
}

impl Drop for Host {
    /// Kills the host unless it has ended.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
