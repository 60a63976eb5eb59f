//! External faults: refused threads, leaked receivers, sleeping filters, and a process that exits with an open bus.
//! Large numbers of subscribers, and large and deep filters, are tested here too.

mod common;

#[cfg(unix)]
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::*;
use sharing_bus::{EventFilter, Overflow, SharingBus};

/// Name of the environment variable that marks a child process of these tests.
const CHILD: &str = "SHARING_BUS_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs an ignored test of this file in a child process. A shell runs `prelude` first.
#[cfg(unix)]
fn run_in_child_process(test: &str, prelude: &str) -> std::process::Output {
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
    // One gibibyte of address space holds a few stacks of 128 MiB and the rest of the process.
    let prelude = "ulimit -v 1048576; export RUST_MIN_STACK=134217728;";
    let output = run_in_child_process("child_builds_buses_until_a_thread_is_refused", prelude);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(stdout.contains("refused"), "{stdout}");
}

#[test]
#[ignore = "run by a_refused_thread_is_a_build_error, in a process with limited memory"]
fn child_builds_buses_until_a_thread_is_refused() {
    if !is_child() {
        return;
    }
    let mut buses: Vec<SharingBus> = Vec::new();
    loop {
        match SharingBus::builder().ingress_capacity(1).build() {
            Ok(bus) if buses.len() < 100 => buses.push(bus),
            Ok(_) => panic!("100 threads were created despite the memory limit"),
            Err(error) => {
                assert!(matches!(error, sharing_bus::BuildError::Spawn(_)), "{error:?}");
                assert!(std::error::Error::source(&error).is_some());
                break;
            }
        }
    }
    // The buses that were built still work.
    let mut receiver = buses[0].subscribe_all();
    buses[0].publish(plain()).unwrap();
    assert!(receiver.recv_timeout(DEADLINE).is_ok());
    println!("refused after {} buses", buses.len());
}

#[test]
#[cfg(unix)]
fn a_process_may_exit_while_a_bus_is_open() {
    let output = run_in_child_process("child_exits_while_publishing", "");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(7),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "run by a_process_may_exit_while_a_bus_is_open, in a child process"]
fn child_exits_while_publishing() {
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
fn a_leaked_receiver_holds_only_its_queue() {
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
    // The subscription can still be ended by its id.
    assert!(bus.unsubscribe(leaked.id));
    bus.shutdown();
    assert_closed(&mut healthy);
}

#[test]
fn a_sleeping_filter_loses_no_event() {
    let bus = SharingBus::builder().ingress_capacity(4).build().unwrap();
    let slow = bus.subscribe_filtered(
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
    assert_eq!(slow.len(), 50);
    assert_eq!(numbers(&drain(&mut healthy)), (0..50).collect::<Vec<_>>());
}

#[test]
fn five_thousand_subscribers_receive_and_are_reaped_together() {
    const SUBSCRIBERS: usize = 5_000;
    let bus = SharingBus::new();
    let mut receivers: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| bus.subscribe_filtered(EventFilter::All, 1))
        .collect();
    bus.publish(number(1)).unwrap();
    bus.flush();
    assert!(receivers.iter_mut().all(|receiver| drain(receiver).len() == 1));
    drop(receivers);
    bus.flush();
    assert_eq!((bus.subscriber_count(), bus.stats().reaped), (0, SUBSCRIBERS as u64));
}

#[test]
#[ignore = "takes 90 seconds: cargo test --release --test faults -- --ignored hundred"]
fn a_hundred_thousand_subscribers_receive_their_own_events() {
    const SUBSCRIBERS: u64 = 100_000;
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
    let mut receivers: Vec<_> = (0..SUBSCRIBERS).map(subscribe).collect();
    for n in (0..SUBSCRIBERS).step_by(1000) {
        bus.publish(scroll_event(n, n.into())).unwrap();
    }
    bus.flush();
    for (n, receiver) in receivers.iter_mut().enumerate() {
        assert_eq!(drain(receiver).len(), usize::from(n % 1000 == 0));
    }
    drop(receivers);
    bus.flush();
    let stats = bus.stats();
    assert_eq!(
        (stats.reaped, stats.delivered, stats.subscribers.len()),
        (SUBSCRIBERS, SUBSCRIBERS / 1000, 0)
    );
}

/// Runs `test` on a thread with a small stack.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 * 1024);
    thread.spawn(test).unwrap().join().unwrap();
}

