//! The routing table against [`EventFilter::matches`]: random filters, events and changes, and what is not evaluated.

mod common;
mod filters;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use filters::*;
use proptest::prelude::*;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventKind, EventOrigin, EventRouting, SharingBus};

/// A step; subscribers are picked by an index into those that there are.
#[derive(Clone, Debug)]
enum Step {
    Publish(BusEvent<Number>),
    Subscribe(Spec),
    SetFilter(usize, Spec),
    Unsubscribe(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => event().prop_map(Step::Publish),
        3 => spec().prop_map(Step::Subscribe),
        2 => (any::<usize>(), spec()).prop_map(|(index, spec)| Step::SetFilter(index, spec)),
        1 => any::<usize>().prop_map(Step::Unsubscribe),
        1 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// A subscriber and what it must have received.
struct Subscriber {
    receiver: BusReceiver<Number>,
    filter: EventFilter<Number>,
    expected: Vec<u64>,
    received: Vec<u64>,
}

/// The bus, and beside it a control that sees every event as it was dispatched.
struct Model {
    bus: SharingBus<Number>,
    control: BusReceiver<Number>,
    subscribers: Vec<Subscriber>,
}

impl Model {
    fn new() -> Self {
        let bus = SharingBus::new();
        // Events of this session without a scroll are bound before they are matched.
        bus.bind_session("a", "a", scroll(1));
        let control = bus.subscribe_filtered(EventFilter::All, 1000);
        Model {
            bus,
            control,
            subscribers: Vec::new(),
        }
    }

    fn run(&mut self, step: Step) {
        if let Step::Publish(event) = step {
            self.bus.publish(event).unwrap();
            return;
        }
        // What was published so far meets the filters of so far.
        self.settle();
        match step {
            Step::Publish(_) => {}
            Step::Subscribe(spec) => self.subscribers.push(Subscriber {
                receiver: self.bus.subscribe_filtered(spec.build(), 1000),
                filter: spec.build(),
                expected: Vec::new(),
                received: Vec::new(),
            }),
            Step::SetFilter(index, spec) => {
                if let Some(subscriber) = pick(&mut self.subscribers, index) {
                    subscriber.receiver.set_filter(spec.build());
                    // Without effect on one that was unsubscribed.
                    if !subscriber.receiver.is_closed() {
                        subscriber.filter = spec.build();
                    }
                }
            }
            Step::Unsubscribe(index) => {
                if let Some(subscriber) = pick(&mut self.subscribers, index) {
                    self.bus.unsubscribe(subscriber.receiver.id());
                    subscriber.filter = EventFilter::any([]);
                }
            }
            Step::Drop(index) => {
                if !self.subscribers.is_empty() {
                    let index = index % self.subscribers.len();
                    self.subscribers.remove(index);
                }
            }
        }
    }

    fn settle(&mut self) {
        self.bus.flush();
        for dispatched in self.control.try_iter() {
            for subscriber in &mut self.subscribers {
                if subscriber.filter.matches(&dispatched) {
                    subscriber.expected.push(dispatched.sequence());
                }
            }
        }
        for subscriber in &mut self.subscribers {
            let received = subscriber.receiver.try_iter().map(|delivery| delivery.sequence());
            subscriber.received.extend(received);
        }
    }
}

fn pick(subscribers: &mut [Subscriber], index: usize) -> Option<&mut Subscriber> {
    let count = subscribers.len();
    subscribers.get_mut(index.checked_rem(count)?)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_the_filters_match(steps in prop::collection::vec(step(), 1..40)) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
        }
        model.settle();
        for subscriber in &model.subscribers {
            prop_assert_eq!(&subscriber.received, &subscriber.expected, "filter {}", subscriber.filter);
        }
    }
}

/// A predicate that counts its calls and accepts everything.
fn counting() -> (EventFilter<Number>, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let filter = EventFilter::custom(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    });
    (filter, calls)
}

fn of_scroll(id: u128) -> BusEvent<Number> {
    let routing = EventRouting {
        scroll_id: Some(scroll(id)),
        ..EventRouting::default()
    };
    BusEvent::new(routing, Number(0))
}

#[test]
fn a_filter_is_evaluated_only_where_its_cover_holds() {
    let bus = SharingBus::new();
    let (covered, covered_calls) = counting();
    let (opaque, opaque_calls) = counting();
    let (exact, exact_calls) = counting();
    let _covered = bus.subscribe_filtered(EventFilter::all([covered, EventFilter::ScrollId(scroll(1))]), 64);
    let _opaque = bus.subscribe_filtered(opaque, 64);
    // The scroll alone decides, so the other child is not asked.
    let either = EventFilter::any([
        EventFilter::ScrollId(scroll(1)),
        EventFilter::all([EventFilter::ScrollId(scroll(2)), exact]),
    ]);
    let _exact = bus.subscribe_filtered(either, 64);
    for id in [1, 2, 3, 3, 3] {
        bus.publish(of_scroll(id)).unwrap();
    }
    bus.flush();
    let calls = [covered_calls, opaque_calls, exact_calls].map(|calls| calls.load(Ordering::Relaxed));
    assert_eq!(calls, [1, 5, 1]);
}

#[test]
fn several_terms_of_one_filter_deliver_once() {
    let bus = SharingBus::new();
    let filter = EventFilter::any([
        EventFilter::ScrollId(scroll(1)),
        EventFilter::Kind(EventKind::System),
        EventFilter::Origin(EventOrigin::Runtime),
    ]);
    let mut receiver = bus.subscribe_filtered(filter, 64);
    bus.publish(of_scroll(1)).unwrap();
    bus.flush();
    assert_eq!(drain(&mut receiver).len(), 1);
}

#[test]
fn those_who_stay_are_found_after_a_crowd_has_left() {
    let bus = SharingBus::<Number>::new();
    let subscribe = |id: u128| bus.subscribe_filtered(EventFilter::ScrollId(scroll(id % 3)), 8);
    // The crowd is large enough for the table to shrink behind it, once to the last one who stays.
    let mut crowd: Vec<_> = (0..300).map(subscribe).collect();
    bus.publish(of_scroll(0)).unwrap();
    bus.flush();
    for leaving in [290, 60, 1] {
        crowd.truncate(crowd.len() - leaving.min(crowd.len() - 3));
        bus.flush();
        crowd.extend((0..6).map(subscribe));
        for receiver in &mut crowd {
            drain(receiver);
        }
        for id in 0..3 {
            bus.publish(of_scroll(id)).unwrap();
        }
        bus.flush();
        assert!(crowd.iter_mut().all(|receiver| drain(receiver).len() == 1));
    }
    assert_eq!(bus.subscriber_count(), crowd.len());
}
