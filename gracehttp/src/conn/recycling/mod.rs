//! How a full server makes room for clients that wait (`when_full = recycle`): for each of them it closes one
//! connection, and no request gets lost.
//!
//! In this order:
//!
//! 1. **Newcomers over their share.** A connection whose client has yet to send a whole request head (it is silent, in
//!    its TLS handshake, or in the middle of the head) costs that client nothing: slow clients could hold all permits
//!    with them. While the server is full, newcomers have half of the permits, which leaves the other half to clients
//!    that use theirs. Each client that is let in is a newcomer, so over the share only the oldest newcomer goes.
//! 2. **Idle connections**, parked ones first, the longest idle first.
//! 3. **Busy connections**: the next responses say `Connection: close`. The oldest of HTTP/2 get GOAWAY.
//!
//! If those make too little room, connections that were let in close with their first response.
//!
//! A newcomer is left alone for a while, and so is an idle connection. No idle connection with unread bytes is
//! closed.
//!
//! While the server is not full this costs each connection one relaxed load. Once clients wait, the awake connections
//! enter a list and say there what they do. A chosen connection closes only if it still does the same.

mod candidate;
mod choice;
mod spread;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use tokio::time::Instant;

pub(super) use candidate::newcomer_is_to_close;
pub(super) use candidate::{Candidate, Reason};
use spread::Slot;
pub(crate) use spread::Spread;

use crate::conn::context::Context;
use crate::conn::recycling::choice::make_room;

/// How long a connection is left alone after its last response. A request that was in transit has come by then.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// How long a newcomer is left alone. A client with a slow line or machine has finished its handshake by then, and
/// clients that wait behind slow ones still get in within five seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long awake connections stay listed after clients have waited: others may soon wait again.
const LISTED: Duration = Duration::from_secs(10);

/// What a connection does. This decides whether it can make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Since then it has had no whole request head.
    New(Instant),
    /// Since then it has been waiting for its next request.
    Idle(Instant),
    /// It has HTTP/2 streams, and was opened then.
    Multiplexed(Instant),
    /// It has an HTTP/1 request.
    Busy,
}

/// The kinds of [`Doing`] as bits.
const KIND: u64 = 3;
const NEW: u64 = 0;
const IDLE: u64 = 1;
const MULTIPLEXED: u64 = 2;
/// Busy, or not in the list.
const OTHER: u64 = 3;

/// One server's connections that could make room for others, and how many of them should.
#[derive(Debug)]
pub(crate) struct Recycling {
    /// Awake connections have to enter the list.
    listing: AtomicBool,
    /// How many HTTP/1 responses should still say `Connection: close`.
    closes: AtomicUsize,
    /// How many HTTP/1 responses that are the first of their connections should still say so.
    first_closes: AtomicUsize,
    /// How many newcomers are in the list.
    newcomers: AtomicUsize,
    epoch: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    listed: Slab<Arc<Listed>>,
    /// How many clients wait in the queues of all listeners.
    waiting: usize,
    /// When each connection was asked whose permit has not come free yet.
    asked: VecDeque<Instant>,
    /// How many connections in the list had streams at the last look.
    multiplexed: usize,
    looked_at: Option<Instant>,
    /// When the list was begun.
    listing_since: Option<Instant>,
    /// Since when clients have been waiting and none was let in.
    stuck_since: Option<Instant>,
    needed_at: Option<Instant>,
}

/// An awake connection in the list.
#[derive(Debug)]
pub(super) struct Listed {
    doing: AtomicU64,
    asked: AtomicBool,
    waker: Waker,
}

