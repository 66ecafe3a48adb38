//! The connection limit of a server: permits are counts, not objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::server::last_call::LastCall;

/// How many connections a server may hold, and how many are held.
///
/// One limit covers both generations of a restart: what the predecessor still holds counts here as
/// *foreign* until it reports the release, and what a successor got from here counts as *given*.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    held: AtomicUsize,
    foreign: AtomicUsize,
    given: AtomicUsize,
    last_call: LastCall,
    /// Somebody else accepts in our place.
    paused: AtomicBool,
    /// Wakes accept loops that wait for a permit.
    freed: Notify,
    /// Wakes whoever watches the counts of all servers go down: the drain, and the reports to the successor.
    released: Arc<Notify>,
}

impl Permits {
    pub(crate) fn new(limit: usize, released: Arc<Notify>) -> Self {
        Self {
            limit,
            held: AtomicUsize::new(0),
            foreign: AtomicUsize::new(0),
            given: AtomicUsize::new(0),
            last_call: LastCall::default(),
            paused: AtomicBool::new(false),
            freed: Notify::new(),
            released,
        }
    }

    /// Connections that this generation holds.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Connections that an earlier generation still holds.
    pub(crate) fn foreign(&self) -> usize {
        self.foreign.load(Ordering::SeqCst)
    }

    /// What queues that are to be emptied ask of a successor.
    pub(crate) fn last_call(&self) -> &LastCall {
        &self.last_call
    }

    /// Asks for permits until the queue that is to be emptied is.
    pub(crate) fn ask(self: &Arc<Self>) -> Asking {
        let count = self.last_call.want(self.limit);
        self.released.notify_waiters();
        Asking { permits: self.clone(), count }
    }

    /// The successor grants so many of those that were asked for.
    pub(crate) fn grant(&self, count: usize) {
        self.last_call.grant(count);
        self.freed.notify_waiters();
        self.released.notify_waiters();
    }

    /// How many of the permits that the predecessor asks for, and that count as foreign by now, it can have.
    pub(crate) fn spare(&self, asked: usize) -> usize {
        let others = self.foreign().saturating_sub(asked);
        self.limit.saturating_sub(self.held() + others).min(asked)
    }

    /// Takes a permit, waiting for one where none is left, and for the end of a [pause](Self::pause).
    pub(crate) async fn acquire(self: &Arc<Self>) -> Permit {
        self.first(Self::try_acquire).await
    }

    /// The same for a last call, which a pause does not concern.
    pub(crate) async fn acquire_last(self: &Arc<Self>) -> Permit {
        self.first(Self::take_last).await
    }

    async fn first(self: &Arc<Self>, attempt: impl Fn(&Arc<Self>) -> Option<Permit>) -> Permit {
        loop {
            // Registered before the count is read, so that no release between the two is missed.
            let freed = self.freed.notified();
            if let Some(permit) = attempt(self) {
                return permit;
            }
            freed.await;
        }
    }

    /// Takes a permit if one is left, and nobody accepts in our place.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        if self.is_paused() {
            return None;
        }
        // Asked again: of a permit that is taken while a pause begins, either the count tells, or this does.
        self.take().filter(|_| !self.is_paused())
    }

    fn take_last(self: &Arc<Self>) -> Option<Permit> {
        if self.last_call.is_shared() { self.last_call.take().then(|| self.adopt()) } else { self.take() }
    }

    fn take(self: &Arc<Self>) -> Option<Permit> {
        let others = self.others();
        self.held
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| {
                (held + others < self.limit).then_some(held + 1)
            })
            .ok()
            .map(|_| Permit::of(self))
            // Asked again: of a permit that is taken while another process is granted one, either the count tells, or
            // this does.
            .filter(|_| self.others() <= others || self.held() + self.others() <= self.limit)
    }

    /// Connections of other generations that count against the limit.
    fn others(&self) -> usize {
        self.foreign() + self.given.load(Ordering::Acquire)
    }

    /// From now on nobody is accepted here: what is held by then is all that there will be.
    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Accepts again, in the place of a successor that is dead, and with it all that it was given.
    pub(crate) fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
        self.stay_alone();
    }

    /// There is no successor any more, and nothing that it was given.
    pub(crate) fn stay_alone(&self) {
        self.given.store(0, Ordering::Release);
        self.last_call.end_sharing();
        self.freed.notify_waiters();
    }

    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// A permit goes to the successor, with its connection. It does not come free here, as far as we know.
    pub(crate) fn give(&self, permit: Permit) {
        self.given.fetch_add(1, Ordering::AcqRel);
        drop(permit);
    }

    /// Takes a permit for a connection that exists already, even over the limit: one handed over by the
    /// predecessor, whose limit may have been larger.
    pub(crate) fn adopt(self: &Arc<Self>) -> Permit {
        self.held.fetch_add(1, Ordering::SeqCst);
        Permit::of(self)
    }

    /// Gives back a permit whose [`Permit`] was [forgotten](Permit::into_count).
    pub(crate) fn release(&self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
        self.freed.notify_one();
        self.released.notify_waiters();
    }

    /// Sets how many connections an earlier generation still holds, as far as one is to be believed: no process
    /// has more descriptors than the kernel can number.
    pub(crate) fn set_foreign(&self, count: usize) {
        self.foreign.store(count.min(i32::MAX as usize), Ordering::SeqCst);
        // Several permits may have come free at once.
        self.freed.notify_waiters();
        self.released.notify_waiters();
    }
}

