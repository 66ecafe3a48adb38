//! The streams of one HTTP/2 connection: which of them wait for the client, and since when.
//!
//! The traffic of the connection does not show that: a client that opens no window, or never sends a body that it has
//! announced, can still answer every PING and send more requests. Nor does a body that stands still: the handler may
//! be the slow one. So each stream is accounted for on its own, and is reset once it has waited for the client too
//! long.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use tokio::time::Instant;

use crate::conn::http2::credit::Credit;
use crate::conn::http2::frames::{Fault, Frames, Sent};
use crate::conn::http2::interim::Interim;
use crate::conn::http2::known_host::KnownHost;
use crate::conn::http2::progress::Progress;
use crate::conn::http2::room::{Room, Shares};
use crate::conn::limits::{Patience, STALLED};
use crate::conn::traffic::Traffic;

/// How long a stream may stand still while far more responses wait than there is room for.
const STALLED_WITHOUT_ROOM: Duration = Duration::from_secs(5);

/// The window of a new connection (RFC 9113 section 6.9.2).
const FIRST_WINDOW: u64 = 65_535;

/// What the parts of one connection share.
///
/// | field | written by | ordering |
/// | --- | --- | --- |
/// | `granted`, `last_stream`, `opened`, `is_inside_head`, `is_unsettled`, `arrived`, `fault` | the reader of frames (`inspection`), in the connection's task | read in that task: `Relaxed` |
/// | `requests`, `begun`, `host` | the exchange, in that task | the same |
/// | `announces_end` | that task | the same |
/// | `room`, `credit`, `watched`, `interim` | any task of a stream or of a handler that reads a body, too | behind locks |
/// | `has_asked` | any such task | acquire and release |
/// | `taken`, `pieces`, `starting` | any such task | sums only: `Relaxed` |
pub(crate) struct Streams {
    traffic: Traffic,
    pub(crate) room: Arc<Room>,
    pub(super) credit: Arc<Credit>,
    /// How many requests have come.
    requests: AtomicU64,
    watched: Mutex<Slab<Watched>>,
    /// The stream whose request has just begun. hyper starts its task next, which takes it from here.
    begun: Mutex<Option<Arc<Progress>>>,
    /// The tasks of streams that were started and have not had a turn yet.
    starting: AtomicUsize,
    pub(super) host: KnownHost,
    /// The streams come over TLS.
    pub(super) are_secure: bool,
    /// Bytes of responses that have gone out.
    taken: AtomicU64,
    pieces: AtomicU64,
    /// By how much the client has opened the window of the connection.
    granted: AtomicU64,
    last_stream: AtomicU32,
    /// How many streams the client has opened.
    opened: AtomicU64,
    is_inside_head: AtomicBool,
    /// The client is to be sent the first GOAWAY.
    announces_end: AtomicBool,
    interim: Mutex<Interim>,
    /// Nothing more is read in this turn of the connection: the head of a request with a body has come, or has to wait
    /// for the next one.
    is_unsettled: AtomicBool,
    /// The stream of that head; 0 once its request has begun.
    arrived: AtomicU32,
    /// Handlers wait for interim responses. So turns in which none does need no lock.
    has_asked: AtomicBool,
    /// The code with which the connection has to end; 0 is none.
    fault: AtomicU8,
}

/// The body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    /// Of this length, if the client has said it.
    OfLength(Option<u64>),
    /// What follows CONNECT.
    Tunnel,
}

struct Watched {
    progress: Weak<Progress>,
    /// How many requests came before.
    order: u64,
    /// Its request has begun.
    has_entered: bool,
    /// Set while it waits for the client.
    patience: Option<Patience>,
}

/// What a look at all streams has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many streams have something unsent.
    pub(crate) unsent: usize,
    /// One of them has waited too long and can't be reset: h2 has the whole rest of its response.
    pub(crate) is_stuck: bool,
}

impl Streams {
    /// These streams, of a connection that is over TLS or not.
    pub(crate) fn over_tls(self, are_secure: bool) -> Self {
        Self { are_secure, ..self }
    }

    pub(crate) fn new(shares: Shares) -> Self {
        Self {
            traffic: Traffic::default(),
            room: Arc::new(Room::new(shares)),
            credit: Arc::new(Credit::new(shares)),
            requests: AtomicU64::new(0),
            watched: Mutex::default(),
            begun: Mutex::default(),
            starting: AtomicUsize::new(0),
            host: KnownHost::default(),
            are_secure: false,
            taken: AtomicU64::new(0),
            pieces: AtomicU64::new(0),
            granted: AtomicU64::new(FIRST_WINDOW),
            last_stream: AtomicU32::new(0),
            opened: AtomicU64::new(0),
            is_inside_head: AtomicBool::new(false),
            announces_end: AtomicBool::new(false),
            interim: Mutex::default(),
            is_unsettled: AtomicBool::new(false),
            arrived: AtomicU32::new(0),
            has_asked: AtomicBool::new(false),
            fault: AtomicU8::new(0),
        }
    }

