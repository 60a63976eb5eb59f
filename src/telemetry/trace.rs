//! The feature `tracing`: the span around dispatch, and the tracing events about subscribers and sessions.
//!
//! Each call of a tracing subscriber has its own panic boundary. A thread is inside the span only while it dispatches a
//! batch. So the span never stays on the thread of a publisher that assists dispatch.

use std::time::Instant;

use tracing::{Level, Span, debug, enabled, info, info_span, span, warn};
use uuid::Uuid;

use crate::queue::Pushed;
use crate::subscribers::Subscribers;
use crate::subscribers::list::Subscription;
use crate::sync::Arc;
use crate::sync::panic::{self, DropGuarded, Panicked};
use crate::telemetry::lag::{Lag, LagReport};

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
        let list = subscribers.snapshot();
        let Some(slot) = list.get(subscription.id) else {
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

/// The span around dispatch, unless the tracing subscriber panicked.
pub(super) struct BusTrace {
    span: Option<Arc<DropGuarded<Span>>>,
}

impl BusTrace {
    pub(super) fn new(thread: &str) -> Self {
        let span = panic::run(|| info_span!(target: TARGET, parent: None, "sharing_bus::dispatch", thread));
        BusTrace {
            span: span.ok().map(DropGuarded::new).map(Arc::new),
        }
    }

    pub(super) fn scope(&self) -> Scope {
        Scope(self.span.clone())
    }
}

/// A reference to the span while the dispatcher uses it.
pub(crate) struct Scope(Option<Arc<DropGuarded<Span>>>);

impl Scope {
    pub(crate) fn enter(&self) -> Inside<'_> {
        let span = self.0.as_deref();
        span.and_then(|span| panic::run(|| span.enter()).ok())
            .map(DropGuarded::new)
    }
}

/// Guard that keeps the calling thread inside the span.
pub(crate) type Inside<'a> = Option<DropGuarded<span::Entered<'a>>>;

/// The lagging of a subscriber so far.
#[derive(Default)]
pub(super) struct SubscriberTrace {
    lag: Lag,
}

impl SubscriberTrace {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn batch_delivered<E>(&mut self, pushed: Pushed, subscription: &Subscription<E>) {
        if let Some(report) = self.lag.batch(pushed.queued, pushed.lost, Instant::now) {
            emit(|| lagging(subscription, report));
        }
    }

    pub(super) fn unsubscribed<E>(&mut self, subscription: &Subscription<E>, lost: u64) {
        if let Some(report) = self.lag.finish(lost) {
            emit(|| lagging(subscription, report));
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

fn lagging<E>(subscription: &Subscription<E>, report: LagReport) {
    let Subscription { id, label, .. } = subscription;
    let label = label.as_deref();
    match report {
        LagReport::Begins { lost, left_out } => warn!(
            target: TARGET, %id, label, lost,
            suppressed_episodes = left_out.episodes,
            suppressed_lost = left_out.lost,
            "lagging begins"
        ),
        LagReport::Ends { lost, left_out } => info!(
            target: TARGET, %id, label, lost,
            suppressed_episodes = left_out.episodes,
            suppressed_lost = left_out.lost,
            "lagging ends"
        ),
    }
}
