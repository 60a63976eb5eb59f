//! Random filters and events. Each field has only a few possible values, so that filters often match.

use std::sync::Arc;

use proptest::prelude::*;
use sharing_bus::{BusEvent, EventFilter, EventKind, EventOrigin, EventRouting};

use crate::common::*;

/// A description of a filter. proptest can print and shrink it.
#[derive(Clone, Debug)]
pub(crate) enum Spec {
    All,
    Scroll(u8),
    Uid(u8),
    Connector(u8),
    Session(u8, u8),
    Kind(u8),
    Origin(u8),
    Any(Vec<Spec>),
    Every(Vec<Spec>),
    Not(Box<Spec>),
    /// A custom filter that matches if the payload is divisible by this number plus 2.
    Custom(u8),
}

pub(crate) fn name(letter: u8) -> Arc<str> {
    Arc::from(["a", "b", "c"][usize::from(letter)])
}

pub(crate) fn kind(index: u8) -> EventKind {
    EventKind::ALL[usize::from(index)]
}

pub(crate) fn origin(index: u8) -> EventOrigin {
    EventOrigin::ALL[usize::from(index)]
}

impl Spec {
    pub(crate) fn build(&self) -> EventFilter<Number> {
        let all = |specs: &[Spec]| specs.iter().map(Spec::build).collect::<Vec<_>>();
        match self {
            Spec::All => EventFilter::All,
            Spec::Scroll(id) => EventFilter::ScrollId(scroll((*id).into())),
            Spec::Uid(id) => EventFilter::ConnectorUid(scroll((*id).into())),
            Spec::Connector(id) => EventFilter::ConnectorId(name(*id)),
            Spec::Session(connector, session) => EventFilter::Session {
                connector_id: name(*connector),
                native_session_id: name(*session),
            },
            Spec::Kind(index) => EventFilter::Kind(kind(*index)),
            Spec::Origin(index) => EventFilter::Origin(origin(*index)),
            Spec::Any(specs) => EventFilter::any(all(specs)),
            Spec::Every(specs) => EventFilter::all(all(specs)),
            Spec::Not(spec) => EventFilter::not(spec.build()),
            Spec::Custom(divisor) => {
                let divisor = u64::from(*divisor) + 2;
                EventFilter::custom(move |event: &BusEvent<Number>| event.event.0 % divisor == 0)
            }
        }
    }
}

pub(crate) fn spec() -> impl Strategy<Value = Spec> {
    let leaf = prop_oneof![
        1 => Just(Spec::All),
        3 => (0..3u8).prop_map(Spec::Scroll),
        2 => (0..3u8).prop_map(Spec::Uid),
        2 => (0..3u8).prop_map(Spec::Connector),
        2 => (0..2u8, 0..2u8).prop_map(|(connector, session)| Spec::Session(connector, session)),
        2 => (0..3u8).prop_map(Spec::Kind),
        2 => (0..2u8).prop_map(Spec::Origin),
        2 => (0..3u8).prop_map(Spec::Custom),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Spec::Any),
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Spec::Every),
            1 => inner.prop_map(|spec| Spec::Not(Box::new(spec))),
        ]
    })
}

pub(crate) fn event() -> impl Strategy<Value = BusEvent<Number>> {
    let routing = (
        prop::option::of(0..3u8),
        prop::option::of(0..3u8),
        prop::option::of(0..3u8),
        prop::option::of(0..2u8),
        0..3u8,
    );
    (routing, 0..2u8, 0..12u64).prop_map(|((scroll_id, uid, connector, session, kind_index), origin_index, n)| {
        BusEvent {
            routing: EventRouting {
                scroll_id: scroll_id.map(|id| scroll(id.into())),
                connector_uid: uid.map(|id| scroll(id.into())),
                connector_id: connector.map(name),
                native_session_id: session.map(name),
                kind: kind(kind_index),
            },
            origin: origin(origin_index),
            event: Arc::new(Number(n)),
        }
    })
}
