//! How much of one HTTP/2 connection may wait in memory. `max_conn_memory` is divided between responses that the client
//! has not taken, request bodies that no handler has read or answered, and request heads. [`credit`](super::credit)
//! decides how the share of the bodies is used.
//!
//! A request begins only while there is room for its response. If there is none, one stream at a time still proceeds.
//! So a client that lets some responses wait gets others, and a response that is larger than all of the room is sent,
//! too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

use crate::server::ServerOptions;

/// What a header field holds in memory besides its bytes.
const FIELD: usize = 100;

/// The most of a response that hyper is handed at once: what fits in a DATA frame.
pub(crate) const PIECE: usize = 16 << 10;

/// The most of the pool: h2's windows, which are twice as large, have less than 2^31 bytes (RFC 9113 section 6.9.1).
const MOST_POOL: usize = 256 << 20;

/// How much of one response hyper holds by default.
const MOST_UNSENT: usize = 400 << 10;

/// Streams that one connection may have open at once (RFC 9113 section 6.5.2 advises at least 100), and how much
/// memory is reckoned for each.
const STREAMS: usize = 128;
const OF_A_STREAM: usize = 32 << 10;

/// The fewest streams that a connection gets.
const LEAST_STREAMS: usize = 16;

/// A request head up to this size always finds room: a browser's, with a few kilobytes of cookies.
const SMALL_HEAD: usize = 8 << 10;

/// The window of a new connection, and of a stream whose client does not know our SETTINGS (RFC 9113 section 6.9.2).
pub(super) const UNTOLD_WINDOW: usize = 65_535;

/// The first bytes of a stream, up to this many, may exceed its window: one frame of the size that every server takes
/// (RFC 9113 section 4.2). A client may send it before it looks at our SETTINGS.
pub(super) const FIRST_FRAME: usize = 16 << 10;

/// The smallest first window of a stream.
const LEAST_FIRST: usize = 1 << 10;

/// How `max_conn_memory` is divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// For responses that wait: a half.
    pub(crate) responses: usize,
    /// For the large heads of requests that are not answered yet: an eighth. At least as much is left for the small
    /// heads of all streams.
    pub(crate) heads: usize,
    pub(crate) streams: u32,
    /// The size up to which each request body needs no credit from the pool: a quarter for all of them.
    pub(crate) first: usize,
    /// The credit that all bodies share beyond that: a quarter. One body may use all of it.
    pub(crate) pool: usize,
    /// If the pool is used up, one body may still proceed. This is its limit: a half. Beyond that it still gets a
    /// window of a sixteenth.
    pub(crate) body: usize,
    pub(crate) right: usize,
    /// How much of one response h2 takes before it is sent.
    pub(crate) unsent: usize,
}

impl Shares {
    pub(crate) fn of(options: &ServerOptions) -> Self {
        let whole = options.max_conn_memory;
        let streams = (whole / OF_A_STREAM).clamp(LEAST_STREAMS, STREAMS);
        Self {
            responses: whole / 2,
            heads: whole / 8,
            streams: streams as u32,
            first: (whole / 4 / streams).clamp(LEAST_FIRST, UNTOLD_WINDOW),
            pool: (whole / 4).clamp(UNTOLD_WINDOW, MOST_POOL),
            body: (whole / 2).min(MOST_POOL),
            right: (whole / 16).clamp(PIECE, MOST_POOL),
            unsent: (whole / 32).clamp(PIECE, MOST_UNSENT),
        }
    }

    /// The most that a client may have under way on one stream.
    pub(super) fn largest_window(&self) -> usize {
        self.first.max(self.pool).max(self.body)
    }

    /// What all bodies may come to unread.
    pub(super) fn most_unread(&self) -> usize {
        self.first.max(FIRST_FRAME) * self.streams as usize + self.pool + self.body
    }

    /// The window of the connection: what all bodies may come to unread never fills it, though h2 opens it again only
    /// once a third of it was read. It also bounds what the account does not: tunnels, and what h2 keeps of streams
    /// that are over.
    pub(super) fn window(&self) -> u32 {
        let all = self.most_unread();
        (all + all / 2 + UNTOLD_WINDOW) as u32
    }
}

