//! The clock that leases are counted on.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The time since the machine booted, that in which it was suspended included (CLOCK_BOOTTIME, clock_gettime(2)): the same
/// clock for every life of the supervisor, until the next boot.
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME);
    now.expect("Linux has this clock since 2.6.39").into()
}
