//! The archive with a real server: order, acknowledgments, duplicates, restarts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Config;
use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventOrigin, EventRouting, SharingBus};
use sharing_bus_nats::{Archive, ArchiveOptions, ArchiveReader, ArchiveStats, Archived, NatsOptions};
use sharing_bus_nats_test_server::{Options, Server};
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

fn nats(server: &Server) -> NatsOptions {
    NatsOptions::new(server.url()).realm("test").queue_capacity(100_000)
}

fn scroll(session: u64) -> Uuid {
    Uuid::from_u128(session.into())
}

fn text(session: u64, n: u64) -> BusEvent {
    let mut routing = EventRouting::session("shell", session.to_string(), EventKind::Output);
    // For even sessions, every second event has no scroll. Every fourth event has no session.
    if n % 2 == 1 || session % 2 == 1 {
        routing.scroll_id = Some(scroll(session));
    }
    if n % 4 == 3 {
        routing.connector_id = None;
        routing.native_session_id = None;
    }
    BusEvent::new(routing, Event::Text { text: n.to_string() })
}

fn number(archived: &Archived<Event>) -> u64 {
    match &*archived.event.event {
        Event::Text { text } => text.parse().unwrap(),
        other => panic!("unexpected event: {other:?}"),
    }
}

fn read(reader: &mut ArchiveReader<Event>, count: usize) -> Vec<Archived<Event>> {
    let deadline = Instant::now() + LONG;
    let mut all = Vec::new();
    while all.len() < count && Instant::now() < deadline {
        all.extend(reader.next_batch(100, SHORT));
    }
    // One more call proves that no more events arrive.
    all.extend(reader.next_batch(100, SHORT));
    all
}

fn reader(server: &Server, filter: EventFilter) -> ArchiveReader<Event> {
    ArchiveReader::open(nats(server), filter, 0).unwrap()
}

