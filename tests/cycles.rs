//! A bus handle inside the bus: it keeps the bus open, and a `Weak` or an explicit close ends the cycle.

mod common;

use std::any::Any;
use std::sync::{Arc, Weak};

use common::*;
use sharing_bus::{
    BusEvent, Delivery, EventFilter, EventRouting, Payload, RecvTimeoutError, SharingBus, Sink, SinkError,
};

/// The value that code of the host holds: a handle, or a weak reference to one.
type Captured = Arc<dyn Any + Send + Sync>;

/// A payload that may hold a value.
struct Holder(#[expect(dead_code, reason = "only held")] Option<Captured>);

impl Payload for Holder {}

type Bus = SharingBus<Holder>;

/// A sink that holds a value, and accepts all events.
struct HoldingSink(#[expect(dead_code, reason = "only held")] Captured);

impl Sink<Holder> for HoldingSink {
    fn try_send(&mut self, _: Delivery<Holder>) -> Result<(), SinkError<Holder>> {
        Ok(())
    }
}

/// Puts the value into a part of the bus, and returns the handle to that part.
type Place = fn(&Bus, Captured) -> Box<dyn Any>;

const PLACES: [(&str, Place); 4] = [
    ("filter", |bus, captured| {
        let filter = EventFilter::custom(move |_| {
            let _ = &captured;
            true
        });
        Box::new(bus.subscribe_filtered(filter, 1))
    }),
    ("sink", |bus, captured| {
        Box::new(bus.subscription().forward_to(HoldingSink(captured)))
    }),
    ("merge function", |bus, captured| {
        let merge = move |_: &BusEvent<Holder>, newer| {
            let _ = &captured;
            Some(newer)
        };
        Box::new(bus.subscription().conflate_with(merge).subscribe())
    }),
    ("payload in the history", |bus, captured| {
        publish_all(bus, [event(Some(captured))]);
        Box::new(())
    }),
];

fn event(held: Option<Captured>) -> BusEvent<Holder> {
    BusEvent::new(EventRouting::default(), Holder(held))
}

fn bus() -> Bus {
    SharingBus::builder().history(8).build().unwrap()
}

#[test]
fn a_handle_inside_the_bus_keeps_it_open_until_an_explicit_close() {
    for (name, place) in PLACES {
        let bus = bus();
        let inside = Arc::new(bus.clone());
        let weak = Arc::downgrade(&inside);
        let _part = place(&bus, inside);
        bus.flush();
        let mut receiver = bus.subscribe_all();
        drop(bus);

        let inside = weak.upgrade().unwrap_or_else(|| panic!("the {name} holds the handle"));
        inside.publish(event(None)).unwrap();
        inside.flush();
        assert!(receiver.try_recv().is_ok() && !receiver.is_closed(), "{name}");

        inside.shutdown();
        drop(inside);
        let end = receiver.recv_timeout(DEADLINE).unwrap_err();
        assert_eq!(end, RecvTimeoutError::Closed, "{name}");
        // The bus that has ended frees the code that held the handle.
        wait_until("the handle is dropped", || weak.strong_count() == 0);
    }
}

#[test]
fn a_weak_reference_inside_the_bus_does_not_keep_it_open() {
    for (name, place) in PLACES {
        let bus = Arc::new(bus());
        let inside: Arc<Weak<Bus>> = Arc::new(Arc::downgrade(&bus));
        let observed = Arc::downgrade(&inside);
        let _part = place(&bus, inside);
        bus.flush();
        let mut receiver = bus.subscribe_all();
        let handle = observed.upgrade().and_then(|weak| weak.upgrade());
        handle.expect("the bus is open").publish(event(None)).unwrap();
        drop(bus);

        assert!(receiver.recv_timeout(DEADLINE).is_ok(), "{name}");
        let end = receiver.recv_timeout(DEADLINE).unwrap_err();
        assert_eq!(end, RecvTimeoutError::Closed, "{name}");
        wait_until("the reference is dropped", || observed.strong_count() == 0);
    }
}
