//! The settings of a bridge: [`NatsOptions`]. They are plain values, and `Debug` shows no secret.

use std::fmt;

use async_nats::{ConnectOptions, ServerAddr};
use uuid::Uuid;

use crate::error::StartError;
use crate::wire::subject::Realm;

/// The server that a bridge connects to, and how it connects.
///
/// TLS, user and password, token, NKey, timeouts and reconnects are settings of the client's [`ConnectOptions`], which
/// [`connect`](Self::connect) accepts. `Debug` shows none of these settings, and no user or password that is part of
/// an address.
///
/// ```
/// use sharing_bus_nats::NatsOptions;
///
/// let options = NatsOptions::new("nats://127.0.0.1:4222").realm("staging").queue_capacity(4096);
/// assert!(format!("{options:?}").contains("staging"));
/// ```
#[must_use = "options do nothing until a bridge is built with them"]
pub struct NatsOptions {
    pub(crate) servers: Vec<String>,
    pub(crate) realm: String,
    pub(crate) node: Uuid,
    pub(crate) queue_capacity: usize,
    pub(crate) in_flight: usize,
    pub(crate) session_bucket: Option<String>,
    pub(crate) connect: ConnectOptions,
}

impl NatsOptions {
    /// Creates options for one server, in the form `nats://host:port` or `tls://host:port`. The default port is 4222.
    /// The address may contain a user and a password, or a token.
    ///
    /// With `tls`, the client uses TLS or does not connect. If all addresses are `tls`, the same applies to other
    /// servers of the cluster that these servers announce. With `nats`, the server decides whether the connection uses
    /// TLS, so an attacker on the network can force plain text. [`ConnectOptions::require_tls`] prevents that.
    pub fn new(server: impl Into<String>) -> Self {
        NatsOptions {
            servers: vec![server.into()],
            realm: "main".to_owned(),
            node: Uuid::new_v4(),
            queue_capacity: 8192,
            in_flight: 8192,
            session_bucket: None,
            connect: ConnectOptions::new(),
        }
    }

    /// Adds another server of the same cluster. The client connects to it when the others are unreachable.
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.servers.push(server.into());
        self
    }

    /// Sets the realm. Bridges exchange events only within one realm. The default is `main`. The realm is a token of
    /// every subject, so a server can restrict a user to one realm with `sb1.<realm>.>`.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// Sets the id of this node. The default is a random id. Two bridges must not use the same id at the same time,
    /// because each would treat the other's events as its own.
    pub fn node(mut self, node: Uuid) -> Self {
        self.node = node;
        self
    }

    /// Sets the capacity of the bridge's queue, in which events wait while the server is slow or unreachable. The
    /// default is 8192 events. When the queue is full, the newest event is dropped and counted
    /// ([`NatsStats::lagged`](crate::NatsStats::lagged)). The bridge never slows down the bus.
    pub fn queue_capacity(mut self, events: usize) -> Self {
        self.queue_capacity = events;
        self
    }

    /// Sets the maximum number of events that are sent but not yet confirmed by the server. The default is 8192. If the
    /// connection breaks, at most that many events are lost. A throughput of `n` events per second needs a limit of
    /// about `2 * n * rtt`, where `rtt` is the round-trip time in seconds.
    pub fn in_flight(mut self, events: usize) -> Self {
        self.in_flight = events;
        self
    }

    /// Stores session registrations in this JetStream key-value bucket, so that nodes that join later receive them.
    /// Without a bucket, a node receives only the registrations among the events that it imports. JetStream must be
    /// enabled on the server.
    ///
    /// A missing bucket is created with one replica and a `max_age` of 24 hours. An existing bucket is left unchanged.
    /// While it runs, a bridge renews each of its registrations three times within the bucket's `max_age`. It checks
    /// once a second, so set a `max_age` of at least ten seconds. Without a `max_age`, the registrations of crashed
    /// nodes remain forever.
    pub fn session_bucket(mut self, bucket: impl Into<String>) -> Self {
        self.session_bucket = Some(bucket.into());
        self
    }

    /// Sets how the client connects. The bridge changes two settings: the client keeps trying after a failed first
    /// attempt, and the bridge installs its own event callback.
    pub fn connect(mut self, options: ConnectOptions) -> Self {
        self.connect = options;
        self
    }

    /// Checks the settings that can be checked without a server, and returns the realm.
    pub(crate) fn validate(&self) -> Result<Realm, StartError> {
        let realm = Realm::new(&self.realm).map_err(StartError::InvalidRealm)?;
        for (setting, value) in [("queue_capacity", self.queue_capacity), ("in_flight", self.in_flight)] {
            if value == 0 {
                return Err(StartError::ZeroCapacity(setting));
            }
        }
        Ok(realm)
    }
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(|server| redacted(server)).collect();
        f.debug_struct("NatsOptions")
            .field("servers", &servers)
            .field("realm", &self.realm)
            .field("node", &self.node)
            .field("queue_capacity", &self.queue_capacity)
            .field("in_flight", &self.in_flight)
            .field("session_bucket", &self.session_bucket)
            .finish_non_exhaustive()
    }
}

/// Returns an address without user and password.
fn redacted(server: &str) -> String {
    match server.parse::<ServerAddr>() {
        Ok(address) => format!("{}://{}:{}", address.scheme(), address.host(), address.port()),
        Err(_) => "(invalid address)".to_owned(),
    }
}

/// Returns the addresses without user and password, because the client may log addresses. Moves the credentials to the
/// client's options. If all addresses ask for TLS, the options require TLS for every connection, because servers
/// announce other servers only by host and port.
pub(crate) fn parse_servers(
    servers: &[String],
    mut connect: ConnectOptions,
) -> Result<(Vec<ServerAddr>, ConnectOptions), StartError> {
    let mut addresses = Vec::with_capacity(servers.len());
    for (index, server) in servers.iter().enumerate() {
        let invalid = |_| StartError::InvalidServer(index);
        let address: ServerAddr = server.parse().map_err(invalid)?;
        if address.has_user_pass() {
            let (user, password) = (address.username().unwrap_or_default(), address.password());
            connect = match password {
                Some(password) => connect.user_and_password(user.to_owned(), password.to_owned()),
                // In a NATS address, a token takes the place of the user.
                None => connect.token(user.to_owned()),
            };
        }
        let bare = redacted(server);
        addresses.push(bare.parse().map_err(invalid)?);
    }
    if addresses.iter().all(ServerAddr::tls_required) {
        connect = connect.require_tls(true);
    }
    Ok((addresses, connect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_secret() {
        let connect = ConnectOptions::with_user_and_password("alice".into(), "hunter2".into()).token("t0ken".into());
        let options = NatsOptions::new("nats://alice:hunter2@127.0.0.1:4222")
            .server("alice:hunter2@nowhere at all")
            .connect(connect);
        let shown = format!("{options:?}");
        assert!(shown.contains("nats://127.0.0.1:4222"), "{shown}");
        for secret in ["hunter2", "alice", "t0ken"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