/// How much of the room is taken, and which streams wait for some.
#[derive(Debug)]
pub(crate) struct Room {
    shares: Shares,
    /// Bytes of responses that were made and have not gone out.
    responses: AtomicUsize,
    /// Bytes of the heads of requests that are not answered yet.
    heads: AtomicUsize,
    /// A stream goes on although there is no room.
    has_exception: AtomicBool,
    /// `waiting` may hold a stream; spares the lock.
    has_waiting: AtomicBool,
    /// By the order of their requests: so a client that takes its responses in this order never waits for a response
    /// that waits for another.
    waiting: Mutex<BTreeMap<u64, Waker>>,
}

/// Why a stream may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Room,
    /// It is the one that may go on without room, until [`Room::end_exception`].
    Exception,
}

impl Room {
    pub(crate) fn new(shares: Shares) -> Self {
        Self {
            shares,
            responses: AtomicUsize::new(0),
            heads: AtomicUsize::new(0),
            has_exception: AtomicBool::new(false),
            has_waiting: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    /// The window of each stream, as clients see it.
    pub(super) fn first_window(&self) -> u32 {
        self.shares.first as u32
    }

    /// Whether more responses wait than there is room for.
    pub(crate) fn is_full(&self) -> bool {
        self.responses.load(SeqCst) >= self.shares.responses
    }

    /// Whether far more wait: many handlers have made their responses at once, after all of their requests had begun.
    /// A few more than there is room for are no such burst: each thread may let one stream go on at the same moment.
    pub(crate) fn is_overfull(&self) -> bool {
        self.responses.load(SeqCst) >= 4 * self.shares.responses
    }

    /// Lets a stream go on once no earlier one waits, and there is room for its response, or no other stream goes on
    /// without room and none that `has_earlier` finds has yet to ask.
    pub(crate) fn poll_enter(
        &self,
        order: u64,
        cx: &Context<'_>,
        has_earlier: impl FnOnce() -> bool,
    ) -> Poll<Entry> {
        if !self.has_waiting.load(SeqCst) && !self.is_full() {
            return Poll::Ready(Entry::Room);
        }
        let mut waiting = self.waiting();
        // Before the question: if room comes free just after it, the stream is woken.
        self.has_waiting.store(true, SeqCst);
        let is_next = waiting.keys().next().is_none_or(|first| *first >= order);
        let entry = if is_next { self.try_enter(has_earlier) } else { None };
        let Some(entry) = entry else {
            waiting.insert(order, cx.waker().clone());
            return Poll::Pending;
        };
        waiting.remove(&order);
        self.wake_next(&waiting);
        Poll::Ready(entry)
    }

    /// A stream will not ask, or not again: those that wait for it need not.
    pub(crate) fn leave(&self, order: u64) {
        if self.has_waiting.load(SeqCst) {
            let mut waiting = self.waiting();
            waiting.remove(&order);
            self.wake_next(&waiting);
        }
    }

    /// The tasks of streams begin in any order, on any thread. If a later one went on without room before an earlier one
    /// has asked, a client that takes its responses in their order would wait for the one that waits for the other.
    fn try_enter(&self, has_earlier: impl FnOnce() -> bool) -> Option<Entry> {
        if !self.is_full() {
            return Some(Entry::Room);
        }
        if has_earlier() {
            return None;
        }
        (!self.has_exception.swap(true, SeqCst)).then_some(Entry::Exception)
    }

    /// Lets another stream be the exception.
    pub(crate) fn end_exception(&self) {
        self.has_exception.store(false, SeqCst);
        self.tell();
    }

    /// Takes room for a response or a part of one. One that is larger than half of the room counts as half, so that
    /// others have room while it goes out.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Hold {
        let bytes = bytes.min(self.shares.responses / 2);
        self.responses.fetch_add(bytes, SeqCst);
        Hold { room: self.clone(), bytes }
    }

    /// Takes room for the head of a request; none if other large heads leave too little.
    pub(crate) fn hold_head(self: &Arc<Self>, size: usize, fields: usize) -> Option<HeadHold> {
        let bytes = size + fields * FIELD;
        let bytes = if bytes > SMALL_HEAD { bytes } else { 0 };
        let before = self.heads.fetch_add(bytes, SeqCst);
        let hold = HeadHold { room: self.clone(), bytes };
        (bytes == 0 || before == 0 || before + bytes <= self.shares.heads).then_some(hold)
    }

    /// Room has come free.
    fn tell(&self) {
        if self.has_waiting.load(SeqCst) {
            self.wake_next(&self.waiting());
        }
    }

    fn wake_next(&self, waiting: &BTreeMap<u64, Waker>) {
        match waiting.first_key_value() {
            Some((_, next)) => next.wake_by_ref(),
            None => self.has_waiting.store(false, SeqCst),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Waker>> {
        self.waiting.lock()
    }
}

/// Room that a response takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let before = self.room.responses.fetch_sub(self.bytes, SeqCst);
        if before - self.bytes < self.room.shares.responses {
            self.room.tell();
        }
    }
}

/// Room that the head of a request takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct HeadHold {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for HeadHold {
    fn drop(&mut self) {
        self.room.heads.fetch_sub(self.bytes, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn room() -> Arc<Room> {
        let options = ServerOptions::new("test");
        Arc::new(Room::new(Shares::of(&options)))
    }

    #[test]
    fn the_default_is_divided() {
        let shares = Shares::of(&ServerOptions::new("test"));
        assert_eq!((shares.responses, shares.heads), (2 << 20, 512 << 10));
        assert_eq!((shares.first, shares.pool), (8 << 10, 1 << 20));
        assert_eq!((shares.body, shares.right), (2 << 20, 256 << 10));
        assert_eq!((shares.streams, shares.unsent), (128, 128 << 10));
        let mut small = ServerOptions::new("test");
        small.max_conn_memory = 64 << 10;
        let shares = Shares::of(&small);
        assert_eq!((shares.responses, shares.unsent, shares.streams), (32 << 10, 16 << 10, 16));
        assert_eq!((shares.first, shares.pool, shares.right), (1 << 10, 65_535, 16 << 10));
    }

    #[test]
    fn windows_fit_whatever_the_memory() {
        for memory in [0, 64 << 10, 4 << 20, 1 << 30, 1 << 40] {
            let mut options = ServerOptions::new("test");
            options.max_conn_memory = memory;
            let shares = Shares::of(&options);
            assert!(shares.window() < 1 << 31, "{memory}");
        }
    }

    #[test]
    fn a_full_room_lets_one_at_a_time_go_on() {
        let (room, woken) = (room(), Arc::new(Woken::default()));
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        assert_eq!(room.poll_enter(1, &cx, || false), Poll::Ready(Entry::Room));
        // However large they are, it takes two.
        let first = room.hold(100 << 20);
        assert_eq!(room.poll_enter(2, &cx, || false), Poll::Ready(Entry::Room));
        let second = room.hold(100 << 20);
        assert_eq!(room.poll_enter(3, &cx, || false), Poll::Ready(Entry::Exception));
        assert_eq!(room.poll_enter(5, &cx, || false), Poll::Pending);
        assert_eq!(room.poll_enter(4, &cx, || false), Poll::Pending);
        room.end_exception();
        assert_eq!(woken.0.load(SeqCst), 1);
        assert_eq!(room.poll_enter(5, &cx, || false), Poll::Pending, "not before an earlier one");
        room.leave(4);
        assert_eq!(room.poll_enter(5, &cx, || false), Poll::Ready(Entry::Exception));
        assert_eq!(room.poll_enter(6, &cx, || false), Poll::Pending);
        let before = woken.0.load(SeqCst);
        drop(first);
        assert_eq!(woken.0.load(SeqCst), before + 1);
        assert_eq!(room.poll_enter(6, &cx, || false), Poll::Ready(Entry::Room));
        drop(second);
    }

    #[test]
    fn heads_take_room_together() {
        let room = room();
        let first = room.hold_head(2 << 20, 3).expect("one alone is the server's to allow");
        assert!(room.hold_head(8000, 10).is_none());
        assert!(room.hold_head(4000, 40).is_some(), "a small one finds room");
        drop(first);
        let many: Vec<_> = (0..100).map_while(|_| room.hold_head(64 << 10, 10)).collect();
        assert_eq!(many.len(), 7);
    }
}
