//! Errors of starting and shutting down. No error contains a secret.

use std::{error, fmt, io};

use crate::stats::NatsStats;
use crate::wire::subject::InvalidRealm;

/// The reason why a bridge, an archive or an archive reader was not started.
///
/// An unreachable server is not an error, nor is a failed TLS handshake. Both can change, so the client keeps trying
/// and counts the failed attempts ([`NatsStats::connect_failures`]). A handshake fails in these cases:
///
/// - No known root has signed the server's certificate, or the certificate is for another name.
/// - The server requires a client certificate, and no root that it trusts has signed the one that it received.
/// - The address requires TLS and the server does not support it.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The realm is not a plain token.
    InvalidRealm(InvalidRealm),
    /// The bucket's name is not a plain token of 1 to 64 ASCII letters, digits, `-` and `_`.
    InvalidBucket,
    /// A queue capacity or an in-flight limit of zero. The text names the setting.
    ZeroCapacity(&'static str),
    /// An address does not parse. The value is the address's index, because the address itself may contain a password.
    InvalidServer(usize),
    /// The server refused the user, password, token or key, or it requires credentials and received none. An invalid
    /// seed of an NKey is reported in the same way.
    Unauthorized,
    /// The operating system could not create the thread or its event loop.
    Spawn(io::Error),
    /// The client could not be set up, for example because a certificate or a key cannot be read.
    Client(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::InvalidRealm(_) => f.write_str("the realm is not a plain token"),
            StartError::InvalidBucket => f.write_str("the name of the session bucket is not a plain token"),

            StartError::ZeroCapacity(setting) => write!(f, "{setting} must be at least 1"),

            StartError::InvalidServer(index) => write!(f, "server address {index} does not parse"),
            StartError::Unauthorized => f.write_str("the server refused the credentials"),
            StartError::Spawn(_) => f.write_str("the thread could not be started"),
            StartError::Client(reason) => write!(f, "the client could not be set up: {reason}"),
        }
    }
}

impl error::Error for StartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            StartError::InvalidRealm(source) => Some(source),
            StartError::Spawn(source) => Some(source),
            _ => None,
        }
    }
}

/// The error of [`NatsBridge::shutdown`](crate::NatsBridge::shutdown): the deadline passed, or the connection broke,
/// before the server had confirmed all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownError {
    /// The bridge's counts at that time.
    pub stats: Box<NatsStats>,
    /// Number of events that were still queued or that the server had not confirmed.
    pub left: u64,
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the bridge ended with {} events that the server has not confirmed",
            self.left
        )
    }
}

impl error::Error for ShutdownError {}
