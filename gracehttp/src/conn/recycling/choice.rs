//! Which connections make room.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::conn::close::end_parked;
use crate::conn::context::Context;
use crate::conn::recycling::{Doing, PATIENCE, Recycling, SETTLED, State};
use crate::lifecycle::{ConnectionEnd, CutReason};
use crate::parking::Parked;
use crate::socket::Stage;

/// If a connection that was asked to close has not done so after this time, another one is asked.
const ASKED: Duration = Duration::from_secs(1);

/// How long awake connections have to enter a new list.
const GATHERING: Duration = Duration::from_millis(20);

/// The least time between two looks at the list, and what each of its connections adds to it: a long list costs time.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_micros(1));

/// Makes one connection leave for each client that waits.
pub(super) fn make_room(context: &Context) {
    let recycling = &context.recycling;
    if !recycling.listing.swap(true, Ordering::Relaxed) {
        recycling.state().listing_since = Some(Instant::now());
        // All awake connections wake up and enter the list.
        context.drain.remind();
    }
    let mut state = recycling.state();
    let now = Instant::now();
    let needed = state.needed(now);
    if needed == 0 || state.listing_since.is_none_or(|since| now < since + GATHERING) {
        return;
    }
    let found = recycling.look(&mut state, now);
    let mut choice = Choice { context, state: &mut state, found, now, parked: Vec::new() };
    choice.make(needed);
    let parked = choice.parked;
    drop(state);
    parked
        .into_iter()
        .for_each(|parked| end_parked(context, parked, ConnectionEnd::Cut(CutReason::FullServer)));
}

/// The permits that newcomers can hold while a server with this limit is full.
fn share(limit: usize) -> usize {
    (limit / 2).max(1)
}

/// The choice of connections at one moment.
struct Choice<'a> {
    context: &'a Context,
    state: &'a mut State,
    found: Found,
    now: Instant,
    /// Taken out of the parking lot, to be closed.
    parked: Vec<Parked>,
}

impl Choice<'_> {
    /// Takes out parked connections, asks awake ones, and leaves the rest to the next responses.
    fn make(&mut self, needed: usize) {
        let is_stuck = self.state.stuck_since.is_some_and(|since| self.now >= since + SETTLED);
        let share = share(self.context.permits.limit());
        let (newcomers, made) = self.make_at_once(needed, share, is_stuck);
        let needed = needed - made;
        let recycling = &self.context.recycling;
        // A first response may close any number of connections: each was a newcomer's, so its place stays within
        // their share.
        recycling.first_closes.store(needed, Ordering::Release);
        let needed = needed.min(share.saturating_sub(newcomers));
        // HTTP/2 makes room by its share of the busy connections, or all of it if the others have made none for a
        // while.
        let held = self.context.permits.held().max(1);
        let of_http2 = (needed * self.state.multiplexed + held / 2) / held;
        for _ in 0..if is_stuck { needed } else { of_http2 } {
            if !self.state.ask(&mut self.found.multiplexed, self.now) {
                break;
            }
        }
        let of_http1 = if is_stuck { needed } else { needed.saturating_sub(of_http2) };
        recycling.closes.store(of_http1, Ordering::Release);
    }

    /// Makes room by connections without a request. Returns how many newcomers there are then, and how many
    /// connections leave.
    fn make_at_once(&mut self, needed: usize, share: usize, is_stuck: bool) -> (usize, usize) {
        let Context { recycling, permits, lot, .. } = self.context;
        let awake = recycling.newcomers.load(Ordering::Relaxed) + permits.unseen();
        // The clients that get the permits that are coming are newcomers, too.
        let mut newcomers = lot.count(Stage::Fresh) + awake + self.state.asked.len();
        for made in 0..needed {
            let goes = if newcomers >= share {
                self.newcomer()
            } else if self.idle() {
                newcomers += 1;
                true
            } else {
                // Neither the idle nor the busy have made room for a while.
                is_stuck && self.newcomer()
            };
            if !goes {
                return (newcomers, made);
            }
        }
        (newcomers, needed)
    }

    /// Makes the oldest newcomer leave.
    fn newcomer(&mut self) -> bool {
        let awake = self.found.newcomers.last().map(|(since, _)| *since);
        let parked = self.context.lot.oldest(Stage::Fresh);
        let is_parked = parked.is_some_and(|parked| awake.is_none_or(|awake| parked <= awake));
        is_parked && self.evict(Stage::Fresh, PATIENCE) || self.state.ask(&mut self.found.newcomers, self.now)
    }

    /// Makes the connection leave that has been idle for longest.
    fn idle(&mut self) -> bool {
        self.evict(Stage::Idle, SETTLED) || self.state.ask(&mut self.found.idle, self.now)
    }

    /// Takes the oldest connection of a stage out of the parking lot.
    fn evict(&mut self, stage: Stage, rested: Duration) -> bool {
        let evicted = self.context.lot.evict(stage, rested);
        let made = evicted.is_some();
        if made {
            self.state.asked.push_back(self.now);
        }
        self.parked.extend(evicted);
        made
    }
}

/// The connections in the list that could be asked, the oldest last.
#[derive(Debug, Default)]
struct Found {
    newcomers: Vec<(Instant, usize)>,
    idle: Vec<(Instant, usize)>,
    multiplexed: Vec<(Instant, usize)>,
}

impl Recycling {
    /// Goes through the list.
    fn look(&self, state: &mut State, now: Instant) -> Found {
        let mut found = Found::default();
        let interval = LOOK.0 + LOOK.1 * u32::try_from(state.listed.len()).unwrap_or(u32::MAX);
        if state.looked_at.is_some_and(|at| now < at + interval) {
            return found;
        }
        for (key, listed) in &state.listed {
            if listed.asked.load(Ordering::Relaxed) {
                continue;
            }
            match self.unpack(listed.doing.load(Ordering::Relaxed)) {
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
