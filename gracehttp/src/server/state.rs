//! The state of an application, as the requests of a server hold it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::lifecycle::{places, thread_number};

/// The most counts of one state.
const MOST_COUNTS: usize = 8;

/// The state that all handlers of a server read.
///
/// Each request holds it while its handler works. Threads that change one count of holders with each request would take its
/// cache line from each other, so the holders of different threads are counted apart.
#[derive(Debug)]
pub struct SharedState<S> {
    /// As many as a power of two.
    counts: Box<[Held<S>]>,
}

/// The state, for as long as a request needs it.
pub(crate) struct Held<S>(Arc<Count<S>>);

/// Two cache lines, since processors fetch them in pairs.
#[repr(align(128))]
struct Count<S>(Arc<S>);

impl<S> SharedState<S> {
    pub(crate) fn new(state: &Arc<S>) -> Self {
        let count = |_| Held(Arc::new(Count(state.clone())));
        Self { counts: (0..places(MOST_COUNTS)).map(count).collect() }
    }

    /// The state, held for this thread.
    pub(crate) fn hold(&self) -> Held<S> {
        Held(self.counts[thread_number() % self.counts.len()].0.clone())
    }
}

impl<S> Held<S> {
    /// The state for a handler that keeps it.
    pub(crate) fn share(&self) -> Arc<S> {
        self.0.0.clone()
    }
}

impl<S> Deref for Held<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0.0
    }
}

impl<S> fmt::Debug for Held<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}
