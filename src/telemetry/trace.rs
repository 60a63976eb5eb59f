//! The feature `tracing`: the span around dispatch, and the tracing events about subscribers and sessions.
//!
//! Each call of a tracing subscriber has its own panic boundary. A thread is inside the span only while it dispatches a
//! batch. So the span never stays on the thread of a publisher that assists dispatch.

use std::time::Instant;

use tracing::{Level, Span, debug, enabled, info, info_span, span, warn};
use uuid::Uuid;

use super::lag::{Lag, Line};
use crate::queue::Pushed;
use crate::subscribers::{Subscribers, Subscription};
use crate::sync::panic;
use crate::sync::{Arc, Panicked};

/// The target of all events and of the span.
const TARGET: &str = "sharing_bus";

/// Runs code of the tracing subscriber and ignores a panic.
fn emit(f: impl FnOnce()) {
    if let Err(Panicked) = panic::run(f) {}
}

/// Reports that a subscription was added to the list. The subscribing thread calls this function.
pub(crate) fn subscribed<E>(subscribers: &Subscribers<E>, subscription: &Subscription<E>) {
    emit(|| {
        if !enabled!(target: TARGET, Level::DEBUG) {
            return;
        }
        let slots = subscribers.snapshot();
        let Some(slot) = slots.get(subscription.id) else {
            return;
        };
        debug!(
            target: TARGET,
            id = %subscription.id,
            label = subscription.label.as_deref(),
            filter = %slot.filter,
            capacity = subscription.queue.capacity(),
            "subscribed"
        );
    });
}

/// Reports that a session was bound: by a registration, on the dispatch thread, or by the host, on its own thread.
pub(crate) fn session_bound(connector_id: &str, native_session_id: &str, scroll_id: Uuid) {
    emit(|| debug!(target: TARGET, connector_id, native_session_id, %scroll_id, "session bound"));
}

pub(super) struct Bus {
    span: Option<Arc<Span>>,
}

impl Bus {
    pub(super) fn new(thread: &str) -> Self {
        let span = panic::run(|| info_span!(target: TARGET, parent: None, "sharing_bus::dispatch", thread));
        Bus {
            span: span.ok().map(Arc::new),
        }
    }

    pub(super) fn scope(&self) -> Scope {
        Scope(self.span.clone())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        panic::discard(self.span.take());
    }
}

/// A reference to the span while the dispatcher uses it. It is never the last reference, because the dispatcher owns
/// another one.
pub(crate) struct Scope(Option<Arc<Span>>);

impl Scope {
    pub(crate) fn enter(&self) -> Inside<'_> {
        let span = self.0.as_deref();
        Inside(span.and_then(|span| panic::run(|| span.enter()).ok()))
    }
}

/// Guard that keeps the calling thread inside the span.
pub(crate) struct Inside<'a>(Option<span::Entered<'a>>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        panic::discard(self.0.take());
    }
}

/// The outcome of the current batch for one subscriber, and the subscriber's lagging before the batch.
#[derive(Default)]
pub(super) struct Subscriber {
    queued: u64,
    lost: u64,
    lag: Lag,
}

impl Subscriber {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn pushed(&mut self, pushed: Pushed) {
        self.queued += pushed.queued;
        self.lost += pushed.lost;
    }

    pub(super) fn served<E>(&mut self, subscription: &Subscription<E>) {
        let queued = std::mem::take(&mut self.queued);
        let lost = std::mem::take(&mut self.lost);
        if let Some(line) = self.lag.batch(queued, lost, Instant::now) {
            emit(|| lagging(subscription, line));
        }
    }

    pub(super) fn left<E>(&mut self, subscription: &Subscription<E>, lost: u64) {
        if let Some(line) = self.lag.finish(lost) {
            emit(|| lagging(subscription, line));
        }
        emit(|| {
            debug!(
                target: TARGET,
                id = %subscription.id,
                label = subscription.label.as_deref(),
                delivered = subscription.queue.delivered(),
                lagged = subscription.queue.lagged(),
                "reaped"
            );
        });
    }
}

fn lagging<E>(subscription: &Subscription<E>, line: Line) {
    let Subscription { id, label, .. } = subscription;
    let label = label.as_deref();
    match line {
        Line::Begins { lost, left_out } => warn!(
            target: TARGET, %id, label, lost,
            suppressed_episodes = left_out.episodes,
            suppressed_lost = left_out.lost,
            "lagging begins"
        ),
        Line::Ends { lost, left_out } => info!(
            target: TARGET, %id, label, lost,
            suppressed_episodes = left_out.episodes,
            suppressed_lost = left_out.lost,
            "lagging ends"
        ),
    }
}
