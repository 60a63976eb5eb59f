//! Faults from outside: refused threads, leaked receivers, sleeping filters, crowds, a process that ends at once.

mod common;

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::*;
use sharing_bus::{EventFilter, Overflow, SharingBus};

/// Set where a test is run as a child, and nothing otherwise.
const CHILD: &str = "SHARING_BUS_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one of this file's ignored tests in a process of its own, behind `prelude` in a shell.
#[cfg(unix)]
fn in_its_own_process(test: &str, prelude: &str) -> std::process::Output {
    Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{prelude} exec \"$0\" --exact {test} --ignored --nocapture --test-threads=1"
        ))
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_refused_thread_is_a_build_error() {
    // A gigabyte of address space, and stacks of 128 MiB: room for a handful of threads, and for all else beside them.
    let prelude = "ulimit -v 1048576; export RUST_MIN_STACK=134217728;";
    let output = in_its_own_process("child_builds_until_it_is_refused", prelude);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(stdout.contains("refused"), "{stdout}");
}

#[test]
#[ignore = "run by a_refused_thread_is_a_build_error, in a process with little memory"]
fn child_builds_until_it_is_refused() {
    if !is_child() {
        return;
    }
    let mut buses: Vec<SharingBus> = Vec::new();
    loop {
        match SharingBus::builder().ingress_capacity(1).build() {
            Ok(bus) if buses.len() < 100 => buses.push(bus),
            Ok(_) => panic!("a hundred threads were not too many"),
            Err(error) => {
                assert!(matches!(error, sharing_bus::BuildError::Spawn(_)), "{error:?}");
                assert!(std::error::Error::source(&error).is_some());
                break;
            }
        }
    }
    // Those that there are go on working.
    let mut receiver = buses[0].subscribe_all();
    buses[0].publish(plain()).unwrap();
    assert!(receiver.recv_timeout(DEADLINE).is_ok());
    println!("refused after {} buses", buses.len());
}

#[test]
#[cfg(unix)]
fn a_process_may_end_with_the_bus_alive() {
    let output = in_its_own_process("child_exits_at_once", "");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(7),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "run by a_process_may_end_with_the_bus_alive, in a process of its own"]
fn child_exits_at_once() {
    if !is_child() {
        return;
    }
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    for n in 0..3 {
        let bus = bus.clone();
        thread::spawn(move || while bus.publish(number(n)).is_ok() {});
    }
    assert!(receiver.recv().is_ok());
    std::process::exit(7);
}

#[test]
fn a_leaked_receiver_costs_its_queue_and_nothing_else() {
    let bus = SharingBus::new();
    std::mem::forget(bus.subscription().queue_capacity(4).label("leaked").subscribe());
    let mut healthy = bus.subscribe_filtered(EventFilter::All, 100);
    for n in 0..100 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    assert_eq!(numbers(&drain(&mut healthy)), (0..100).collect::<Vec<_>>());
    let stats = bus.stats();
    let leaked = &stats.subscribers[0];
    assert_eq!((leaked.queued, leaked.delivered, leaked.lagged), (4, 4, 96));
    // It can still be taken off the bus, by its id.
    assert!(bus.unsubscribe(leaked.id));
    bus.shutdown();
    assert_closed(&mut healthy);
}

#[test]
fn a_sleeping_filter_delays_and_loses_nothing() {
    let bus = SharingBus::builder().ingress_capacity(4).build().unwrap();
    let sleepy = bus.subscribe_filtered(
        EventFilter::custom(|_| {
            thread::sleep(Duration::from_micros(100));
            true
        }),
        64,
    );
    let mut healthy = bus.subscribe_filtered(EventFilter::All, 64);
    for n in 0..50 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    assert_eq!(sleepy.len(), 50);
    assert_eq!(numbers(&drain(&mut healthy)), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_crowd_of_subscribers_is_served_and_goes_at_once() {
    const CROWD: usize = 5_000;
    let bus = SharingBus::new();
    let mut crowd: Vec<_> = (0..CROWD)
        .map(|_| bus.subscribe_filtered(EventFilter::All, 1))
        .collect();
    bus.publish(number(1)).unwrap();
    bus.flush();
    assert!(crowd.iter_mut().all(|receiver| drain(receiver).len() == 1));
    drop(crowd);
    bus.flush();
    assert_eq!((bus.subscriber_count(), bus.stats().reaped), (0, CROWD as u64));
}

#[test]
#[ignore = "a minute and a half: cargo test --release --test faults -- --ignored hundred"]
fn a_hundred_thousand_subscribers() {
    const CROWD: u64 = 100_000;
    let bus = SharingBus::new();
    let subscribe = |n: u64| {
        let overflow = if n % 2 == 0 {
            Overflow::DropNewest
        } else {
            Overflow::DropOldest
        };
        let builder = bus.subscription().queue_capacity(1).overflow(overflow);
        builder.filter(EventFilter::ScrollId(scroll(n.into()))).subscribe()
    };
    let mut crowd: Vec<_> = (0..CROWD).map(subscribe).collect();
    let of_scroll = |n: u64| {
        let mut event = number(n);
        event.routing.scroll_id = Some(scroll(n.into()));
        event
    };
    for n in (0..CROWD).step_by(1000) {
        bus.publish(of_scroll(n)).unwrap();
    }
    bus.flush();
    for (n, receiver) in crowd.iter_mut().enumerate() {
        assert_eq!(drain(receiver).len(), usize::from(n % 1000 == 0));
    }
    drop(crowd);
    bus.flush();
    let stats = bus.stats();
    assert_eq!(
        (stats.reaped, stats.delivered, stats.subscribers.len()),
        (CROWD, CROWD / 1000, 0)
    );
}
