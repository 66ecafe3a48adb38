//! How every part of a process learns that its time is ending.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What a generation does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// A successor accepts in its place: connections that can move go to it, the others finish.
    HandingOver,
    /// It stops: connections get time for a last request, which is answered with `Connection: close`.
    Stopping,
    /// The grace for a last request is over: what is idle is closed, what is in flight finishes.
    ClosingIdle,
    /// The deadline has come: everything is closed.
    Cutting,
}

impl Phase {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Phase::Serving,
            1 => Phase::HandingOver,
            2 => Phase::Stopping,
            3 => Phase::ClosingIdle,
            _ => Phase::Cutting,
        }
    }

    /// Whether the drain has begun.
    pub(crate) fn is_draining(self) -> bool {
        self != Phase::Serving
    }
}

/// The phase of the process, shared by all of its connections.
///
/// Reading it is one atomic load, since every connection reads it at every turn.
#[derive(Clone)]
pub(crate) struct Drain {
    shared: Arc<Shared>,
}

struct Shared {
    phase: AtomicU8,
    changed: Notify,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared { phase: AtomicU8::new(Phase::Serving as u8), changed: Notify::new() }),
        }
    }

    /// The phase at this moment.
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_u8(self.shared.phase.load(Ordering::Acquire))
    }

    /// Enters a phase and wakes all who wait for a change.
    pub(crate) fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Release);
        self.shared.changed.notify_waiters();
    }

    /// Resolves at the next change after this call. Read [`phase`](Self::phase) *after* making it, or a
    /// change between the two is missed.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// Resolves once the drain has begun.
    pub(crate) async fn begun(&self) {
        self.reached(Phase::HandingOver).await;
    }

    /// Resolves once this phase has begun, or one that comes after it.
    pub(crate) async fn reached(&self, phase: Phase) {
        loop {
            let changed = self.changed();
            if self.phase() >= phase {
                return;
            }
            changed.await;
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.phase()).finish()
    }
}
