//! Redaction of the client's traces: at level `trace`, the client traces the whole `CONNECT` message, including the
//! user and password.
//!
//! The thread that runs the client uses a tracing subscriber of its own. It drops the client's events of that level and
//! forwards all other events to the host's subscriber. It has no other state.

use tracing::dispatcher::{self, Dispatch};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A scope in which the client runs with redacted traces.
///
/// The scope is created on the host's thread and forwards events to that thread's subscriber. If the process has no
/// subscriber, the scope does nothing, because installing one would end tracing's fallback to the `log` crate for the
/// whole process.
pub(crate) struct Scope(Option<Dispatch>);

impl Scope {
    pub(crate) fn new() -> Self {
        let redacting = || Dispatch::new(Redacting(dispatcher::get_default(Dispatch::clone)));
        Scope(dispatcher::has_been_set().then(redacting))
    }

    pub(crate) fn run<T>(&self, body: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(redacting) => dispatcher::with_default(redacting, body),
            None => body(),
        }
    }
}

/// The subscriber that drops the client's traces and forwards all other events.
struct Redacting(Dispatch);

/// Returns whether an event may contain credentials.
fn is_secret(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::TRACE && metadata.target().starts_with("async_nats")
}

impl Subscriber for Redacting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !is_secret(metadata) && self.0.enabled(metadata)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        // Some callers do not check whether the event is enabled.
        if !is_secret(event.metadata()) {
            self.0.event(event);
        }
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.0.try_close(span)
    }
}
