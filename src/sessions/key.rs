//! Session keys: the connector and the native session id, which together name a session on its bus.
//!
//! Plain values; nothing here is shared.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use crate::sync::Arc;

/// The name of a session: its connector, and its id within that connector.
#[derive(Clone, Debug)]
pub(crate) struct SessionKey {
    connector_id: Arc<str>,
    native_session_id: Arc<str>,
}

impl SessionKey {
    pub(crate) fn new(connector_id: Arc<str>, native_session_id: Arc<str>) -> Self {
        SessionKey {
            connector_id,
            native_session_id,
        }
    }
}

/// The name of a session by reference. It allows lookups in maps with [`SessionKey`] keys without allocating a key.
pub(crate) trait SessionName {
    fn parts(&self) -> (&str, &str);
}

impl SessionName for SessionKey {
    fn parts(&self) -> (&str, &str) {
        (&self.connector_id, &self.native_session_id)
    }
}

impl SessionName for (&str, &str) {
    fn parts(&self) -> (&str, &str) {
        *self
    }
}

impl Hash for dyn SessionName + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn SessionName + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn SessionName + '_ {}

impl Hash for SessionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for SessionKey {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for SessionKey {}

impl<'a> Borrow<dyn SessionName + 'a> for SessionKey {
    fn borrow(&self) -> &(dyn SessionName + 'a) {
        self
    }
}
