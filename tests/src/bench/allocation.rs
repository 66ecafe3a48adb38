//! The heap of this process, if it has the counting allocator.

use stats_alloc::INSTRUMENTED_SYSTEM;

/// The bytes that are allocated and not freed. It is 0 unless [`INSTRUMENTED_SYSTEM`] is the global allocator.
pub fn live() -> usize {
    let counts = INSTRUMENTED_SYSTEM.stats();
    counts.bytes_allocated.saturating_sub(counts.bytes_deallocated)
}

/// How many times this process has allocated memory so far, or made a piece of it larger or smaller.
pub fn count() -> usize {
    let counts = INSTRUMENTED_SYSTEM.stats();
    counts.allocations + counts.reallocations
}
