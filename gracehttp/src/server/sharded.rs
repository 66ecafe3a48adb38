//! What all threads use for each request, without a count that they all change: its cache line would go from core to
//! core.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads have a shard of their own.
pub(crate) const SHARDS: usize = 16;

/// The calling thread's shard.
pub(crate) fn shard() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard)
}

/// A shared value of which each thread counts its own references.
pub(crate) struct Sharded<T>(Box<[Shared<T>]>);

impl<T> Sharded<T> {
    pub(crate) fn new(value: &Arc<T>) -> Self {
        Self((0..SHARDS).map(|_| Shared(Arc::new(OwnLine(value.clone())))).collect())
    }

    /// A reference to the value that this thread counts.
    pub(crate) fn share(&self) -> Shared<T> {
        Shared(self.0[shard()].0.clone())
    }
}

/// A reference to the value of a [`Sharded`].
pub(crate) struct Shared<T>(Arc<OwnLine<T>>);

/// On cache lines of its own, and so is the count in front of it.
#[repr(align(128))]
struct OwnLine<T>(Arc<T>);

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_changes_the_count_of_its_thread_alone() {
        let value = Arc::new(7);
        let sharded = Sharded::new(&value);
        let shared = sharded.share();
        assert_eq!((*shared, Arc::strong_count(&shared.0)), (7, 2));
        let untouched = sharded.0.iter().filter(|other| Arc::strong_count(&other.0) == 1);
        assert_eq!((untouched.count(), Arc::strong_count(&value)), (SHARDS - 1, SHARDS + 1));
    }
}
