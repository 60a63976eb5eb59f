//! Random scenarios on real threads, a fixed number of them; `tests/soak.rs` runs them for as long as you like.

mod scenario;

use scenario::Summary;

#[test]
fn what_everybody_saw_agrees_with_the_order_of_dispatch() {
    let mut total = Summary::default();
    for seed in 0..150 {
        total += scenario::run(seed);
    }
    // A check of nothing would pass as well.
    assert!(total.published > 10_000 && total.deliveries > 10_000, "{total:?}");
    assert!(
        total.lagged > 100 && total.bound > 1_000 && total.subscriptions > 500,
        "{total:?}"
    );
}
