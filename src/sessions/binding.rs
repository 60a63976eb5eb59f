//! Late binding: what a session's events and its registration do to each other.
//!
//! One step per event, taken by the dispatch thread in the order of the ingress and before the event is pushed. That
//! order is the whole promise: an event dispatched after a registration is bound by it, one dispatched before is not,
//! and whoever has received a registration publishes after it. Binding in `publish` could not promise this: before the
//! send, a bound event may overtake its registration; after the send, a reaction to it may come unbound.

use uuid::Uuid;

use crate::event::{BusEvent, Payload, SessionChange};
use crate::sessions::Sessions;
use crate::sync::Panicked;
use crate::sync::panic;

/// Registers or forgets the session that the event tells of, and gives the event its scroll unless it has one.
///
/// `Err` if the payload's hook panicked; the event then changes no session, and is bound like any other.
pub(crate) fn bind<E: Payload>(sessions: &Sessions, event: &mut BusEvent<E>) -> Result<(), Panicked> {
    let BusEvent { routing, event, .. } = event;
    let (change, outcome) = match panic::run(|| event.session_change()) {
        Ok(change) => (change, Ok(())),
        Err(panicked) => (None, Err(panicked)),
    };
    let registered = change.and_then(|change| register(sessions, change));
    if routing.scroll_id.is_none() {
        routing.scroll_id = registered.or_else(|| {
            let connector_id = routing.connector_id.as_deref()?;
            let native_session_id = routing.native_session_id.as_deref()?;
            sessions.scroll_id(connector_id, native_session_id)
        });
    }
    if let Some(SessionChange::Ended {
        connector_id,
        session_id,
    }) = change
    {
        sessions.forget(connector_id, session_id);
    }
    outcome
}

/// Binds the session of a registration and returns its id; a text that is no UUID binds nothing.
fn register(sessions: &Sessions, change: SessionChange<'_>) -> Option<Uuid> {
    let SessionChange::Registered {
        connector_id,
        session_id,
        scroll_id,
    } = change
    else {
        return None;
    };
    match Uuid::parse_str(scroll_id) {
        Ok(id) => {
            sessions.bind(connector_id, session_id, id);
            Some(id)
        }
        Err(error) => {
            panic::log_warning!(
                "registration of {connector_id}/{session_id} binds nothing: its scroll_id is no UUID ({error})"
            );
            None
        }
    }
}
