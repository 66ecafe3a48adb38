//! The connection limit of a server: permits are counts, not objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::server::permit_requests::PermitRequests;

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
    permit_requests: PermitRequests,
    /// How many of those held belong to clients that were let into a full server and whose tasks have not begun yet.
    unseen: AtomicUsize,
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
            permit_requests: PermitRequests::default(),
            unseen: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            freed: Notify::new(),
            released,
        }
    }

    /// How many connections the server may hold.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many clients were let into the full server whose tasks have not begun yet.
    pub(crate) fn unseen(&self) -> usize {
        self.unseen.load(Ordering::Acquire)
    }

    /// Connections that this generation holds.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Connections that an earlier generation still holds.
    pub(crate) fn foreign(&self) -> usize {
        self.foreign.load(Ordering::SeqCst)
    }

    /// The permits that a successor is asked for, to empty queues.
    pub(crate) fn permit_requests(&self) -> &PermitRequests {
        &self.permit_requests
    }

    /// Asks for permits until a queue is empty: until the result is dropped.
    pub(crate) fn ask(self: &Arc<Self>) -> Asking {
        let count = self.permit_requests.want(self.limit);
        self.released.notify_waiters();
        Asking { permits: self.clone(), count }
    }

    /// The successor grants so many of those that were asked for.
    pub(crate) fn grant(&self, count: usize) {
        self.permit_requests.grant(count);
        self.freed.notify_waiters();
        self.released.notify_waiters();
    }

    /// How many of the permits that the predecessor asks for it can have. They count as foreign already.
    pub(crate) fn spare(&self, asked: usize) -> usize {
        let others = self.foreign().saturating_sub(asked);
        self.limit.saturating_sub(self.held() + others).min(asked)
    }

    /// Takes a permit, waiting for one where none is left.
    pub(crate) async fn acquire(self: &Arc<Self>, whose: Turn) -> Permit {
        loop {
            // Registered before the count is read, so that no release between the two is missed.
            let freed = self.freed.notified();
            if let Some(permit) = self.try_acquire(whose) {
                return permit;
            }
            freed.await;
        }
    }

    /// Takes a permit if one is left.
    pub(crate) fn try_acquire(self: &Arc<Self>, whose: Turn) -> Option<Permit> {
        match whose {
            Turn::Last => self.take_last(),
            Turn::Usual if self.is_paused() => None,
            // Asked again: if a pause begins meanwhile, either its count includes this permit, or this check sees the
            // pause.
            Turn::Usual => self.take().filter(|_| !self.is_paused()),
        }
    }

    fn take_last(self: &Arc<Self>) -> Option<Permit> {
        if self.permit_requests.is_shared() {
            self.permit_requests.take().then(|| self.adopt())
        } else {
            self.take()
        }
    }

    fn take(self: &Arc<Self>) -> Option<Permit> {
        let others = self.others();
        self.held
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| {
                (held + others < self.limit).then_some(held + 1)
            })
            .ok()
            .map(|_| Permit::of(self))
            // Asked again: if another process is granted a permit meanwhile, either the grant has counted this one,
            // or this check sees the grant.
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

    /// The successor is gone, and with it all that it was given.
    pub(crate) fn stay_alone(&self) {
        self.given.store(0, Ordering::Release);
        self.permit_requests.end_sharing();
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

/// A queue's question for permits. Dropping it withdraws the question.
#[derive(Debug)]
pub(crate) struct Asking {
    permits: Arc<Permits>,
    count: usize,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.permits.permit_requests.give_up(self.count);
        self.permits.released.notify_waiters();
    }
}

/// Whose turn it is to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Any client's. During a [pause](Permits::pause), when another process accepts in our place, it waits.
    Usual,
    /// A client's in a queue that is being emptied: a pause does not concern it.
    Last,
}

/// The right to hold one accepted connection. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Empty once the permit has become a bare count.
    permits: Option<Arc<Permits>>,
    /// It counts among the unseen.
    is_unseen: bool,
}

impl Permit {
    fn of(permits: &Arc<Permits>) -> Self {
        Self { permits: Some(permits.clone()), is_unseen: false }
    }

    /// Its client is let into a full server.
    pub(crate) fn is_let_in(&mut self) {
        if let Some(permits) = self.permits.as_ref().filter(|_| !self.is_unseen) {
            permits.unseen.fetch_add(1, Ordering::AcqRel);
            self.is_unseen = true;
        }
    }

