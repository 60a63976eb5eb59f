//! A fixed number of random scenarios on real threads. `tests/soak.rs` runs scenarios for any length of time.

mod scenario;

use scenario::Summary;

#[test]
fn all_subscribers_agree_with_the_order_of_dispatch() {
    let mut total = Summary::default();
    for seed in 0..150 {
        total += scenario::run(seed);
    }
    // Scenarios in which nothing happens would pass every check.
    assert!(total.published > 10_000 && total.deliveries > 10_000, "{total:?}");
    assert!(
        total.lagged > 100 && total.bound > 1_000 && total.subscriptions > 500,
        "{total:?}"
    );
}
