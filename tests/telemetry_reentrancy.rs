//! Loggers, tracing subscribers and metrics recorders may use the bus. The bus holds no lock while it calls them.
//!
//! This file is a separate binary with one test, because a process has a single logger, tracing subscriber and recorder.

mod common;

use std::sync::{Mutex, mpsc};
use std::thread;

use common::*;
use sharing_bus::{BusEvent, EventFilter, SharingBus};

type Action = Box<dyn FnOnce() + Send>;

/// The place at which user code runs, and that code. It runs once.
static PLANNED: Mutex<Option<(&str, Action)>> = Mutex::new(None);

/// Runs the planned user code if the name of this place contains the name of the planned place.
fn reached(place: &str) {
    let planned = lock(&PLANNED).take_if(|(planned, _)| place.contains(*planned));
    if let Some((_, action)) = planned {
        action();
    }
}

/// Plans user code that uses the bus, and runs `trigger` on another thread until the bus has reached the place.
fn use_bus_at(place: &'static str, trigger: fn(&SharingBus)) {
    for assisted in [false, true] {
        // The bus is built first, because the builder calls the recorder and the tracing subscriber, too.
        let builder = SharingBus::builder().ingress_capacity(1).session_capacity(1);
        let bus: SharingBus = builder.assisted_dispatch(assisted).build().unwrap();
        let (inside, (done, returned)) = (bus.clone(), mpsc::channel());
        let action = move || {
            use_bus(&inside, plain);
            wait_for_bus(&inside, plain);
            done.send(()).unwrap();
        };
        *lock(&PLANNED) = Some((place, Box::new(action)));
        let running = thread::spawn(move || {
            trigger(&bus);
            bus.shutdown();
        });
        returned
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|_| panic!("no return from `{place}`, assisted {assisted}"));
        wait_until(&format!("the bus ends after `{place}`"), || running.is_finished());
        running.join().unwrap();
    }
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        reached(&format!("log: {}", record.args()));
    }

    fn flush(&self) {}
}

fn bind_two(bus: &SharingBus) {
    bus.bind_session("c", "1", scroll(1));
    bus.bind_session("c", "2", scroll(2));
}

fn register(bus: &SharingBus) {
    publish_all(bus, [registration(&scroll(1).to_string())]);
}

fn use_bus_in_the_logger() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    use_bus_at("log: session capacity 1 reached", bind_two);
    use_bus_at("log: session capacity 1 reached", |bus| {
        bus.bind_session("c", "1", scroll(1));
        register(bus);
    });
    use_bus_at("log: registration of c/s binds nothing", |bus| {
        publish_all(bus, [registration("no uuid")])
    });
    use_bus_at("panicked; counted as no match", |bus| {
        let _faulty = bus.subscribe_filtered(EventFilter::custom(|_| panic_quietly()), 1);
        publish_all(bus, [plain()]);
    });
    use_bus_at("panicked; counted as not essential or as a loss", |bus| {
        let merging = bus
            .subscription()
            .queue_capacity(1)
            .conflate_with(|_, _: BusEvent| panic_quietly());
        let _faulty = merging.subscribe();
        publish_all(bus, [plain(), plain(), plain()]);
    });
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
fn subscribe_and_drop(bus: &SharingBus) {
    let receiver = bus.subscribe_all();
    bus.flush();
    drop(receiver);
    bus.flush();
}

/// Loses an event, and then queues one without a loss.
#[cfg(any(feature = "tracing", feature = "metrics"))]
fn lag_and_recover(bus: &SharingBus) {
    let mut lagging = subscribe_with(bus, sharing_bus::Overflow::DropNewest, 1);
    publish_all(bus, [plain(), plain()]);
    drain(&mut lagging);
    publish_all(bus, [plain()]);
}

#[cfg(feature = "tracing")]
mod traced {
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata};

    use super::*;

    struct Traced;

    struct Message(String);

    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("tracing: {value:?}");
            }
        }
    }

    impl tracing::Subscriber for Traced {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "sharing_bus"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut message = Message(String::new());
            event.record(&mut message);
            reached(&message.0);
        }

        fn enter(&self, _: &Id) {
            reached("tracing: enter");
        }

        fn exit(&self, _: &Id) {
            reached("tracing: exit");
        }

        fn try_close(&self, _: Id) -> bool {
            reached("tracing: close");
            true
        }
    }

    pub(super) fn use_bus_in_the_tracing_subscriber() {
        tracing::subscriber::set_global_default(Traced).unwrap();
        use_bus_at("tracing: subscribed", subscribe_and_drop);
        use_bus_at("tracing: reaped", subscribe_and_drop);
        use_bus_at("tracing: session bound", bind_two);
        use_bus_at("tracing: session bound", register);
        use_bus_at("tracing: lagging begins", lag_and_recover);
        use_bus_at("tracing: lagging ends", lag_and_recover);
        use_bus_at("tracing: enter", |bus| publish_all(bus, [plain()]));
        use_bus_at("tracing: exit", |bus| publish_all(bus, [plain()]));
        use_bus_at("tracing: close", |bus| bus.shutdown());
    }
}

#[cfg(feature = "metrics")]
mod measured {
    use std::sync::Arc;

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit,
    };

    use super::*;

    struct Recorder;

    /// A metric with this name.
    struct Measured(String);

    impl CounterFn for Measured {
        fn increment(&self, _: u64) {
            reached(&format!("metrics: counter {}", self.0));
        }

        fn absolute(&self, _: u64) {}
    }

    impl GaugeFn for Measured {
        fn increment(&self, _: f64) {
            reached(&format!("metrics: gauge {}", self.0));
        }

        fn decrement(&self, _: f64) {
            reached(&format!("metrics: lower gauge {}", self.0));
        }

        fn set(&self, _: f64) {}
    }

    impl HistogramFn for Measured {
        fn record(&self, _: f64) {
            reached(&format!("metrics: histogram {}", self.0));
        }
    }

    fn registered(key: &Key) -> Arc<Measured> {
        reached(&format!("metrics: registration of {}", key.name()));
        Arc::new(Measured(key.name().to_owned()))
    }

    impl metrics::Recorder for Recorder {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(registered(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(registered(key))
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(registered(key))
        }
    }

    pub(super) fn use_bus_in_the_recorder() {
        assert!(metrics::set_global_recorder(Recorder).is_ok());
        use_bus_at(
            "registration of sharing_bus_subscriber_delivered_total",
            subscribe_and_drop,
        );
        for place in [
            "counter sharing_bus_published_total",
            "counter sharing_bus_lagged_total",
            "counter sharing_bus_subscriber_delivered_total",
            "counter sharing_bus_subscriber_lagged_total",
            "counter sharing_bus_reaped_total",
            "gauge sharing_bus_subscribers",
            "gauge sharing_bus_queue_depth",
            "histogram sharing_bus_dispatch_latency_seconds",
            "lower gauge sharing_bus_queue_depth",
            "lower gauge sharing_bus_subscribers",
        ] {
            use_bus_at(place, |bus| {
                lag_and_recover(bus);
                bus.flush();
            });
        }
    }
}

#[test]
fn loggers_tracing_subscribers_and_recorders_may_use_the_bus() {
    use_bus_in_the_logger();
    #[cfg(feature = "tracing")]
    traced::use_bus_in_the_tracing_subscriber();
    #[cfg(feature = "metrics")]
    measured::use_bus_in_the_recorder();
}
