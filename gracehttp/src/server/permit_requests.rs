//! Permits for clients that wait at an endpoint that the successor does not have.
//!
//! After a restart the successor owns the limit: it accepts as permits become free, and permits that it was given never
//! become free here. So this process requests permits from it to empty the queue. They count as held here from the
//! request on, and may be used from the answer on. So no permit is used on both sides.

use crate::sync::{Mutex, MutexGuard};

/// The most permits that one request asks for. More than one, since each answer takes a round trip.
const AT_ONCE: usize = 64;

/// One request asks for at most this part of the limit, since clients of the successor wait, too.
const PART: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct PermitRequests(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// A successor owns the limit, and has to be asked.
    is_shared: bool,
    ours: Wish,
    /// The request of the generation before us, which we pass on to our successor. Its permits count as foreign here.
    predecessors: Wish,
}

/// How many permits are requested, and how many of them were granted.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    wanted: usize,
    granted: usize,
}

impl Wish {
    fn open(self) -> usize {
        self.wanted.saturating_sub(self.granted)
    }

    /// Grants up to `count`, and returns the rest.
    fn grant(&mut self, count: usize) -> usize {
        let granted = count.min(self.open());
        self.granted += granted;
        count - granted
    }
}

impl PermitRequests {
    /// From now on a successor owns the limit.
    pub(crate) fn share(&self) {
        self.state().is_shared = true;
    }

    /// The limit is ours again.
    pub(crate) fn end_sharing(&self) {
        let mut state = self.state();
        state.is_shared = false;
        state.ours.granted = 0;
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.state().is_shared
    }

    /// Requests permits to empty a queue. Returns how many, to be [given up](Self::give_up) in the end.
    pub(super) fn want(&self, limit: usize) -> usize {
        let count = (limit / PART).clamp(1, AT_ONCE);
        self.state().ours.wanted += count;
        count
    }

    /// Withdraws the request of a queue, which is empty now.
    pub(super) fn give_up(&self, count: usize) {
        let Wish { wanted, granted } = &mut self.state().ours;
        *wanted = wanted.saturating_sub(count);
        *granted = (*granted).min(*wanted);
    }

    /// Takes a permit that was granted.
    pub(super) fn take(&self) -> bool {
        let granted = &mut self.state().ours.granted;
        let is_there = *granted > 0;
        *granted = granted.saturating_sub(1);
        is_there
    }

    /// The successor grants `count` permits.
    pub(super) fn grant(&self, count: usize) {
        let mut state = self.state();
        let rest = state.ours.grant(count);
        state.predecessors.grant(rest);
    }

    /// How many permits are reserved for queues, though no connection holds them.
    pub(crate) fn reserved(&self) -> usize {
        let State { is_shared, ours: Wish { wanted, granted }, .. } = *self.state();
        if is_shared { wanted.max(granted) } else { 0 }
    }

    /// How many permits to ask the successor for.
    pub(crate) fn asked(&self) -> usize {
        let state = self.state();
        if state.is_shared { state.ours.open() + state.predecessors.open() } else { 0 }
    }

    /// The predecessor requests `count` permits, and we pass the request on.
    pub(crate) fn pass_on(&self, count: usize) {
        self.state().predecessors = Wish { wanted: count, granted: 0 };
    }

    /// How many of them were granted.
    pub(crate) fn passed_on(&self) -> usize {
        self.state().predecessors.granted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_permits_are_reserved_and_granted_ones_can_be_taken() {
        let permit_requests = PermitRequests::default();
        assert_eq!(
            (permit_requests.want(16), permit_requests.asked()),
            (2, 0),
            "there is no successor to ask"
        );
        permit_requests.share();
        assert_eq!((permit_requests.reserved(), permit_requests.asked()), (2, 2));
        assert!(!permit_requests.take());
        permit_requests.grant(1);
        assert_eq!((permit_requests.reserved(), permit_requests.asked()), (2, 1));
        assert!(permit_requests.take() && !permit_requests.take());
        assert_eq!((permit_requests.reserved(), permit_requests.asked()), (2, 2), "and the next ones");
        permit_requests.grant(2);
        permit_requests.give_up(2);
        assert!(!permit_requests.take(), "unused permits go back");
        assert_eq!((permit_requests.reserved(), permit_requests.asked()), (0, 0));
    }

    #[test]
    fn request_of_a_predecessor_is_served_after_our_own() {
        let permit_requests = PermitRequests::default();
        permit_requests.share();
        permit_requests.want(1);
        permit_requests.pass_on(3);
        assert_eq!((permit_requests.reserved(), permit_requests.asked()), (1, 4), "its own count as foreign");
        permit_requests.grant(2);
        assert_eq!(permit_requests.passed_on(), 1);
        assert!(permit_requests.take() && !permit_requests.take());
    }

    #[test]
    fn request_is_for_a_part_of_the_limit() {
        let wants = [1, 7, 100, 100_000].map(|limit| PermitRequests::default().want(limit));
        assert_eq!(wants, [1, 1, 12, 64]);
    }
}
