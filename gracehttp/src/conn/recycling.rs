//! How a full server makes room for clients that wait (`when_full = recycle`): for each of them one connection
//! closes, and all of its client's requests are answered.
//!
//! In this order:
//!
//! 1. **Newcomers over their share.** A connection whose client has yet to send a whole request head (it is silent, in
//!    its TLS handshake, or in the middle of the head) can be had for nothing: slow clients could hold all permits
//!    with them. While the server is full, newcomers have half of the permits, which leaves the other half to clients
//!    that use theirs; whoever is let in is a newcomer, so over the share the oldest newcomer goes, and nothing else.
//! 2. **Idle connections**, parked ones first, the longest idle first.
//! 3. **Busy connections**: the next responses say `Connection: close`. The oldest of HTTP/2 get GOAWAY.
//!
//! While more clients wait than those make room for, one that was let in leaves with its first response.
//!
//! No connection goes before it has done what it does for a while, and no idle one with unread bytes.
//!
//! While the server is not full this costs each connection one relaxed load. Once clients wait, the awake connections
//! enter a list, where they say what they do; the choice among them is confirmed by the one that is chosen.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use crate::conn::context::Context;
use crate::conn::rest::close_parked;
use crate::parking::{Parked, Stage};

/// How long a connection is left alone after its last response: a request that was on its way by then has come.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// How long a newcomer is: a client with a slow line, or a slow machine, has finished its handshake by then, and those
/// who come behind the slow ones still get in within five seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a connection that was asked to make room is waited for before another one is asked in its place.
const ASKED: Duration = Duration::from_secs(1);

/// How long awake connections have to enter a list that is begun.
const GATHERING: Duration = Duration::from_millis(20);

/// How long awake connections stay listed after clients have waited: the next of them may wait soon.
const LISTED: Duration = Duration::from_secs(10);

/// The least time between two looks at the list, and what each of its connections adds: a long list is not gone through
/// all the time.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_micros(1));

/// What a connection does, as far as that says whether it can make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It owes a whole request head, since then.
    New(Instant),
    /// It waits for its next request, since then.
    Idle(Instant),
    /// It has streams of HTTP/2, and was opened then.
    Multiplexed(Instant),
    /// It has a request of HTTP/1.
    Busy,
}

/// The kinds of [`Doing`] as bits.
const KIND: u64 = 3;
const NEW: u64 = 0;
const IDLE: u64 = 1;
const MULTIPLEXED: u64 = 2;
/// Busy, or not in the list.
const NOWHERE: u64 = 3;

/// One server's connections that could make room for others, and how many are to.
#[derive(Debug)]
pub(crate) struct Recycling {
    /// Awake connections are to be in the list.
    listing: AtomicBool,
    /// How many responses of HTTP/1 are still to say `Connection: close`.
    closes: AtomicUsize,
    /// The same of those that are the first of their connections.
    first_closes: AtomicUsize,
    /// The newcomers in the list.
    newcomers: AtomicUsize,
    epoch: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    listed: Slab<Arc<Listed>>,
    /// Clients that wait, in the queues of all listeners.
    waiting: usize,
    /// When connections were asked, of those for which no permit has come yet.
    asked: VecDeque<Instant>,
    /// The connections with streams in the list, at the last look.
    multiplexed: usize,
    looked_at: Option<Instant>,
    /// When the list was begun.
    listing_since: Option<Instant>,
    /// Since when clients have been waiting, and none was let in.
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

/// What a look at the list found: the connections that could be asked, the oldest last.
#[derive(Debug, Default)]
struct Found {
    newcomers: Vec<(Instant, usize)>,
    idle: Vec<(Instant, usize)>,
    multiplexed: Vec<(Instant, usize)>,
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

    /// Whether the response of HTTP/1 that begins now is to be the last of its connection.
    pub(crate) fn claims_response(&self, is_first: bool) -> bool {
        let one_less = |closes: usize| closes.checked_sub(1);
        let closes = if is_first { &self.first_closes } else { &self.closes };
        let claimed = closes.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok();
        if claimed {
            self.state().asked.push_back(Instant::now());
        }
        claimed
    }

