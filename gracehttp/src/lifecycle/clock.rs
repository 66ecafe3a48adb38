//! The clocks that a request reads, in nanoseconds. Both count from the same moment.

use nix::time::{ClockId, clock_gettime};

/// The time to the nanosecond.
pub(crate) fn precise() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// The time of a clock that costs a fraction of the other, and is some milliseconds behind.
pub(crate) fn coarse() -> u64 {
    read(ClockId::CLOCK_MONOTONIC_COARSE)
}

fn read(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
