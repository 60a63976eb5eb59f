//! Workloads: who subscribes to what, and what is sent.

use std::sync::Arc;

use sharing_bus::{EventKind, EventRouting};
use uuid::Uuid;

/// What one subscriber asks for.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    /// Everything.
    All,
    /// One scroll.
    Scroll(Uuid),
    /// One kind.
    Kind(EventKind),
    /// What a function of the scroll and the kind says.
    Custom(fn(Uuid, EventKind) -> bool),
}

impl Want {
    /// Whether an event of this scroll and kind is asked for.
    pub fn matches(self, scroll: Uuid, kind: EventKind) -> bool {
        match self {
            Want::All => true,
            Want::Scroll(id) => id == scroll,
            Want::Kind(wanted) => wanted == kind,
            Want::Custom(matches) => matches(scroll, kind),
        }
    }
}

/// One event to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Its session's number, from 0.
    pub session: usize,
    /// Its session's scroll.
    pub scroll: Uuid,
    /// Whether it knows its scroll when it is published.
    pub bound: bool,
    /// Its kind.
    pub kind: EventKind,
}

/// Who subscribes to what, and what is sent.
pub struct Workload {
    /// As the tables call it.
    pub name: String,
    /// One for each subscriber.
    pub wants: Vec<Want>,
    /// One burst.
    pub burst: Vec<Sent>,
    /// Threads that publish.
    pub publishers: usize,
}

impl Workload {
    /// So many subscribers that match everything.
    pub fn everything(subscribers: usize) -> Self {
        // Where a burst would be millions of deliveries, a shorter one.
        let events = if subscribers > 1024 { 256 } else { 1024 };
        Workload {
            name: format!("{subscribers}, all match"),
            wants: vec![Want::All; subscribers],
            burst: (0..events).map(|_| sent(0)).collect(),
            publishers: 1,
        }
    }

    /// So many subscribers, each of one scroll. An event matches one of them, and each burst every one, or, where there
    /// are more of them than events, as many as there are events, spread over all.
    pub fn one_of(subscribers: usize) -> Self {
        let stride = subscribers.div_ceil(1024);
        Workload {
            name: format!("{subscribers}, one matches"),
            wants: (0..subscribers).map(|session| Want::Scroll(scroll(session))).collect(),
            burst: (0..1024).map(|event| sent(event * stride % subscribers)).collect(),
            publishers: 1,
        }
    }

    /// A real host: twenty views of a scroll each, an archiver of everything, a logger of one kind and three filters of
    /// the host's own; three events in ten do not know their scroll.
    pub fn host() -> Self {
        let mut wants: Vec<Want> = (0..20).map(|session| Want::Scroll(scroll(session))).collect();
        wants.push(Want::All);
        wants.push(Want::Kind(EventKind::Error));
        wants.push(Want::Custom(|_, kind| kind == EventKind::Tool));
        wants.push(Want::Custom(|scroll, _| scroll.as_u128() & 1 == 0));
        wants.push(Want::Custom(|scroll, kind| {
            kind == EventKind::Output && scroll.as_u128() & 2 == 0
        }));
        let burst = (0..1024)
            .map(|event| Sent {
                bound: event % 10 >= 3,
                kind: match event % 16 {
                    0 => EventKind::Error,
                    1..=4 => EventKind::Tool,
                    _ => EventKind::Output,
                },
                ..sent(event % 20)
            })
            .collect();
        Workload {
            name: "a host's 25".to_owned(),
            wants,
            burst,
            publishers: 1,
        }
    }

    /// One subscriber that matches the last event of each burst: what is left is `publish`.
    pub fn publish_alone() -> Self {
        let mut burst: Vec<Sent> = (0..1024).map(|_| sent(0)).collect();
        burst[1023].kind = EventKind::Error;
        Workload {
            name: "publish alone".to_owned(),
            wants: vec![Want::Kind(EventKind::Error)],
            burst,
            publishers: 1,
        }
    }

    /// One event at a time to so many subscribers.
    pub fn one_event(subscribers: usize) -> Self {
        Workload {
            burst: vec![sent(0)],
            ..Workload::everything(subscribers)
        }
    }

    /// The sessions that it tells of.
    pub fn sessions(&self) -> usize {
        self.burst
            .iter()
            .map(|sent| sent.session)
            .max()
            .map_or(1, |last| last + 1)
    }

    /// The same with so many publishing threads.
    #[must_use]
    pub fn published_by(mut self, publishers: usize) -> Self {
        self.name = format!("{}, {publishers} publishers", self.name);
        self.publishers = publishers;
        self
    }

    /// How many events of a burst a subscriber receives.
    pub fn per_burst(&self, want: Want) -> usize {
        self.burst
            .iter()
            .filter(|sent| want.matches(sent.scroll, sent.kind))
            .count()
    }

    /// How many deliveries a burst comes to.
    pub fn deliveries(&self) -> usize {
        self.wants.iter().map(|want| self.per_burst(*want)).sum()
    }
}

/// The scroll of a session, spread like random ids.
pub fn scroll(session: usize) -> Uuid {
    Uuid::from_u128((session as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn sent(session: usize) -> Sent {
    Sent {
        session,
        scroll: scroll(session),
        bound: true,
        kind: EventKind::Output,
    }
}

/// The names of the sessions, made once as a host would.
pub struct Names {
    connector_id: Arc<str>,
    sessions: Vec<Arc<str>>,
}

impl Names {
    /// For so many sessions.
    pub fn new(sessions: usize) -> Self {
        Names {
            connector_id: "connector".into(),
            sessions: (0..sessions)
                .map(|session| format!("native-session-{session}").into())
                .collect(),
        }
    }

    /// The connector's and the session's name.
    pub fn of(&self, session: usize) -> (&str, &str) {
        (&self.connector_id, &self.sessions[session % self.sessions.len()])
    }

    /// Our routing of an event.
    pub fn routing(&self, sent: &Sent) -> EventRouting {
        EventRouting {
            scroll_id: sent.bound.then_some(sent.scroll),
            connector_uid: None,
            connector_id: Some(Arc::clone(&self.connector_id)),
            native_session_id: Some(Arc::clone(&self.sessions[sent.session % self.sessions.len()])),
            kind: sent.kind,
        }
    }
}
