//! The connection limit of a server: permits are counts, not objects.

use std::sync::Arc;

use crate::lifecycle::{ConnectionEnd, ConnectionEnds};
use crate::server::permit_requests::PermitRequests;
use crate::sync::{AtomicBool, AtomicUsize, Notify, Ordering};

/// How many connections a server may hold, and how many are held.
///
/// One limit covers both generations of a restart. The connections that the predecessor still holds count here as
/// *foreign* until it reports their release; those that moved to a successor count as *given*.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    held: AtomicUsize,
    foreign: AtomicUsize,
    given: AtomicUsize,
    permit_requests: PermitRequests,
    /// How many of the held permits belong to clients that were let into a full server and whose tasks have not begun.
    unseen: AtomicUsize,
    /// Another process accepts in our place.
    paused: AtomicBool,
    ends: ConnectionEnds,
    /// Wakes accept loops that wait for a permit.
    freed: Notify,
    /// Wakes the tasks that watch the counts of all servers: the drain, and the reports to the successor.
    released: Arc<tokio::sync::Notify>,
}

impl Permits {
    pub(crate) fn new(limit: usize, released: Arc<tokio::sync::Notify>) -> Self {
        Self::with_ends(limit, released, ConnectionEnds::default())
    }

    /// Permits with the place that counts how their connections end.
    pub(crate) fn with_ends(limit: usize, released: Arc<tokio::sync::Notify>, ends: ConnectionEnds) -> Self {
        Self {
            limit,
            held: AtomicUsize::new(0),
            foreign: AtomicUsize::new(0),
            given: AtomicUsize::new(0),
            permit_requests: PermitRequests::default(),
            unseen: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            ends,
            freed: Notify::new(),
            released,
        }
    }

    /// How many connections the server may hold.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many clients were let into the full server, but their tasks have not begun.
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

    /// How the connections that had permits have ended.
    pub(crate) fn ends(&self) -> &ConnectionEnds {
        &self.ends
    }

    /// The requests to a successor for permits, to empty queues.
    pub(crate) fn permit_requests(&self) -> &PermitRequests {
        &self.permit_requests
    }

    /// Asks for permits to empty a queue. The request ends when the result is dropped.
    pub(crate) fn ask(self: &Arc<Self>) -> Asking {
        let count = self.permit_requests.want(self.limit);
        self.released.notify_waiters();
        Asking { permits: self.clone(), count }
    }

    /// The successor grants `count` of the requested permits.
    pub(crate) fn grant(&self, count: usize) {
        self.permit_requests.grant(count);
        self.freed.notify_waiters();
        self.released.notify_waiters();
    }

    /// How many of the `asked` permits the predecessor can have. They already count as foreign.
    pub(crate) fn spare(&self, asked: usize) -> usize {
        let others = self.foreign().saturating_sub(asked);
        self.limit.saturating_sub(self.held() + others).min(asked)
    }

    /// Takes a permit, and waits for one if none is left.
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
            // Checked again: if a pause begins meanwhile, either its count includes this permit, or this check sees
            // the pause.
            Turn::Usual => self.take().filter(|_| !self.is_paused()),
        }
    }

    fn take_last(self: &Arc<Self>) -> Option<Permit> {
        if self.permit_requests.is_shared() {
            self.permit_requests.take().then(|| self.hold())
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
            // Checked again: if another process is granted a permit meanwhile, either the grant has counted this one,
            // or this check sees the grant.
            .filter(|_| self.others() <= others || self.held() + self.others() <= self.limit)
    }

    /// Connections of other generations that count against the limit.
    fn others(&self) -> usize {
        self.foreign() + self.given.load(Ordering::Acquire)
    }

    /// Stops accepting: from now on the number of held permits only falls.
    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Accepts again in place of a dead successor. The connections that it was given are gone.
    pub(crate) fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
        self.stay_alone();
    }

    /// The successor is gone, and the connections that it was given.
    pub(crate) fn stay_alone(&self) {
        self.given.store(0, Ordering::Release);
        self.permit_requests.end_sharing();
        self.freed.notify_waiters();
    }

    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// Gives a permit to the successor, with its connection, which so has this end here. It does not become free.
    pub(crate) fn give(&self, permit: Permit, end: ConnectionEnd) {
        self.given.fetch_add(1, Ordering::AcqRel);
        permit.ends_as(end);
    }

    /// Takes a permit for an existing connection, even over the limit: the predecessor has handed it over, and its
    /// limit may have been larger.
    pub(crate) fn adopt(self: &Arc<Self>) -> Permit {
        let mut permit = self.hold();
        permit.opens();
        permit
    }

    fn hold(self: &Arc<Self>) -> Permit {
        self.held.fetch_add(1, Ordering::SeqCst);
        Permit::of(self)
    }

    fn release(&self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
        self.freed.notify_one();
        self.released.notify_waiters();
    }

    /// Sets how many connections an earlier generation still holds. The number comes from another process, so it is
    /// bounded: no process has more descriptors than the kernel can number.
    pub(crate) fn set_foreign(&self, count: usize) {
        self.foreign.store(count.min(i32::MAX as usize), Ordering::SeqCst);
        // Several permits may have become free at once.
        self.freed.notify_waiters();
        self.released.notify_waiters();
    }
}

/// A request for permits, to empty a queue. Dropping it withdraws the request.
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