    /// The requests and bytes of the connection.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(super) fn announces_end(&self) -> bool {
        self.announces_end.load(Ordering::Relaxed)
    }

    /// Has the transport send the first GOAWAY.
    pub(super) fn announce_end(&self) {
        self.announces_end.store(true, Ordering::Relaxed);
    }

    /// A request has come.
    ///
    /// hyper does not tell the number of its stream. But the head of a request with a body comes alone in its turn of
    /// the connection: nothing is read between it and any other head before hyper has passed on all requests that it
    /// has. So a request with a body, or a tunnel, is the one whose head has come in this turn.
    pub(crate) fn begin(self: &Arc<Self>, body: Body) -> Arc<Progress> {
        let order = self.requests.fetch_add(1, Ordering::Relaxed);
        let stream = if body == Body::None { 0 } else { self.arrived.swap(0, Ordering::Relaxed) };
        match body {
            Body::OfLength(length) => self.credit.declare(stream, length),
            Body::Tunnel => self.credit.is_tunnel(stream),
            Body::None => {}
        }
        let progress = {
            let mut watched = self.watched();
            let entry = watched.vacant_entry();
            let progress = Arc::new(Progress::new(self.clone(), entry.key(), order, stream));
            let weak = Arc::downgrade(&progress);
            entry.insert(Watched { progress: weak, order, has_entered: false, patience: None });
            progress
        };
        *self.begun() = Some(progress.clone());
        progress
    }

    /// The head of a request with a body has come.
    pub(super) fn note_arrived(&self, stream: u32) {
        self.arrived.store(stream, Ordering::Relaxed);
        self.is_unsettled.store(true, Ordering::Relaxed);
    }

    /// A turn of the connection is over. Returns whether it needs another one, to read on.
    pub(super) fn settle(&self, connection: &Waker) -> bool {
        let is_unsettled = self.is_unsettled.swap(false, Ordering::Relaxed);
        if is_unsettled {
            self.credit.set_connection(connection);
            let refused = self.arrived.swap(0, Ordering::Relaxed);
            if refused != 0 {
                self.credit.end(refused);
            }
        }
        is_unsettled
    }

    /// A handler waits for a body whose client waits for a `100 Continue`.
    pub(super) fn ask_continue(&self, progress: &Arc<Progress>) {
        self.interim().ask(progress);
        // Before the connection is woken: its task must not find nothing to send and sleep again.
        self.has_asked.store(true, Ordering::Release);
        self.credit.wake_connection();
    }

    /// The stream whose task starts now; none if it is the task of something else.
    pub(super) fn take_begun(&self) -> Option<Arc<Progress>> {
        self.begun().take()
    }

    /// The task of a stream was started.
    pub(super) fn note_start(&self) {
        self.starting.fetch_add(1, Ordering::Relaxed);
    }

    /// The task of a stream has its first turn, or ends without one.
    pub(super) fn note_first_turn(&self) {
        self.starting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the tasks of some streams have yet to have a turn.
    pub(super) fn are_starting(&self) -> bool {
        self.starting.load(Ordering::Relaxed) > 0
    }

    pub(super) fn end(&self, key: usize) {
        self.watched().try_remove(key);
    }

    pub(super) fn note_entered(&self, key: usize) {
        if let Some(watched) = self.watched().get_mut(key) {
            watched.has_entered = true;
        }
    }

    /// Whether an earlier request has yet to begin.
    pub(super) fn has_earlier(&self, order: u64) -> bool {
        self.watched().iter().any(|(_, watched)| !watched.has_entered && watched.order < order)
    }

    /// How many streams there are, to the last byte of their responses.
    pub(crate) fn count(&self) -> usize {
        self.watched().len()
    }

    /// Checks all streams, and resets those that have waited too long. If the whole connection `is_held_up`, no
    /// single stream is to blame for unsent bytes.
    pub(crate) fn look(&self, now: Instant, is_held_up: bool) -> Found {
        let shortened = if self.room.is_overfull() { STALLED - STALLED_WITHOUT_ROOM } else { Duration::ZERO };
        let blocked_by = self.credit.is_blocked_by(now);
        let mut found = Found::default();
        let mut live = Vec::new();
        for watched in self.watched().iter_mut() {
            let Some(progress) = watched.1.progress.upgrade() else { continue };
            found.unsent += usize::from(progress.has_unsent());
            let is_overdue = watched.1.is_overdue(&progress, now + shortened, now, is_held_up)
                || (blocked_by.is_some() && progress.stream() == blocked_by);
            if is_overdue && !progress.reset() {
                found.is_stuck = true;
            }
            // Kept until the lock is free: dropping the last owner takes the lock.
            live.push(progress);
        }
        found
    }

    /// Whether the window of the connection is used up.
    pub(crate) fn is_window_shut(&self) -> bool {
        self.taken() >= self.granted.load(Ordering::Relaxed)
    }

    /// The bytes of responses that have gone out.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn note_taken(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn note_piece(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }

    /// The highest stream that the client has opened.
    pub(crate) fn last_stream(&self) -> u32 {
        self.last_stream.load(Ordering::Relaxed)
    }

    /// How many streams never became a request for hyper: h2 answered them with 431 or reset them, their client reset
    /// them, or the connection ended before.
    pub(crate) fn unseen(&self) -> u64 {
        self.opened.load(Ordering::Relaxed).saturating_sub(self.requests.load(Ordering::Relaxed))
    }

    /// Whether the client is in the middle of a header block.
    pub(crate) fn is_inside_head(&self) -> bool {
        self.is_inside_head.load(Ordering::Relaxed)
    }

    /// The code with which the connection has to end for what its client has sent.
    pub(crate) fn fault(&self) -> Option<u8> {
        Some(self.fault.load(Ordering::Relaxed)).filter(|code| *code != 0)
    }

    /// The first fault decides.
    pub(super) fn note_fault(&self, fault: Fault) {
        if self.fault().is_none() {
            self.fault.store(fault as u8, Ordering::Relaxed);
        }
    }

    /// Whether nothing more is read in this turn of the connection.
    pub(super) fn is_unsettled(&self) -> bool {
        self.is_unsettled.load(Ordering::Relaxed)
    }

    /// What has been sent to the client.
    pub(super) fn sent(&self) -> Sent {
        Sent { bytes: self.traffic.bytes_out(), pieces: self.pieces.load(Ordering::Relaxed) }
    }

    /// The client's frames were read up to here.
    pub(super) fn note_frames(&self, frames: &mut Frames) -> Result<(), Fault> {
        self.credit.note(frames.events())?;
        if frames.take_arrived() {
            self.note_arrived(frames.last_stream());
        }
        if frames.ends_turn() {
            self.is_unsettled.store(true, Ordering::Relaxed);
        }
        self.last_stream.store(frames.last_stream(), Ordering::Relaxed);
        self.opened.store(frames.opened(), Ordering::Relaxed);
        self.granted.store(FIRST_WINDOW + frames.granted(), Ordering::Relaxed);
        self.is_inside_head.store(frames.is_inside_head(), Ordering::Relaxed);
        Ok(())
    }

    /// Appends the interim responses to send now, between two frames.
    pub(super) fn put_interim(&self, bytes: &mut BytesMut) {
        if self.has_asked.load(Ordering::Acquire) {
            let mut interim = self.interim();
            self.has_asked.store(false, Ordering::Release);
            interim.put_due(bytes);
        }
    }

    fn watched(&self) -> MutexGuard<'_, Slab<Watched>> {
        self.watched.lock()
    }

    fn interim(&self) -> MutexGuard<'_, Interim> {
        self.interim.lock()
    }

    fn begun(&self) -> MutexGuard<'_, Option<Arc<Progress>>> {
        self.begun.lock()
    }
}