    /// Clients are let in without waiting: after a while the list is not needed any more.
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
            doing: AtomicU64::new(NOWHERE),
            asked: AtomicBool::new(false),
            waker: waker.clone(),
        });
        self.note(&listed, self.pack(doing));
        (self.state().listed.insert(listed.clone()), listed)
    }

    pub(super) fn unlist(&self, key: usize) {
        if let Some(listed) = self.state().listed.try_remove(key) {
            self.note(&listed, NOWHERE);
        }
    }

    /// Notes what a listed connection does, and says whether it is to make room. One that has begun something since
    /// it was asked is not.
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

    /// In one word, so that it is read whole.
    fn pack(&self, doing: Doing) -> u64 {
        let (kind, since) = match doing {
            Doing::New(since) => (NEW, since),
            Doing::Idle(since) => (IDLE, since),
            Doing::Multiplexed(since) => (MULTIPLEXED, since),
            Doing::Busy => return NOWHERE,
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

    /// Goes through the list.
    fn look(&self, state: &mut State, now: Instant) -> Found {
        let interval = LOOK.0 + LOOK.1 * u32::try_from(state.listed.len()).unwrap_or(u32::MAX);
        if state.looked_at.is_some_and(|at| now < at + interval) {
            return Found::default();
        }
        let mut found = Found::default();
        for (key, listed) in &state.listed {
            if listed.asked.load(Ordering::Relaxed) {
                continue;
            }
            let doing = self.unpack(listed.doing.load(Ordering::Relaxed));
            match doing {
                Doing::New(since) if now >= since + PATIENCE => found.newcomers.push((since, key)),
                Doing::Idle(since) if now >= since + SETTLED => found.idle.push((since, key)),
                Doing::Multiplexed(since) if now >= since + SETTLED => found.multiplexed.push((since, key)),
                _ => {}
            }
        }
        for found in [&mut found.newcomers, &mut found.idle, &mut found.multiplexed] {
            found.sort_unstable_by(|one, other| other.cmp(one));
        }
        (state.multiplexed, state.looked_at) = (found.multiplexed.len(), Some(now));
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many connections are still to be asked.
    fn needed(&mut self, now: Instant) -> usize {
        while self.asked.front().is_some_and(|at| now >= *at + ASKED) {
            self.asked.pop_front();
        }
        self.needed_at = Some(now);
        self.stuck_since.get_or_insert(now);
        self.waiting.saturating_sub(self.asked.len())
    }

    /// Asks the oldest of these.
    fn ask(&mut self, found: &mut Vec<(Instant, usize)>, now: Instant) -> bool {
        let listed = std::iter::from_fn(|| found.pop()).find_map(|(_, key)| self.listed.get(key));
        if let Some(listed) = listed {
            listed.asked.store(true, Ordering::Relaxed);
            listed.waker.wake_by_ref();
            self.asked.push_back(now);
        }
        listed.is_some()
    }
}

/// The permits that newcomers can hold while a server with this limit is full.
fn share(limit: usize) -> usize {
    (limit / 2).max(1)
}

/// Has connections make room for the clients that wait, one for each.
fn make_room(context: &Context) {
    let recycling = &context.recycling;
    if !recycling.listing.swap(true, Ordering::Relaxed) {
        recycling.state().listing_since = Some(Instant::now());
        // All awake connections come, and enter the list.
        context.drain.remind();
    }
    let mut parked = Vec::new();
    choose(context, &mut recycling.state(), &mut parked);
    parked.into_iter().for_each(|parked| close_parked(context, parked));
}

/// Takes out those that are parked, asks those that are awake, and leaves the rest to the next responses.
fn choose(context: &Context, state: &mut State, parked: &mut Vec<Parked>) {
    let now = Instant::now();
    let mut needed = state.needed(now);
    if needed == 0 || state.listing_since.is_none_or(|since| now < since + GATHERING) {
        return;
    }
    let mut found = context.recycling.look(state, now);
    let is_stuck = state.stuck_since.is_some_and(|since| now >= since + SETTLED);
    let share = share(context.permits.limit());
    let awake = context.recycling.newcomers.load(Ordering::Relaxed) + context.permits.unseen();
    // Those who get the permits that are coming are newcomers, too.
    let mut newcomers = context.lot.count(Stage::Fresh) + awake + state.asked.len();
    while needed > 0 {
        let goes = if newcomers >= share {
            newcomer(context, state, &mut found, parked, now)
        } else if idle(context, state, &mut found, parked, now) {
            newcomers += 1;
            true
        } else {
            // Neither the idle nor the busy have made room for a while.
            is_stuck && newcomer(context, state, &mut found, parked, now)
        };
        if !goes {
            break;
        }
        needed -= 1;
    }
    // One that has just come in leaves its place to a newcomer: that takes nothing from the others' share.
    context.recycling.first_closes.store(needed, Ordering::Release);
    let needed = needed.min(share.saturating_sub(newcomers));
    // Of the busy ones, HTTP/2 makes as much room as it takes, unless the others make none.
    let held = context.permits.held().max(1);
    let of_http2 = (needed * state.multiplexed + held / 2) / held;
    for _ in 0..if is_stuck { needed } else { of_http2 } {
        if !state.ask(&mut found.multiplexed, now) {
            break;
        }
    }
    let of_http1 = if is_stuck { needed } else { needed.saturating_sub(of_http2) };
    context.recycling.closes.store(of_http1, Ordering::Release);
}

/// Has the oldest newcomer make room.
fn newcomer(
    context: &Context,
    state: &mut State,
    found: &mut Found,
    parked: &mut Vec<Parked>,
    now: Instant,
) -> bool {
    let awake_since = found.newcomers.last().map(|(since, _)| *since);
    let parked_since = context.lot.oldest(Stage::Fresh);
    let parked_first = parked_since.is_some_and(|parked| awake_since.is_none_or(|awake| parked <= awake));
    parked_first && evict(context, state, Stage::Fresh, PATIENCE, parked, now)
        || state.ask(&mut found.newcomers, now)
}

/// Has the longest idle connection make room.
fn idle(
    context: &Context,
    state: &mut State,
    found: &mut Found,
    parked: &mut Vec<Parked>,
    now: Instant,
) -> bool {
    evict(context, state, Stage::Idle, SETTLED, parked, now) || state.ask(&mut found.idle, now)
}

fn evict(
    context: &Context,
    state: &mut State,
    stage: Stage,
    rested: Duration,
    parked: &mut Vec<Parked>,
    now: Instant,
) -> bool {
    let evicted = context.lot.evict(stage, rested);
    let found = evicted.is_some();
    if found {
        state.asked.push_back(now);
    }
    parked.extend(evicted);
    found
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

    /// So many wait now: room is made for them.
    pub(crate) fn are(&mut self, count: usize) {
        self.note(count);
        make_room(self.context);
    }

    /// One of them is let in.
    pub(crate) fn let_in(&mut self) {
        let mut state = self.context.recycling.state();
        state.asked.pop_front();
        state.stuck_since = None;
        drop(state);
        self.note(self.count.saturating_sub(1));
    }

    /// Nobody waits.
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
