//! What the client must not tell: it traces the whole `CONNECT`, user and password included, at the level `trace`.
//!
//! So the bridge's thread has a subscriber of its own in front of the host's, which passes on everything but the client's
//! events of that level. It has no state besides.

use tracing::dispatcher::{self, Dispatch};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A scope for whatever runs the client, made on the thread of the host that starts it, whose subscriber it passes on to. Without
/// one it does nothing: to set any would end tracing's own fallback to the `log` crate, for the whole process.
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

struct Redacting(Dispatch);

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
        // Whoever asks too seldom whether it is enabled.
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