impl Watched {
    fn is_overdue(&mut self, progress: &Progress, limit: Instant, now: Instant, is_held_up: bool) -> bool {
        let moved = progress.moved();
        let waits = progress.awaits_client() || progress.has_unsent();
        let is_excused = is_held_up && !progress.awaits_client();
        let Some(patience) = self.patience.as_mut().filter(|_| waits) else {
            self.patience = waits.then(|| Patience::new(moved, now));
            return false;
        };
        if is_excused {
            patience.resume(moved, now);
            return false;
        }
        patience.note(moved, now);
        limit >= patience.end()
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ServerOptions;
    use std::task::Wake;

    /// Notes what the connection's task would find when it is woken.
    struct Connection {
        streams: Arc<Streams>,
        found_question: AtomicBool,
    }

    impl Wake for Connection {
        fn wake(self: Arc<Self>) {
            self.found_question.store(self.streams.has_asked.load(Ordering::Acquire), Ordering::Release);
        }
    }

    #[test]
    fn a_connection_that_is_woken_for_an_interim_response_finds_it() {
        let streams = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test"))));
        streams.note_arrived(1);
        let progress = streams.begin(Body::OfLength(None));
        progress.expect_continue();
        let connection =
            Arc::new(Connection { streams: streams.clone(), found_question: AtomicBool::new(false) });
        assert!(streams.settle(&Waker::from(connection.clone())), "it has to read on");
        assert!(!streams.settle(&Waker::from(connection.clone())), "no handler has asked yet");
        progress.upload_is_awaited();
        assert!(connection.found_question.load(Ordering::Acquire));
    }

    #[test]
    fn a_connection_that_ends_in_the_turn_of_a_request_is_freed() {
        let streams = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test"))));
        streams.note_arrived(1);
        let progress = streams.begin(Body::OfLength(None));
        _ = streams.take_begun();
        progress.expect_continue();
        progress.upload_is_awaited();
        let left = Arc::downgrade(&streams);
        drop((progress, streams));
        assert!(left.upgrade().is_none(), "what waits for an interim response keeps it");
    }
}