/// A filter that a loop builds from `first`, one step at a time.
type Step = fn(EventFilter<Number>, u128) -> EventFilter<Number>;

const STEPS: [(&str, Step); 5] = [
    ("any", |filter, n| {
        EventFilter::any([filter, EventFilter::ScrollId(scroll(n))])
    }),
    ("any, in front", |filter, n| {
        EventFilter::any([EventFilter::ScrollId(scroll(n)), filter])
    }),
    ("all", |filter, n| {
        EventFilter::all([filter, EventFilter::not(EventFilter::ScrollId(scroll(n)))])
    }),
    ("not", |filter, _| EventFilter::not(filter)),
    ("all within not", |filter, n| {
        let neither = [
            EventFilter::not(filter),
            EventFilter::not(EventFilter::ScrollId(scroll(n))),
        ];
        EventFilter::not(EventFilter::all(neither))
    }),
];

/// Quadratic time would take minutes, so the test would be noticed.
#[test]
fn a_filter_built_in_a_hundred_thousand_steps_works_like_any_other() {
    for (name, step) in STEPS {
        on_a_small_stack(move || {
            let filter = (0..100_000).fold(EventFilter::ScrollId(scroll(0)), step);
            let bus = SharingBus::new();
            let mut receiver = bus.subscribe_filtered(filter.clone(), 4);
            let (first, last) = (scroll_event(1, 0), scroll_event(2, 99_999));
            let expected: Vec<_> = [&first, &last].map(|event| filter.matches(event)).into();
            publish_all(&bus, [first, last]);
            let received = numbers(&drain(&mut receiver));
            assert_eq!([1, 2].map(|n| received.contains(&n)).to_vec(), expected, "{name}");
            assert_eq!(
                expected,
                [name != "all", name.contains("any") || name.contains("within")],
                "{name}"
            );
            assert_eq!(bus.stats().subscribers[0].filter, filter.to_string(), "{name}");
        });
    }
}

/// The variants can build a filter that no constructor returns.
fn by_variants(depth: usize, list: fn(Arc<[EventFilter<Number>]>) -> EventFilter<Number>) -> EventFilter<Number> {
    (0..depth).fold(EventFilter::Kind(sharing_bus::EventKind::Tool), |filter, _| {
        list([filter, EventFilter::ScrollId(scroll(1))].into())
    })
}

#[test]
fn a_filter_of_any_depth_can_be_dropped_cloned_and_printed() {
    on_a_small_stack(|| {
        let negated = (0..100_000).fold(EventFilter::All, |filter, _| EventFilter::Not(Arc::new(filter)));
        assert!(negated.matches(&number(1)), "an even number of negations");
        for filter in [
            by_variants(100_000, EventFilter::Any),
            by_variants(100_000, EventFilter::Every),
            negated,
        ] {
            let text = filter.to_string();
            assert_eq!(text.matches('(').count(), text.matches(')').count());
            let debug = format!("{filter:?}");
            assert_eq!(debug, format!("EventFilter({text})"));
            let shared = filter.clone();
            drop(filter);
            drop(shared);
        }
    });
}

#[test]
fn filters_that_share_their_parts_can_be_dropped_by_several_threads() {
    let mut filters = vec![EventFilter::<Number>::All];
    for _ in 0..100_000 {
        let inner = filters.last().unwrap().clone();
        filters.push(EventFilter::Not(Arc::new(inner)));
    }
    let whole = filters.last().unwrap().clone();
    let others = thread::spawn(move || drop(filters));
    on_a_small_stack(move || drop(whole));
    others.join().unwrap();
}

#[test]
fn the_deepest_allowed_filter_works_on_a_small_stack() {
    on_a_small_stack(|| {
        let scrolls = || (1..=40).map(|n| EventFilter::ScrollId(scroll(n)));
        let deepest = (0..128).fold(EventFilter::All, |filter, level| match level % 2 {
            // The second list has runs.
            0 => EventFilter::all([EventFilter::not(filter), EventFilter::All]),
            _ => EventFilter::any([EventFilter::any(scrolls()), EventFilter::not(filter)]),
        });
        let bus = SharingBus::new();
        let mut receiver = bus.subscribe_filtered(deepest.clone(), 4);
        let event = scroll_event(1, 2);
        let expected = usize::from(deepest.matches(&event));
        publish_all(&bus, [event]);
        assert_eq!(drain(&mut receiver).len(), expected);
    });
}