    /// The task of its connection has begun, and reports what the connection does.
    pub(crate) fn is_seen(&mut self) {
        if let Some(permits) = self.permits.as_ref().filter(|_| self.is_unseen) {
            permits.unseen.fetch_sub(1, Ordering::AcqRel);
            self.is_unseen = false;
        }
    }

    /// Turns the guard into a bare count, for a connection that lies in the parking lot. Whoever takes it
    /// out again calls [`Permit::from_count`] or [`Permits::release`].
    pub(crate) fn into_count(mut self) {
        self.is_seen();
        self.permits = None;
    }

    /// The guard of a permit that was a bare count.
    pub(crate) fn from_count(permits: &Arc<Permits>) -> Self {
        Self::of(permits)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.is_seen();
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
        let first = permits.try_acquire(Turn::Usual).unwrap();
        let _second = permits.try_acquire(Turn::Usual).unwrap();
        assert!(permits.try_acquire(Turn::Usual).is_none());
        drop(first);
        assert_eq!(permits.held(), 1);
        let _third = permits.try_acquire(Turn::Usual).unwrap();
        assert!(permits.try_acquire(Turn::Usual).is_none());
        permits.set_foreign(usize::MAX);
        assert!(permits.try_acquire(Turn::Usual).is_none());
        permits.set_foreign(0);
        assert!(permits.try_acquire(Turn::Usual).is_some());
    }

    #[test]
    fn what_a_successor_was_given_does_not_come_free() {
        let permits = Arc::new(Permits::new(2, Arc::default()));
        let (first, second) =
            (permits.try_acquire(Turn::Usual).unwrap(), permits.try_acquire(Turn::Usual).unwrap());
        permits.pause();
        permits.give(first);
        assert_eq!(permits.held(), 1);
        assert!(permits.try_acquire(Turn::Last).is_none());
        drop(second);
        assert!(permits.try_acquire(Turn::Usual).is_none(), "paused");
        assert!(permits.try_acquire(Turn::Last).is_some(), "for a last call");
        permits.resume();
        assert!(permits.try_acquire(Turn::Usual).is_some());
    }

    #[test]
    fn permits_for_a_last_call_are_those_that_the_successor_grants() {
        let permits = Arc::new(Permits::new(2, Arc::default()));
        permits.permit_requests().share();
        let _asking = permits.ask();
        assert!(permits.try_acquire(Turn::Last).is_none());
        permits.grant(1);
        assert!(permits.try_acquire(Turn::Last).is_some() && permits.try_acquire(Turn::Last).is_none());
        permits.stay_alone();
        assert!(permits.try_acquire(Turn::Last).is_some());
    }

    #[test]
    fn a_predecessor_can_have_what_is_left_under_the_limit() {
        let permits = Arc::new(Permits::new(4, Arc::default()));
        let held = permits.try_acquire(Turn::Usual).unwrap();
        // Two are held there, and two more asked for.
        permits.set_foreign(4);
        assert_eq!(permits.spare(2), 1);
        drop(held);
        assert_eq!(permits.spare(2), 2);
        assert!(permits.try_acquire(Turn::Usual).is_none(), "they are reserved");
    }

    #[test]
    fn a_bare_count_is_still_held() {
        let permits = Arc::new(Permits::new(1, Arc::default()));
        permits.try_acquire(Turn::Usual).unwrap().into_count();
        assert!(permits.try_acquire(Turn::Usual).is_none());
        drop(Permit::from_count(&permits));
        assert!(permits.try_acquire(Turn::Usual).is_some());
    }

    #[test]
    fn a_client_that_is_let_in_is_unseen_until_its_task_begins_or_it_ends() {
        let permits = Arc::new(Permits::new(3, Arc::default()));
        let [mut first, mut second, mut third] = [0; 3].map(|_| permits.try_acquire(Turn::Usual).unwrap());
        for permit in [&mut first, &mut second, &mut third] {
            permit.is_let_in();
        }
        assert_eq!(permits.unseen(), 3);
        first.is_seen();
        first.is_seen();
        drop(second);
        third.into_count();
        assert_eq!(permits.unseen(), 0);
    }

    #[tokio::test]
    async fn a_release_wakes_one_who_waits() {
        let permits = Arc::new(Permits::new(1, Arc::default()));
        let held = permits.try_acquire(Turn::Usual).unwrap();
        let waiting = tokio::spawn({
            let permits = permits.clone();
            async move { permits.acquire(Turn::Usual).await }
        });
        tokio::task::yield_now().await;
        drop(held);
        drop(waiting.await.unwrap());
        assert_eq!(permits.held(), 0);
    }
}