/// The question for permits of a queue that is to be emptied. Dropping it takes it back.
#[derive(Debug)]
pub(crate) struct Asking {
    permits: Arc<Permits>,
    count: usize,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.permits.last_call.give_up(self.count);
        self.permits.released.notify_waiters();
    }
}

/// The right to hold one accepted connection. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Empty once the permit has become a bare count.
    permits: Option<Arc<Permits>>,
}

impl Permit {
    fn of(permits: &Arc<Permits>) -> Self {
        Self { permits: Some(permits.clone()) }
    }

    /// Turns the guard into a bare count, for a connection that lies in the parking lot. Whoever takes it
    /// out again calls [`Permit::from_count`] or [`Permits::release`].
    pub(crate) fn into_count(mut self) {
        self.permits = None;
    }

    /// The guard of a permit that was a bare count.
    pub(crate) fn from_count(permits: &Arc<Permits>) -> Self {
        Self::of(permits)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(permits) = &self.permits {
            permits.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_over_both_generations() {
        let permits = Arc::new(Permits::new(3, Arc::default()));
        permits.set_foreign(1);
        let first = permits.try_acquire().unwrap();
        let _second = permits.try_acquire().unwrap();
        assert!(permits.try_acquire().is_none());
        drop(first);
        assert_eq!(permits.held(), 1);
        let _third = permits.try_acquire().unwrap();
        assert!(permits.try_acquire().is_none());
        permits.set_foreign(usize::MAX);
        assert!(permits.try_acquire().is_none());
        permits.set_foreign(0);
        assert!(permits.try_acquire().is_some());
    }

    #[test]
    fn what_a_successor_was_given_does_not_come_free() {
        let permits = Arc::new(Permits::new(2, Arc::default()));
        let (first, second) = (permits.try_acquire().unwrap(), permits.try_acquire().unwrap());
        permits.pause();
        permits.give(first);
        assert_eq!(permits.held(), 1);
        assert!(permits.take().is_none());
        drop(second);
        assert!(permits.try_acquire().is_none(), "paused");
        assert!(permits.take().is_some(), "for a last call");
        permits.resume();
        assert!(permits.try_acquire().is_some());
    }

    #[test]
    fn permits_for_a_last_call_are_those_that_the_successor_grants() {
        let permits = Arc::new(Permits::new(2, Arc::default()));
        permits.last_call().share();
        let _asking = permits.ask();
        assert!(permits.take_last().is_none());
        permits.grant(1);
        assert!(permits.take_last().is_some() && permits.take_last().is_none());
        permits.stay_alone();
        assert!(permits.take_last().is_some());
    }

    #[test]
    fn a_predecessor_can_have_what_is_left_under_the_limit() {
        let permits = Arc::new(Permits::new(4, Arc::default()));
        let held = permits.try_acquire().unwrap();
        // Two are held there, and two more asked for.
        permits.set_foreign(4);
        assert_eq!(permits.spare(2), 1);
        drop(held);
        assert_eq!(permits.spare(2), 2);
        assert!(permits.try_acquire().is_none(), "they are reserved");
    }

    #[test]
    fn a_bare_count_is_still_held() {
        let permits = Arc::new(Permits::new(1, Arc::default()));
        permits.try_acquire().unwrap().into_count();
        assert!(permits.try_acquire().is_none());
        drop(Permit::from_count(&permits));
        assert!(permits.try_acquire().is_some());
    }

    #[tokio::test]
    async fn a_release_wakes_one_who_waits() {
        let permits = Arc::new(Permits::new(1, Arc::default()));
        let held = permits.try_acquire().unwrap();
        let waiting = tokio::spawn({
            let permits = permits.clone();
            async move { permits.acquire().await }
        });
        tokio::task::yield_now().await;
        drop(held);
        drop(waiting.await.unwrap());
        assert_eq!(permits.held(), 0);
    }
}
