//! The phases of a process, and how its parts learn of them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use tokio::sync::futures::Notified;

use crate::sync::{AtomicU32, Mutex, MutexGuard, Notify, Ordering};

/// What a generation does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// A successor accepts in its place: connections that can move go to it, the others finish.
    HandingOver,
    /// As before, but there is no room in the successor now: those that could move are served here meanwhile.
    SuccessorFull,
    /// It stops: connections get time for a last request, which is answered with `Connection: close`.
    Stopping,
    /// The grace for a last request is over: what is idle is closed, what is in flight finishes.
    ClosingIdle,
    /// The deadline has come: everything is closed.
    Cutting,
}

impl Phase {
    fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Phase::Serving,
            1 => Phase::HandingOver,
            2 => Phase::SuccessorFull,
            3 => Phase::Stopping,
            4 => Phase::ClosingIdle,
            _ => Phase::Cutting,
        }
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
    stamp: AtomicU32,
    changed: Notify,
    /// Held while a phase is entered, and while a task registers for the next change.
    entering: Mutex<()>,
}

/// A phase, and the number of changes before it: a phase that comes again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    const PHASE_BITS: u32 = 3;

    pub(crate) fn phase(self) -> Phase {
        Phase::from_bits(self.0 & ((1 << Self::PHASE_BITS) - 1))
    }

    fn next(self, phase: Phase) -> Self {
        let changes = (self.0 >> Self::PHASE_BITS).wrapping_add(1);
        Self(changes << Self::PHASE_BITS | phase as u32)
    }
}

impl Drain {
    pub(crate) fn new() -> Self {
        let stamp = AtomicU32::new(Phase::Serving as u32);
        Self { shared: Arc::new(Shared { stamp, changed: Notify::new(), entering: Mutex::new(()) }) }
    }

    /// The phase at this moment.
    pub(crate) fn phase(&self) -> Phase {
        self.stamp().phase()
    }

    fn stamp(&self) -> Stamp {
        Stamp(self.shared.stamp.load(Ordering::Acquire))
    }

    /// Enters a phase and wakes all tasks that wait for a change.
    pub(crate) fn enter(&self, phase: Phase) {
        self.change(phase, &self.entering());
    }

    /// Enters a phase from just this one. In any other it changes nothing: another part has decided meanwhile.
    pub(crate) fn enter_from(&self, from: Phase, phase: Phase) {
        let entering = self.entering();
        if self.phase() == from {
            self.change(phase, &entering);
        }
    }

    /// Wakes all tasks that wait for a change, as if the current phase began again.
    pub(crate) fn remind(&self) {
        let entering = self.entering();
        self.change(self.phase(), &entering);
    }

    fn change(&self, phase: Phase, _entering: &MutexGuard<'_, ()>) {
        self.shared.stamp.store(self.stamp().next(phase).0, Ordering::Release);
        self.shared.changed.notify_waiters();
    }

    fn entering(&self) -> MutexGuard<'_, ()> {
        self.shared.entering.lock()
    }

    /// The phase at this moment, for a task that is woken at the next change, and asks again then. `changed` and
    /// `seen` are its memory, the latter empty at first.
    ///
    /// While nothing changes it is one atomic load.
    pub(crate) fn poll_phase<'a>(
        &'a self,
        mut changed: Pin<&mut Notified<'a>>,
        seen: &mut Option<Stamp>,
        cx: &mut Context<'_>,
    ) -> Phase {
        let stamp = self.stamp();
        if *seen == Some(stamp) {
            return stamp.phase();
        }

        // Not in the midst of a change, whose wake-up would be spent on the phase that we see already.
        let _entering = self.entering();
        changed.set(self.changed());
        // Made just now, it can't have come to its end.
        let _ = changed.as_mut().poll(cx);
        let stamp = self.stamp();
        *seen = Some(stamp);
        stamp.phase()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_phase_that_comes_again_is_a_change() {
        let drain = Drain::new();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let (mut changed, mut seen) = (pin!(drain.changed()), None);
        drain.enter(Phase::HandingOver);
        assert_eq!(drain.poll_phase(changed.as_mut(), &mut seen, &mut cx), Phase::HandingOver);
        // There and back before the task comes to look.
        drain.enter(Phase::SuccessorFull);
        drain.enter(Phase::HandingOver);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert_eq!(drain.poll_phase(changed.as_mut(), &mut seen, &mut cx), Phase::HandingOver);
        drain.enter(Phase::Cutting);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
        assert_eq!(drain.poll_phase(changed.as_mut(), &mut seen, &mut cx), Phase::Cutting);
    }

    #[test]
    fn a_phase_is_entered_from_just_the_one_before() {
        let drain = Drain::new();
        drain.enter_from(Phase::HandingOver, Phase::SuccessorFull);
        assert_eq!(drain.phase(), Phase::Serving);
        drain.enter(Phase::HandingOver);
        drain.enter_from(Phase::HandingOver, Phase::SuccessorFull);
        assert_eq!(drain.phase(), Phase::SuccessorFull);
    }
}
