//! Workloads: the filters of the subscribers, and the events that are published.

use std::sync::Arc;

use sharing_bus::{EventKind, EventRouting};
use uuid::Uuid;

/// One subscriber's filter.
#[derive(Clone, Copy, Debug)]
pub enum Filter {
    /// Matches every event.
    All,
    /// Matches the events of one scroll.
    Scroll(Uuid),
    /// Matches the events of one kind.
    Kind(EventKind),
    /// Matches the events for which a function of the scroll and the kind returns true.
    Custom(fn(Uuid, EventKind) -> bool),
}

impl Filter {
    /// Returns whether the filter matches an event of this scroll and kind.
    pub fn matches(self, scroll: Uuid, kind: EventKind) -> bool {
        match self {
            Filter::All => true,
            Filter::Scroll(id) => id == scroll,
            Filter::Kind(expected) => expected == kind,
            Filter::Custom(matches) => matches(scroll, kind),
        }
    }
}

/// The description of one event to publish.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec {
    /// Number of the session, from 0.
    pub session: usize,
    /// Scroll id of the session.
    pub scroll: Uuid,
    /// Whether the event already carries its scroll id when it is published.
    pub bound: bool,
    /// Kind of the event.
    pub kind: EventKind,
}

/// The filters of the subscribers, and the events that are published.
pub struct Workload {
    /// Name in the tables.
    pub name: String,
    /// One filter per subscriber.
    pub filters: Vec<Filter>,
    /// The events of one burst.
    pub burst: Vec<EventSpec>,
    /// Number of publishing threads.
    pub publishers: usize,
}

impl Workload {
    /// Returns a workload in which every event matches every subscriber.
    pub fn all_match(subscribers: usize) -> Self {
        // A shorter burst keeps the number of deliveries per burst at about a million or fewer.
        let events = if subscribers > 1024 { 256 } else { 1024 };
        Workload {
            name: format!("{subscribers}, all match"),
            filters: vec![Filter::All; subscribers],
            burst: (0..events).map(|_| event(0)).collect(),
            publishers: 1,
        }
    }

    /// Returns a workload in which each subscriber filters by a scroll of its own, so each event matches one
    /// subscriber.
    ///
    /// A burst has 1,024 events. It reaches every subscriber if there are at most 1,024. Otherwise, it reaches a sample
    /// of the subscribers that is spread evenly over all of them.
    pub fn one_matches(subscribers: usize) -> Self {
        let stride = subscribers.div_ceil(1024);
        Workload {
            name: format!("{subscribers}, one matches"),
            filters: (0..subscribers)
                .map(|session| Filter::Scroll(scroll(session)))
                .collect(),
            burst: (0..1024).map(|number| event(number * stride % subscribers)).collect(),
            publishers: 1,
        }
    }

    /// Returns the workload of a typical host with 25 subscribers: twenty views of one scroll each, an archiver of
    /// every event, a logger of one kind, and three custom filters. Three of ten events carry no scroll id.
    pub fn typical_host() -> Self {
        let mut filters: Vec<Filter> = (0..20).map(|session| Filter::Scroll(scroll(session))).collect();
        filters.push(Filter::All);
        filters.push(Filter::Kind(EventKind::Error));
        filters.push(Filter::Custom(|_, kind| kind == EventKind::Tool));
        filters.push(Filter::Custom(|scroll, _| scroll.as_u128() & 1 == 0));
        filters.push(Filter::Custom(|scroll, kind| {
            kind == EventKind::Output && scroll.as_u128() & 2 == 0
        }));
        let burst = (0..1024)
            .map(|number| EventSpec {
                bound: number % 10 >= 3,
                kind: match number % 16 {
                    0 => EventKind::Error,
                    1..=4 => EventKind::Tool,
                    _ => EventKind::Output,
                },
                ..event(number % 20)
            })
            .collect();
        Workload {
            name: "25, typical host".to_owned(),
            filters,
            burst,
            publishers: 1,
        }
    }

    /// Returns a workload that measures `publish` itself: one subscriber, which matches the last event of each burst.
    pub fn publish_only() -> Self {
        let mut burst: Vec<EventSpec> = (0..1024).map(|_| event(0)).collect();
        burst[1023].kind = EventKind::Error;
        Workload {
            name: "publish only".to_owned(),
            filters: vec![Filter::Kind(EventKind::Error)],
            burst,
            publishers: 1,
        }
    }

    /// Returns a workload with bursts of one event, which matches every subscriber.
    pub fn one_event(subscribers: usize) -> Self {
        Workload {
            burst: vec![event(0)],
            ..Workload::all_match(subscribers)
        }
    }

    /// Returns the number of sessions that the events belong to.
    pub fn sessions(&self) -> usize {
        self.burst
            .iter()
            .map(|event| event.session)
            .max()
            .map_or(1, |last| last + 1)
    }

    /// Sets the number of publishing threads, and adds it to the name.
    #[must_use]
    pub fn published_by(mut self, publishers: usize) -> Self {
        self.name = format!("{}, {publishers} publishers", self.name);
        self.publishers = publishers;
        self
    }

    /// Returns the number of events in a burst that match a filter.
    pub fn per_burst(&self, filter: Filter) -> usize {
        self.burst
            .iter()
            .filter(|event| filter.matches(event.scroll, event.kind))
            .count()
    }

    /// Returns the number of deliveries per burst.
    pub fn deliveries(&self) -> usize {
        self.filters.iter().map(|filter| self.per_burst(*filter)).sum()
    }
}

/// Returns the scroll id of a session. The ids are spread like random ids.
pub fn scroll(session: usize) -> Uuid {
    Uuid::from_u128((session as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn event(session: usize) -> EventSpec {
    EventSpec {
        session,
        scroll: scroll(session),
        bound: true,
        kind: EventKind::Output,
    }
}

/// The names of the sessions, allocated once, as in a real host.
pub struct Names {
    connector_id: Arc<str>,
    sessions: Vec<Arc<str>>,
}

impl Names {
    /// Creates the names of this many sessions.
    pub fn new(sessions: usize) -> Self {
        Names {
            connector_id: "connector".into(),
            sessions: (0..sessions)
                .map(|session| format!("native-session-{session}").into())
                .collect(),
        }
    }

    /// Returns the connector's name and the session's name.
    pub fn of(&self, session: usize) -> (&str, &str) {
        (&self.connector_id, &self.sessions[session % self.sessions.len()])
    }

    /// Returns the sharing-bus routing of an event.
    pub fn routing(&self, spec: &EventSpec) -> EventRouting {
        EventRouting {
            scroll_id: spec.bound.then_some(spec.scroll),
            connector_uid: None,
            connector_id: Some(Arc::clone(&self.connector_id)),
            native_session_id: Some(Arc::clone(&self.sessions[spec.session % self.sessions.len()])),
            kind: spec.kind,
        }
    }
}
