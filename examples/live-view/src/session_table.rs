//! The table of all sessions so far. Its subscriber receives all events, regardless of the browsers' filters.
//!
//! One thread writes the table and the overview reads it. A mutex protects the table. The mutex is held for one batch
//! or one copy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde::Serialize;
use sharing_bus::{BusReceiver, Delivery, Overflow};
use sharing_bus_example_sessions::{Bus, Record, SESSION_ENDED, SESSION_REGISTERED};

/// Capacity of the queue, which absorbs bursts of several seconds.
const QUEUE: usize = 65_536;
/// Maximum number of deliveries that are counted under one lock.
const BATCH: usize = 256;
/// Maximum number of sessions in the table. A full table evicts its oldest ended session, or its oldest session if
/// none has ended.
const MAX_SESSIONS: usize = 500;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Session {
    connector: Arc<str>,
    session: Arc<str>,
    scroll: Option<String>,
    events: u64,
    ended: bool,
}

/// A handle to the table.
#[derive(Clone, Default)]
pub(crate) struct SessionTable(Arc<Mutex<Vec<Session>>>);

/// Starts the thread that updates the table until the bus closes.
pub(crate) fn start(bus: &Bus) -> SessionTable {
    let receiver = bus
        .subscription()
        .label("sessions")
        .queue_capacity(QUEUE)
        .overflow(Overflow::DropOldest)
        .subscribe();
    let sessions = SessionTable::default();
    let table = sessions.clone();
    thread::spawn(move || table.run(receiver));
    sessions
}

impl SessionTable {
    /// Returns the latest sessions, with the active ones before the ended ones, and the total number of sessions.
    pub(crate) fn latest(&self, limit: usize) -> (Vec<Session>, usize) {
        let table = self.lock();
        let latest = |ended| table.iter().rev().filter(move |session| session.ended == ended);
        let shown = latest(false).chain(latest(true)).take(limit).cloned().collect();
        (shown, table.len())
    }

    fn run(&self, mut receiver: BusReceiver<Record>) {
        let mut batch = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut batch, BATCH) > 0 {
            let mut table = self.lock();
            for delivery in batch.drain(..) {
                count(&mut table, &delivery);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(table: &mut Vec<Session>, delivery: &Delivery<Record>) {
    let record = &delivery.event;
    let Some(id) = &record.native_session_id else { return };
    let known = table
        .iter()
        .rposition(|session| session.session == *id && session.connector == record.connector_id);
    let index = known.unwrap_or_else(|| {
        evict_if_full(table);
        table.push(Session {
            connector: Arc::clone(&record.connector_id),
            session: Arc::clone(id),
            scroll: None,
            events: 0,
            ended: false,
        });
        table.len() - 1
    });
    let session = &mut table[index];
    session.events += 1;
    if record.kind == SESSION_ENDED {
        session.ended = true;
    } else if record.kind == SESSION_REGISTERED {
        session.ended = false;
    }
    if let Some(scroll) = delivery.routing.scroll_id {
        session.scroll = Some(scroll.to_string());
    }
}

fn evict_if_full(table: &mut Vec<Session>) {
    if table.len() == MAX_SESSIONS {
        let index = table.iter().position(|session| session.ended).unwrap_or(0);
        table.remove(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sharing_bus::EventOrigin;

    fn record(session: &str, kind: &str) -> Record {
        let line = format!(r#"{{"ts":"t","connector_id":"c","native_session_id":"{session}","kind":"{kind}"}}"#);
        serde_json::from_str(&line).unwrap()
    }

    fn table(records: impl IntoIterator<Item = Record>) -> SessionTable {
        let bus = Bus::new();
        let receiver = bus.subscription().queue_capacity(QUEUE).subscribe();
        for record in records {
            bus.publish(record.into_event(EventOrigin::Replay)).unwrap();
        }
        bus.shutdown();
        let sessions = SessionTable::default();
        sessions.run(receiver);
        sessions
    }

    fn summary(sessions: &SessionTable, limit: usize) -> Vec<(String, u64, bool)> {
        let (latest, _) = sessions.latest(limit);
        latest
            .iter()
            .map(|s| (s.session.to_string(), s.events, s.ended))
            .collect()
    }

    #[test]
    fn active_sessions_come_first_and_newer_ones_before_older_ones() {
        let sessions = table([
            record("a", "stdout"),
            record("b", "stdout"),
            record("c", "stdout"),
            record("b", SESSION_ENDED),
            record("a", "stdout"),
        ]);
        let all = [
            ("c".to_owned(), 1, false),
            ("a".to_owned(), 2, false),
            ("b".to_owned(), 2, true),
        ];
        assert_eq!(summary(&sessions, 9), all);
        assert_eq!(summary(&sessions, 2), all[..2]);
        assert_eq!(sessions.latest(2).1, 3);
    }

    #[test]
    fn full_table_evicts_an_ended_session() {
        let mut records: Vec<_> = (0..MAX_SESSIONS).map(|n| record(&n.to_string(), "stdout")).collect();
        records.push(record("7", SESSION_ENDED));
        records.push(record("new", "stdout"));
        let names: Vec<_> = summary(&table(records), MAX_SESSIONS)
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        assert_eq!(names.len(), MAX_SESSIONS);
        assert_eq!(names[0], "new");
        assert!(!names.contains(&"7".to_owned()) && names.contains(&"0".to_owned()));
    }
}
