//! A subscriber that cannot keep up: it loses its own events and nobody else's.

use std::thread;
use std::time::Duration;

use sharing_bus::BusReceiver;
use sharing_bus_example_sessions::Record;

use crate::summary::Tally;

/// Small, so that it shows soon.
pub(crate) const QUEUE_CAPACITY: usize = 32;

/// Spends `delay` on every event as long as the bus is open.
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