fn wait_for(archive: &Archive, condition: &str, reached: impl Fn(&ArchiveStats) -> bool) {
    let deadline = Instant::now() + LONG;
    while !reached(&archive.stats()) {
        assert!(
            Instant::now() < deadline,
            "timed out waiting until {condition}: {:?}",
            archive.stats()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asserts that the events of each session and of each scroll are stored once and in order.
fn check(all: &[Archived<Event>], sessions: u64, each: u64) {
    assert_eq!(all.len() as u64, sessions * each);
    let mut sequences: Vec<u64> = all.iter().map(|archived| archived.sequence).collect();
    sequences.sort_unstable();
    assert!(
        sequences.iter().copied().eq(1..=sessions * each),
        "no event is repeated or missing"
    );
    assert!(all.is_sorted_by(|one, next| one.position < next.position));
    let mut of_session: HashMap<_, Vec<u64>> = HashMap::new();
    let mut of_scroll: HashMap<_, Vec<u64>> = HashMap::new();
    for archived in all {
        let routing = &archived.event.routing;
        if let Some(session) = &routing.native_session_id {
            of_session.entry(session.clone()).or_default().push(number(archived));
        }
        if let Some(scroll) = routing.scroll_id {
            of_scroll.entry(scroll).or_default().push(number(archived));
        }
    }
    for (session, numbers) in of_session {
        assert!(numbers.is_sorted(), "session {session}: {numbers:?}");
    }
    for (scroll, numbers) in of_scroll {
        assert!(numbers.is_sorted(), "scroll {scroll}: {numbers:?}");
    }
}

#[test]
fn essential_events_of_this_host_are_stored() {
    let server = Server::start_jetstream();
    let bus = SharingBus::<Event>::new();
    let archive = Archive::start(&bus, nats(&server), ArchiveOptions::new()).unwrap();
    let long = "connector ".repeat(20);
    let essential = BusEvent {
        routing: EventRouting {
            connector_uid: Some(Uuid::from_u128(9)),
            scroll_id: Some(scroll(1)),
            ..EventRouting::session(long, "_", EventKind::Message)
        },
        ..text(0, 7)
    }
    .with_origin(EventOrigin::User);
    bus.publish(essential.clone()).unwrap();
    let progress = EventRouting::session("shell", "1", EventKind::Progress);
    bus.publish(BusEvent::new(progress, Event::Connected)).unwrap();
    bus.publish(essential.clone().with_origin(EventOrigin::Remote)).unwrap();
    bus.flush();
    let stats = archive.shutdown(LONG);
    assert_eq!((stats.accepted, stats.stored, stats.unsettled()), (1, 1, 0));

    let all = read(&mut reader(&server, EventFilter::All), 1);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].event.routing, essential.routing);
    assert_eq!(all[0].event.origin, EventOrigin::User);
    assert_eq!(all[0].event.event, essential.event);
    // Filters that need one subject, several subjects, and no subject.
    for (filter, count) in [
        (EventFilter::ScrollId(scroll(1)), 1),
        (EventFilter::ScrollId(scroll(2)), 0),
        (
            EventFilter::any([EventFilter::ScrollId(scroll(1)), EventFilter::ScrollId(scroll(2))]),
            1,
        ),
        (
            EventFilter::all([
                EventFilter::ScrollId(scroll(1)),
                EventFilter::Origin(EventOrigin::Runtime),
            ]),
            0,
        ),
        (EventFilter::any([]), 0),
    ] {
        assert_eq!(
            read(&mut reader(&server, filter.clone()), count).len(),
            count,
            "{filter}"
        );
    }
}

#[test]
fn events_are_stored_once_and_in_order_across_server_restarts() {
    const SESSIONS: u64 = 20;
    const EACH: u64 = 400;
    let mut server = Server::absent(&Options {
        jetstream: true,
        ..Options::default()
    });
    let bus = SharingBus::<Event>::new();
    let archive = Archive::start(&bus, nats(&server), ArchiveOptions::new()).unwrap();
    let publisher = {
        let bus = bus.clone();
        std::thread::spawn(move || {
            for n in 0..EACH {
                for session in 0..SESSIONS {
                    bus.publish(text(session, n)).unwrap();
                }
            }
        })
    };
    server.restart();
    for stored in [200, 2000, 5000] {
        wait_for(&archive, "the events are stored", |stats| stats.stored >= stored);
        server.kill();
        server.restart();
    }
    publisher.join().unwrap();
    bus.flush();
    let stats = archive.shutdown(LONG);
    assert_eq!((stats.stored, stats.unsettled(), stats.lagged), (SESSIONS * EACH, 0, 0));
    assert!(stats.retried > 0, "{stats:?}");
    check(
        &read(&mut reader(&server, EventFilter::All), (SESSIONS * EACH) as usize),
        SESSIONS,
        EACH,
    );
}

#[test]
fn late_acknowledgment_does_not_store_an_event_twice() {
    let server = Server::start_jetstream();
    let bus = SharingBus::<Event>::new();
    let archive = Archive::start(&bus, nats(&server), ArchiveOptions::new()).unwrap();
    bus.publish(text(1, 0)).unwrap();
    wait_for(&archive, "the events are stored", |stats| stats.stored == 1);
    let retried = archive.stats().retried;
    server.pause();
    for n in 1..20 {
        bus.publish(text(1, n)).unwrap();
        bus.publish(text(3, n)).unwrap();
    }
    // Both pending events are sent again, so the server receives two copies of each.
    wait_for(&archive, "the events are sent again", |stats| {
        stats.retried >= retried + 2
    });
    server.resume();
    bus.flush();
    let stats = archive.shutdown(LONG);
    assert_eq!((stats.stored, stats.unsettled()), (39, 0));
    assert!(stats.duplicates > 0, "{stats:?}");
    let all = read(&mut reader(&server, EventFilter::All), 39);
    assert_eq!(all.len(), 39);
    for session in [1, 3] {
        let of_scroll = all
            .iter()
            .filter(|archived| archived.event.routing.scroll_id == Some(scroll(session)));
        let numbers: Vec<u64> = of_scroll.map(number).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

#[test]
fn refused_events_are_counted_and_do_not_delay_others() {
    let server = Server::start_with(&Options {
        jetstream: true,
        max_payload: Some(2048),
        ..Options::default()
    });
    let bus = SharingBus::<Event>::new();
    let stream = Config {
        max_message_size: 1024,
        ..Config::default()
    };
    let archive = Archive::start(&bus, nats(&server), ArchiveOptions::new().stream(stream)).unwrap();
    for size in [10, 1200, 4000, 10] {
        let routing = EventRouting::session("shell", "1", EventKind::Output);
        bus.publish(BusEvent::new(routing, Event::Text { text: "x".repeat(size) }))
            .unwrap();
    }
    bus.flush();
    let stats = archive.shutdown(LONG);
    assert_eq!(
        (stats.accepted, stats.stored, stats.refused, stats.unsettled()),
        (4, 2, 2, 0)
    );
}

#[test]
fn bus_continues_without_a_server_and_losses_are_counted() {
    let server = Server::absent(&Options::default());
    let bus = SharingBus::<Event>::new();
    let archive = Archive::start(
        &bus,
        nats(&server).queue_capacity(8).in_flight(4),
        ArchiveOptions::new(),
    )
    .unwrap();
    let mut view = bus.subscribe_filtered(EventFilter::All, 1000);
    for n in 0..100 {
        bus.publish(text(1, n)).unwrap();
    }
    bus.flush();
    assert_eq!(view.try_iter().count(), 100);
    let stats = archive.shutdown(SHORT);
    assert_eq!(stats.stored, 0);
    assert_eq!(stats.accepted + stats.lagged, 100);
    assert!(stats.unsettled() > 0 && stats.lagged >= 88, "{stats:?}");
}

#[test]
fn reader_resumes_at_its_position_after_a_server_restart() {
    let mut server = Server::start_jetstream();
    let bus = SharingBus::<Event>::new();
    let archive = Archive::start(&bus, nats(&server), ArchiveOptions::new()).unwrap();
    for n in 0..300 {
        bus.publish(text(n % 3, n)).unwrap();
    }
    wait_for(&archive, "the events are stored", |stats| stats.stored == 300);
    let mut first = reader(&server, EventFilter::All);
    let mut all = Vec::new();
    while all.len() < 100 {
        all.extend(first.next_batch(30, LONG));
    }
    // The first reader continues after a restart of the server. A second reader resumes at the position of the 100th
    // event.
    server.kill();
    assert!(first.next_batch(30, SHORT).len() <= 30);
    server.restart();
    let mut second = ArchiveReader::open(nats(&server), EventFilter::All, all[99].position).unwrap();
    let mut resumed = read(&mut second, 200);
    assert_eq!(resumed.len(), 200);
    for n in 300..320 {
        bus.publish(text(n % 3, n)).unwrap();
    }
    resumed.extend(read(&mut second, 20));
    all.truncate(100);
    all.extend(resumed);
    assert_eq!(
        all.iter().map(|archived| archived.position).collect::<Vec<_>>(),
        (1..=320).collect::<Vec<_>>()
    );
    let rest = read(&mut first, 1);
    assert_eq!(rest.last().unwrap().position, 320);
    assert_eq!(first.malformed() + second.malformed(), 0);
    drop(archive);
}
