//! The place of this process in its chain of restarts.

use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(1);

/// The place of this process in its chain of restarts: 1 for the first, 2 for its successor, and so on.
///
/// ```
/// assert_eq!(gracehttp::generation(), 1);
/// ```
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

pub(crate) fn set_generation(generation: u64) {
    GENERATION.store(generation, Ordering::Relaxed);
}
