//! A subscriber that cannot keep up. It loses some of its own events and does not affect other subscribers.

use std::thread;
use std::time::Duration;

use sharing_bus::BusReceiver;
use sharing_bus_example_sessions::Record;

use crate::summary::Tally;

/// Capacity of the queue. It is small, so that losses occur early.
pub(crate) const QUEUE_CAPACITY: usize = 32;

/// Sleeps for `delay` after each event while the bus is open, and then drains the queue.
pub(crate) fn receive_slowly(mut receiver: BusReceiver<Record>, delay: Duration) -> Tally {
    let mut tally = Tally::default();
    while let Ok(delivery) = receiver.recv() {
        tally.count(&delivery);
        if !receiver.is_closed() {
            thread::sleep(delay);
        }
    }
    tally.finish(&receiver)
}
