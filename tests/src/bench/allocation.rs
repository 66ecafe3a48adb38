//! The size of this process's heap, in a benchmark that has the counting allocator.

use stats_alloc::INSTRUMENTED_SYSTEM;

/// The bytes that are allocated and not freed. It is 0 unless [`INSTRUMENTED_SYSTEM`] is the global allocator.
pub fn live() -> usize {
    let counts = INSTRUMENTED_SYSTEM.stats();
    counts.bytes_allocated.saturating_sub(counts.bytes_deallocated)
}