/// Which clients a permit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Any client. During a [pause](Permits::pause), when another process accepts in our place, it waits.
    Usual,
    /// A client in a queue that is being emptied. A pause does not hold it up.
    Last,
}

/// The right to hold one accepted connection. Dropping it gives it back.
///
/// It also notes how the connection has ended, once and in any case: if nothing else was said, its client or HTTP has
/// ended it.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Empty once the permit has become a bare count.
    permits: Option<Arc<Permits>>,
    /// It counts as unseen.
    is_unseen: bool,
    /// A connection has it whose end is not noted yet.
    is_open: bool,
}

impl Permit {
    fn of(permits: &Arc<Permits>) -> Self {
        Self { permits: Some(permits.clone()), is_unseen: false, is_open: false }
    }

    /// A connection has it from now on.
    pub(crate) fn opens(&mut self) {
        if let Some(permits) = self.permits.as_ref().filter(|_| !self.is_open) {
            permits.ends.open();
            self.is_open = true;
        }
    }

    /// It is decided how its connection ends, though its client may still read. Only the first end counts.
    pub(crate) fn note_end(&mut self, end: ConnectionEnd) {
        if let Some(permits) = self.permits.as_ref().filter(|_| self.is_open) {
            permits.ends.note(end);
            self.is_open = false;
        }
    }

    /// Its connection has ended in this way.
    pub(crate) fn ends_as(mut self, end: ConnectionEnd) {
        self.note_end(end);
    }

    /// Marks its connection as unseen: a full server accepted it, and it does not report yet what it does.
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

    /// Turns the guard into a bare count, for a connection in the parking lot. When the connection leaves the lot,
    /// [`Permit::from_count`] has to follow.
    pub(crate) fn into_count(mut self) {
        self.is_seen();
        self.permits = None;
    }

    /// Turns a bare count into a guard again.
    pub(crate) fn from_count(permits: &Arc<Permits>) -> Self {
        let mut permit = Self::of(permits);
        permit.is_open = true;
        permit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.is_seen();
        if let Some(permits) = &self.permits {
            // First, so that all ends are counted once no permit is held.
            if self.is_open {
                permits.ends.note(ConnectionEnd::Finished);
            }
            permits.release();
        }
    }
}

#[cfg(all(test, gracehttp_model))]
#[path = "permits_model.rs"]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_holds_over_both_generations() {
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
    fn given_permit_does_not_become_free() {
        let permits = Arc::new(Permits::new(2, Arc::default()));
        let (first, second) =
            (permits.try_acquire(Turn::Usual).unwrap(), permits.try_acquire(Turn::Usual).unwrap());
        permits.pause();
        permits.give(first, ConnectionEnd::Moved);
        assert_eq!(permits.held(), 1);
        assert!(permits.try_acquire(Turn::Last).is_none());
        drop(second);
        assert!(permits.try_acquire(Turn::Usual).is_none(), "paused");
        assert!(permits.try_acquire(Turn::Last).is_some(), "to empty a queue");
        permits.resume();
        assert!(permits.try_acquire(Turn::Usual).is_some());
    }

    #[test]
    fn queue_is_emptied_with_permits_that_the_successor_grants() {
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
    fn predecessor_gets_permits_that_are_left_under_the_limit() {
        let permits = Arc::new(Permits::new(4, Arc::default()));
        let held = permits.try_acquire(Turn::Usual).unwrap();
        // The predecessor holds two and asks for two more.
        permits.set_foreign(4);
        assert_eq!(permits.spare(2), 1);
        drop(held);
        assert_eq!(permits.spare(2), 2);
        assert!(permits.try_acquire(Turn::Usual).is_none(), "they are reserved");
    }

    #[test]
    fn each_connection_with_a_permit_has_one_end() {
        let permits = Arc::new(Permits::new(9, Arc::default()));
        let take = || permits.try_acquire(Turn::Usual).unwrap();
        // Its client has left the queue: no connection had it.
        drop(take());
        assert_eq!(permits.ends().counts().opened(), 0);
        let mut taken = [0; 4].map(|_| take());
        taken.iter_mut().for_each(Permit::opens);
        let [mut changed, given, parked, finished] = taken;
        changed.note_end(ConnectionEnd::Lost);
        changed.ends_as(ConnectionEnd::ToldToClose);
        permits.give(given, ConnectionEnd::Moved);
        parked.into_count();
        drop(finished);
        let adopted = permits.adopt();
        let counts = permits.ends().counts();
        assert_eq!((counts.opened(), counts.open(), permits.held()), (5, 2, 2));
        drop(adopted);
        drop(Permit::from_count(&permits));
        let counts = permits.ends().counts();
        let ends: Vec<_> = counts.ends().collect();
        let expected = [(ConnectionEnd::Moved, 1), (ConnectionEnd::Finished, 3), (ConnectionEnd::Lost, 1)];
        assert_eq!((ends.as_slice(), counts.open(), permits.held()), (expected.as_slice(), 0, 0));
    }

    #[test]
    fn bare_count_is_still_held() {
        let permits = Arc::new(Permits::new(1, Arc::default()));
        permits.try_acquire(Turn::Usual).unwrap().into_count();
        assert!(permits.try_acquire(Turn::Usual).is_none());
        drop(Permit::from_count(&permits));
        assert!(permits.try_acquire(Turn::Usual).is_some());
    }

    #[test]
    fn client_is_unseen_until_its_task_begins_or_it_ends() {
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
    async fn release_wakes_a_waiting_task() {
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
