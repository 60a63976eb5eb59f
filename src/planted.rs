//! Bugs planted on purpose, one per build, for the loom models to catch; no shipped build has this room.
//!
//! `--cfg sharing_bus_planted="NAME"` picks one. What is only a line left out stands at its place under that cfg; the
//! two ways of binding in `publish` instead of at dispatch stand here.

use crate::binding;
use crate::error::PublishError;
use crate::event::{BusEvent, Payload};
use crate::shared::Shared;

/// Inserts, then sends: a bound event may overtake the registration.
#[cfg(sharing_bus_planted = "bind_before_send")]
pub(crate) fn publish<E: Payload>(shared: &Shared<E>, mut event: BusEvent<E>) -> Result<(), PublishError<E>> {
    let _ = binding::bind(&shared.sessions, &mut event);
    shared.publish(event, None)
}

/// Sends, then inserts: a reaction to the registration may come unbound.
#[cfg(sharing_bus_planted = "bind_after_send")]
pub(crate) fn publish<E: Payload>(shared: &Shared<E>, mut event: BusEvent<E>) -> Result<(), PublishError<E>> {
    let mut registration = event.clone();
    if event.event.session_change().is_none() {
        let _ = binding::bind(&shared.sessions, &mut event);
    }
    shared.publish(event, None)?;
    let _ = binding::bind(&shared.sessions, &mut registration);
    Ok(())
}
