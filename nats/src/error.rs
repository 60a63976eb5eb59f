//! Every way in which a bridge can fail to start or to end well. Plain values; no secret is in them.

use std::{error, fmt, io};

use crate::stats::NatsStats;
use crate::wire::subject::InvalidRealm;

/// Why a bridge was not started, or an archive or its reader.
///
/// A server that is not there is none of these, nor is one that cannot be spoken to: whose certificate no root has
/// signed or is for another name, that wants a certificate of this node's and has not signed the one that it got, or
/// that has no TLS where the address asks for it. All of them may change, so the client goes on trying, and counts it
/// ([`NatsStats::connect_failures`]).
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The realm is no plain token.
    InvalidRealm(InvalidRealm),
    /// The bucket's name is no plain token: 1 to 64 ASCII letters, digits, `-` and `_`.
    InvalidBucket,
    /// A queue or an in-flight limit of zero; the text names the setting.
    ZeroCapacity(&'static str),
    /// An address does not parse; without user and password, which place it is.
    InvalidServer(usize),
    /// The server refused who this is: a wrong user, password, token or key, or none where one is needed. Or the seed
    /// of an NKey is none.
    Unauthorized,
    /// The operating system refused the thread or what it waits with.
    Spawn(io::Error),
    /// The client could not be set up: a certificate or a key cannot be read, say.
    Client(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::InvalidRealm(_) => f.write_str("the realm is no plain token"),
            StartError::InvalidBucket => f.write_str("the name of the session bucket is no plain token"),
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

/// The deadline of a shutdown passed before the server had confirmed everything, or its connection broke amid that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownError {
    /// What the bridge had done until then.
    pub stats: Box<NatsStats>,
    /// How many events were left: in the bridge's queue or handed to the client, and not confirmed.
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
