//! How a bridge is set up: [`NatsOptions`]. Plain values; what is secret in them is never shown.

use std::fmt;

use async_nats::{ConnectOptions, ServerAddr};
use uuid::Uuid;

use crate::error::StartError;
use crate::wire::subject::Realm;

/// Where a bridge connects to, and as whom.
///
/// How it connects is the client's own business: TLS, user and password, token, NKey, timeouts and reconnects are set on
/// [`ConnectOptions`] and passed on by [`connect`](Self::connect). `Debug` shows none of that, and no user or password that
/// is part of an address.
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
    /// To connect to one server, in the form `nats://host:port` or `tls://host:port`; the port is 4222 unless told. A user
    /// and a password, or a token, may be part of it.
    ///
    /// `tls` is not spoken to in any other way. If all addresses are `tls`, that holds for the servers of the cluster,
    /// too, that these tell of. With `nats` it is the server who says whether it wants TLS, unless
    /// [`ConnectOptions::require_tls`] is set: whoever is in between can have it in plain text.
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

    /// One more server of the same cluster, to go to where the others cannot be reached.
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.servers.push(server.into());
        self
    }

    /// Which buses belong together: bridges see only those of the same realm. `main` unless told. It is a token of every
    /// subject, so a server can permit a user one realm by `sb1.<realm>.>`.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// This node's id; a random one unless told. No two bridges at a time may have the same, for each takes what the other
    /// sends for its own.
    pub fn node(mut self, node: Uuid) -> Self {
        self.node = node;
        self
    }

    /// How many events wait here while the server is slow or away; 8192 unless told. One more, and the newest is lost, and
    /// counted ([`NatsStats::lagged`](crate::NatsStats::lagged)). The bus is never slowed.
    pub fn queue_capacity(mut self, events: usize) -> Self {
        self.queue_capacity = events;
        self
    }

    /// How many events may be handed to the client and not yet confirmed by the server; 8192 unless told. As many are
    /// uncertain at most when the connection breaks. A throughput of `n` events a second needs about `2 n` times the seconds
    /// of a round trip.
    pub fn in_flight(mut self, events: usize) -> Self {
        self.in_flight = events;
        self
    }

    /// Keeps the registrations of sessions in this JetStream key-value bucket, so that a node which joins later knows
    /// them; without, a node knows those whose registrations it receives. The server must have JetStream.
    ///
    /// It is made if it is not there, with one replica and a `max_age` of 24 hours. One that is there is taken as it
    /// is. A registration is put again three times within the bucket's `max_age`, to the second, and stays for as long
    /// as its node does; so give it no less than ten seconds. Without a `max_age`, what crashed nodes leave stays for
    /// ever.
    pub fn session_bucket(mut self, bucket: impl Into<String>) -> Self {
        self.session_bucket = Some(bucket.into());
        self
    }

    /// How the client connects. The bridge sets two things of its own on top: it keeps on trying if the first attempt fails,
    /// and it takes the event callback.
    pub fn connect(mut self, options: ConnectOptions) -> Self {
        self.connect = options;
        self
    }

    /// What can be told without a server.
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

/// An address without user and password.
fn redacted(server: &str) -> String {
    match server.parse::<ServerAddr>() {
        Ok(address) => format!("{}://{}:{}", address.scheme(), address.host(), address.port()),
        Err(_) => "(not an address)".to_owned(),
    }
}

/// The addresses without user and password, which go where the client looks for them: addresses it may log. If all ask
/// for TLS, so must the connection: of servers that the client is told of by others it knows no more than host and
/// port.
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
                // The form that NATS has for tokens.
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
    fn nothing_secret_is_shown() {
        let connect = ConnectOptions::with_user_and_password("someone".into(), "hunter2".into()).token("t0ken".into());
        let options = NatsOptions::new("nats://someone:hunter2@127.0.0.1:4222")
            .server("someone:hunter2@nowhere at all")
            .connect(connect);
        let shown = format!("{options:?}");
        assert!(shown.contains("nats://127.0.0.1:4222"), "{shown}");
        for secret in ["hunter2", "someone", "t0ken"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