impl Recycling {
    pub(crate) fn new() -> Self {
        Self {
            listing: AtomicBool::new(false),
            closes: AtomicUsize::new(0),
            first_closes: AtomicUsize::new(0),
            newcomers: AtomicUsize::new(0),
            epoch: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Whether clients wait, or did a moment ago.
    pub(crate) fn is_listing(&self) -> bool {
        self.listing.load(Ordering::Relaxed)
    }

    /// Whether the HTTP/1 response that begins now is the last of its connection, to make room.
    pub(crate) fn claims_response(&self, is_first: bool) -> bool {
        let one_less = |closes: usize| closes.checked_sub(1);
        let closes = if is_first { &self.first_closes } else { &self.closes };
        let claimed = closes.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok();
        if claimed {
            self.state().asked.push_back(Instant::now());
        }
        claimed
    }

    /// A client got its permit without waiting. If none has waited for a while, the list ends.
    pub(crate) fn calm_down(&self) {
        if self.is_listing() {
            let needed_at = self.state().needed_at;
            if needed_at.is_none_or(|at| at.elapsed() > LISTED) {
                self.listing.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Enters an awake connection into the list.
    pub(super) fn list(&self, doing: Doing, waker: &Waker) -> (usize, Arc<Listed>) {
        let listed = Arc::new(Listed {
            doing: AtomicU64::new(OTHER),
            asked: AtomicBool::new(false),
            waker: waker.clone(),
        });
        self.note(&listed, self.pack(doing));
        (self.state().listed.insert(listed.clone()), listed)
    }

    pub(super) fn unlist(&self, key: usize) {
        if let Some(listed) = self.state().listed.try_remove(key) {
            self.note(&listed, OTHER);
        }
    }

    /// Notes what a listed connection does, and returns whether it is to make room. It is not if it has begun
    /// something since it was asked.
    pub(super) fn is_asked(&self, listed: &Listed, doing: Doing) -> bool {
        self.note(listed, self.pack(doing));
        if !listed.asked.load(Ordering::Relaxed) {
            return false;
        }
        let goes = match doing {
            Doing::New(since) => since.elapsed() >= PATIENCE,
            Doing::Idle(since) => since.elapsed() >= SETTLED,
            Doing::Multiplexed(_) => true,
            Doing::Busy => false,
        };
        if !goes {
            listed.asked.store(false, Ordering::Relaxed);
            self.state().asked.pop_back();
        }
        goes
    }

    fn note(&self, listed: &Listed, doing: u64) {
        let is_new = |word: u64| word & KIND == NEW;
        match (is_new(listed.doing.swap(doing, Ordering::Relaxed)), is_new(doing)) {
            (false, true) => _ = self.newcomers.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.newcomers.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }

    /// In one word, so that both parts are read together.
    fn pack(&self, doing: Doing) -> u64 {
        let (kind, since) = match doing {
            Doing::New(since) => (NEW, since),
            Doing::Idle(since) => (IDLE, since),
            Doing::Multiplexed(since) => (MULTIPLEXED, since),
            Doing::Busy => return OTHER,
        };
        let millis = since.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(millis).unwrap_or(0) << KIND.count_ones() | kind
    }

    fn unpack(&self, word: u64) -> Doing {
        let since = self.epoch + Duration::from_millis(word >> KIND.count_ones());
        match word & KIND {
            NEW => Doing::New(since),
            IDLE => Doing::Idle(since),
            MULTIPLEXED => Doing::Multiplexed(since),
            _ => Doing::Busy,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The clients that wait at one listener of a full server.
pub(crate) struct Waiting<'a> {
    context: &'a Context,
    count: usize,
}

impl<'a> Waiting<'a> {
    pub(crate) fn at(context: &'a Context) -> Self {
        Self { context, count: 0 }
    }

    /// Sets how many wait, and makes room for them.
    pub(crate) fn are(&mut self, count: usize) {
        self.note(count);
        make_room(self.context);
    }

    /// One of them has got a permit.
    pub(crate) fn let_in(&mut self) {
        let mut state = self.context.recycling.state();
        state.asked.pop_front();
        state.stuck_since = None;
        drop(state);
        self.note(self.count.saturating_sub(1));
    }

    /// No client waits.
    pub(crate) fn are_none(&mut self) {
        if self.count > 0 {
            self.note(0);
        }
    }

    fn note(&mut self, count: usize) {
        let mut state = self.context.recycling.state();
        state.waiting = state.waiting - self.count + count;
        self.count = count;
        if state.waiting == 0 {
            state.stuck_since = None;
            let Recycling { closes, first_closes, .. } = &self.context.recycling;
            closes.store(0, Ordering::Release);
            first_closes.store(0, Ordering::Release);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.are_none();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_doing_fits_into_one_word() {
        let recycling = Recycling::new();
        let since = recycling.epoch + Duration::from_millis(1500);
        for doing in [Doing::New(since), Doing::Idle(since), Doing::Multiplexed(since), Doing::Busy] {
            assert_eq!(recycling.unpack(recycling.pack(doing)), doing);
        }
    }

    #[test]
    fn newcomers_are_counted_as_they_come_and_go() {
        let recycling = Recycling::new();
        let (now, waker) = (Instant::now(), Waker::noop());
        let count = || recycling.newcomers.load(Ordering::Relaxed);
        let (first, listed) = recycling.list(Doing::New(now), waker);
        let (second, _) = recycling.list(Doing::New(now), waker);
        let (third, _) = recycling.list(Doing::Busy, waker);
        assert_eq!(count(), 2);
        assert!(!recycling.is_asked(&listed, Doing::Busy));
        assert_eq!(count(), 1);
        [first, second, third].into_iter().for_each(|key| recycling.unlist(key));
        assert_eq!(count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_begun_something_is_not_closed() {
        let recycling = Recycling::new();
        let idle = Doing::Idle(Instant::now());
        let (_, listed) = recycling.list(idle, Waker::noop());
        tokio::time::advance(SETTLED).await;
        let ask = || {
            listed.asked.store(true, Ordering::Relaxed);
            recycling.state().asked.push_back(Instant::now());
        };
        ask();
        assert!(!recycling.is_asked(&listed, Doing::Busy));
        assert!(recycling.state().asked.is_empty(), "another one is to be asked");
        ask();
        assert!(!recycling.is_asked(&listed, Doing::Idle(Instant::now())), "just answered");
        ask();
        assert!(recycling.is_asked(&listed, idle));
    }

    #[test]
    fn no_more_responses_are_the_last_than_clients_wait() {
        let recycling = Recycling::new();
        recycling.first_closes.store(2, Ordering::Relaxed);
        recycling.closes.store(1, Ordering::Relaxed);
        let claimed = |is_first: bool| (0..5).filter(|_| recycling.claims_response(is_first)).count();
        assert_eq!((claimed(true), claimed(false)), (2, 1));
    }
}
