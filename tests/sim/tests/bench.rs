//! The benchmark's plans, at a size for every day.

use corten_sim::bench::{Size, run};

#[test]
fn the_same_seed_gives_the_same_plans_byte_for_byte() {
    let size = Size {
        machines: 50,
        units: 800,
        more: 20,
        lost: 5,
    };
    let first = run(1, size);
    assert_eq!(first.decisions, run(1, size).decisions);
    assert_ne!(first.decisions, run(2, size).decisions);
    assert!(first.moved > 0 && first.unplaced > 0, "{first:?}");
}
