//! Late joiners: the transition from the backlog to live events.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::SharingBus;
use sharing_bus_loom_tests::{event, model};

/// A late joiner receives each of two events once and in order, as part of the backlog or as a live event.
#[test]
fn a_late_joiner_races_publish() {
    model("a_late_joiner_races_publish", 3, || {
        let bus: SharingBus = SharingBus::builder().ingress_capacity(4).history(2).build().unwrap();
        let other = bus.clone();
        let publisher = thread::spawn(move || {
            other.publish(event()).unwrap();
            other.publish(event()).unwrap();
        });
        let mut late = bus.subscription().queue_capacity(4).backlog(2).subscribe();
        publisher.join().unwrap();
        bus.shutdown();

        let seen: Vec<_> = late.try_iter().collect();
        let sequences: Vec<_> = seen.iter().map(|delivery| delivery.sequence()).collect();
        assert_eq!(sequences, [1, 2], "the sequences have a gap or a duplicate");
        assert!(
            seen.is_sorted_by_key(|delivery| !delivery.is_backlog()),
            "a live event came before a backlog event"
        );
    });
}

/// A receiver gets its backlog even if no event is published after it subscribed.
#[test]
fn a_backlog_races_its_receiver() {
    model("a_backlog_races_its_receiver", 3, || {
        let bus: SharingBus = SharingBus::builder().ingress_capacity(2).history(1).build().unwrap();
        bus.publish(event()).unwrap();
        bus.flush();
        let mut late = bus.subscription().queue_capacity(1).backlog(1).subscribe();
        let receiver = thread::spawn(move || late.recv().unwrap().is_backlog());
        assert!(receiver.join().unwrap());
    });
}

/// Events published before a subscription are part of its backlog, and never live, even if dispatch has not seen them.
/// They do not fit into one batch.
#[test]
fn a_backlog_holds_the_events_before_the_cut() {
    model("a_backlog_holds_the_events_before_the_cut", 2, || {
        let bus: SharingBus = SharingBus::builder().ingress_capacity(4).history(3).build().unwrap();
        for _ in 0..3 {
            bus.publish(event()).unwrap();
        }
        let mut late = bus.subscription().queue_capacity(4).backlog(3).subscribe();
        for _ in 0..3 {
            assert!(late.recv().unwrap().is_backlog(), "an event before the cut is live");
        }
    });
}

/// The backlog takes more than one slice. An event that is dispatched between two slices follows it, once.
#[test]
fn an_unfinished_backlog_races_publish() {
    model("an_unfinished_backlog_races_publish", 2, || {
        let bus: SharingBus = SharingBus::builder().ingress_capacity(4).history(2).build().unwrap();
        bus.publish(event()).unwrap();
        bus.publish(event()).unwrap();
        bus.flush();
        let other = bus.clone();
        let publisher = thread::spawn(move || other.publish(event()).unwrap());
        let mut late = bus.subscription().queue_capacity(4).backlog(2).subscribe();
        publisher.join().unwrap();
        bus.shutdown();

        let seen: Vec<_> = late.try_iter().collect();
        let sequences: Vec<_> = seen.iter().map(|delivery| delivery.sequence()).collect();
        assert!(
            sequences == [1, 2, 3] || sequences == [2, 3],
            "the sequences have a gap or a duplicate"
        );
        assert!(seen.is_sorted_by_key(|delivery| !delivery.is_backlog()));
    });
}
