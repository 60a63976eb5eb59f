//! An idle bus uses no CPU: its dispatch thread sleeps, and neither a timer nor another thread wakes it.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use common::*;
use sharing_bus::{EventFilter, SharingBus};

/// Returns the path under `/proc` of the thread with this name.
fn thread_named(name: &str) -> Option<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    tasks
        .map(|task| task.path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
}

/// Returns the lines that count the thread's voluntary and involuntary context switches.
fn switches(task: &Path) -> Vec<String> {
    let status = fs::read_to_string(task.join("status")).unwrap();
    status
        .lines()
        .filter(|line| line.contains("ctxt_switches"))
        .map(str::to_owned)
        .collect()
}

fn is_asleep(task: &Path) -> bool {
    fs::read_to_string(task.join("status")).is_ok_and(|status| status.contains("State:\tS"))
}

fn assert_sleeps_when_idle(assisted: bool, name: &str) {
    let builder = SharingBus::<Number>::builder().assisted_dispatch(assisted);
    let bus = builder.thread_name(name).build().unwrap();
    let _waiting = bus.subscribe_filtered(EventFilter::All, 2000);
    let dropped = bus.subscribe_all();
    for n in 0..1000 {
        bus.publish(number(n)).unwrap();
    }
    drop(dropped);
    bus.flush();
    // The dispatch thread sets its own name, so the name may appear late.
    let mut task = None;
    wait_until("the thread has its name", || {
        task = thread_named(name);
        task.is_some()
    });
    let task = task.unwrap();
    wait_until("the thread sleeps", || {
        let before = switches(&task);
        thread::sleep(Duration::from_millis(20));
        is_asleep(&task) && switches(&task) == before
    });
    let before = switches(&task);
    assert_eq!(before.len(), 2);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(switches(&task), before, "the idle thread must not run");
}

#[test]
fn the_dispatch_thread_sleeps_when_idle() {
    assert_sleeps_when_idle(false, "idle-default");
}

#[test]
fn the_dispatch_thread_of_an_assisted_bus_sleeps_when_idle() {
    assert_sleeps_when_idle(true, "idle-assisted");
}
