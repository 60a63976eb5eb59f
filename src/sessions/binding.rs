//! Late binding: the rule that gives an event the `scroll_id` of its session.
//!
//! The dispatch thread binds each event once, in the order of the ingress, before it pushes the event. This order is
//! the guarantee. A registration binds the events that are dispatched after it, and no event dispatched before it. A
//! subscriber that has received a registration publishes after that registration.
//!
//! Binding in `publish` could not guarantee this. If it bound before the send, a bound event could overtake its
//! registration. If it bound after the send, a reaction to the registration could stay unbound.

use uuid::Uuid;

use crate::event::{BusEvent, Payload, SessionChange};
use crate::name::Name;
use crate::sessions::Sessions;
use crate::sync::panic::{self, Panicked};

/// A session that an event has bound.
pub(crate) struct Bound<'a> {
    pub(crate) connector_id: &'a str,
    pub(crate) native_session_id: &'a str,
    pub(crate) scroll_id: Uuid,
}

/// Applies the event's session change, and sets the event's `scroll_id` unless it is set. A registration always carries
/// the id that it registers. Returns the session that the event has bound, if it is a registration.
///
/// Returns `Err` if the payload's hook panicked. Such an event changes no session, and is bound like any other event.
pub(crate) fn bind<'a, E: Payload>(
    sessions: &Sessions,
    event: &'a mut BusEvent<E>,
) -> Result<Option<Bound<'a>>, Panicked> {
    let BusEvent { routing, event, .. } = event;
    let change = panic::run(|| event.session_change());
    let bound = match &change {
        Ok(Some(change)) => register(sessions, *change),
        Ok(None) | Err(Panicked) => None,
    };
    if let Some(bound) = &bound {
        routing.scroll_id = Some(bound.scroll_id);
    } else if routing.scroll_id.is_none() {
        let session = routing
            .connector_id
            .as_deref()
            .zip(routing.native_session_id.as_deref());
        routing.scroll_id = session.and_then(|(connector_id, session_id)| sessions.scroll_id(connector_id, session_id));
    }
    if let Some(SessionChange::Ended {
        connector_id,
        session_id,
    }) = change?
    {
        sessions.forget(connector_id, session_id);
    }
    Ok(bound)
}

/// Binds the session of a registration. A text that is not a UUID binds nothing and logs a warning.
fn register<'a>(sessions: &Sessions, change: SessionChange<'a>) -> Option<Bound<'a>> {
    let SessionChange::Registered {
        connector_id,
        session_id,
        scroll_id,
    } = change
    else {
        return None;
    };
    match Uuid::parse_str(scroll_id) {
        Ok(scroll_id) => {
            sessions.bind(connector_id, session_id, scroll_id);
            Some(Bound {
                connector_id,
                native_session_id: session_id,
                scroll_id,
            })
        }
        Err(error) => {
            warn_of_invalid_id(connector_id, session_id, &error);
            None
        }
    }
}

// Outlined, because events without a session change run through the calling function too.
#[cold]
fn warn_of_invalid_id(connector_id: &str, session_id: &str, error: &uuid::Error) {
    panic::log_warning!(
        "registration of {}/{} binds nothing: its scroll_id is not a UUID ({})",
        Name(connector_id),
        Name(session_id),
        // The message quotes a character of the text.
        error.to_string().escape_debug()
    );
}
