//! Compares the index with [`EventFilter::matches`] for random filters, events and changes, and counts filter calls.

mod common;
mod filters;

use std::sync::atomic::Ordering;

use common::*;
use filters::*;
use proptest::prelude::*;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventKind, EventOrigin, SharingBus};

/// One call. An index selects a subscriber, modulo the number of subscribers.
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

/// A subscriber, with the sequences that it must have received and those that it has received.
struct Subscriber {
    receiver: BusReceiver<Number>,
    filter: EventFilter<Number>,
    expected: Vec<u64>,
    received: Vec<u64>,
}

/// The bus, its subscribers, and a control receiver that sees every event as it was dispatched.
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
        // Compares the earlier events with the current filters, before this step changes the filters.
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
                    // A new filter has no effect after unsubscribing.
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
    fn the_index_delivers_exactly_the_matching_events(steps in prop::collection::vec(step(), 1..40)) {
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

#[test]
fn a_filter_is_called_only_if_its_index_terms_match() {
    let bus = SharingBus::new();
    let (indexed, indexed_calls) = counting_filter();
    let (opaque, opaque_calls) = counting_filter();
    let (exact, exact_calls) = counting_filter();
    let _indexed = bus.subscribe_filtered(EventFilter::all([indexed, EventFilter::ScrollId(scroll(1))]), 64);
    let _opaque = bus.subscribe_filtered(opaque, 64);
    // For an event of scroll 1, the first branch decides the match, so the second branch is not evaluated.
    let either = EventFilter::any([
        EventFilter::ScrollId(scroll(1)),
        EventFilter::all([EventFilter::ScrollId(scroll(2)), exact]),
    ]);
    let _exact = bus.subscribe_filtered(either, 64);
    for id in [1, 2, 3, 3, 3] {
        bus.publish(scroll_event(0, id)).unwrap();
    }
    bus.flush();
    let calls = [indexed_calls, opaque_calls, exact_calls].map(|calls| calls.load(Ordering::Relaxed));
    assert_eq!(calls, [1, 5, 1]);
}

#[test]
fn an_event_that_matches_several_terms_is_delivered_once() {
    let bus = SharingBus::new();
    let filter = EventFilter::any([
        EventFilter::ScrollId(scroll(1)),
        EventFilter::Kind(EventKind::System),
        EventFilter::Origin(EventOrigin::Runtime),
    ]);
    let mut receiver = bus.subscribe_filtered(filter, 64);
    bus.publish(scroll_event(0, 1)).unwrap();
    bus.flush();
    assert_eq!(drain(&mut receiver).len(), 1);
}

#[test]
fn remaining_subscribers_are_matched_after_many_have_left() {
    let bus = SharingBus::<Number>::new();
    let subscribe = |id: u128| bus.subscribe_filtered(EventFilter::ScrollId(scroll(id % 3)), 8);
    // Enough receivers are dropped that the index shrinks. One round leaves a single receiver of each scroll.
    let mut receivers: Vec<_> = (0..300).map(subscribe).collect();
    bus.publish(scroll_event(0, 0)).unwrap();
    bus.flush();
    for leaving in [290, 60, 1] {
        receivers.truncate(receivers.len() - leaving.min(receivers.len() - 3));
        bus.flush();
        receivers.extend((0..6).map(subscribe));
        for receiver in &mut receivers {
            drain(receiver);
        }
        for id in 0..3 {
            bus.publish(scroll_event(0, id)).unwrap();
        }
        bus.flush();
        assert!(receivers.iter_mut().all(|receiver| drain(receiver).len() == 1));
    }
    assert_eq!(bus.subscriber_count(), receivers.len());
}
