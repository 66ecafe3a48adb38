//! Facts about a client's requests. The reader of its bytes finds them; answers and the connection's task need them.
//!
//! Only parts of one connection write it, all of them in the connection's task, so `Relaxed` order is enough. But the
//! reader of a request body may be in another task: what it asks for is ordered (acquire and release).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::conn::cause::Refusal;
use crate::conn::http1::strict::{Reader, Refused};

/// Facts about the requests of an HTTP/1 connection, which are counted from 1.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// How many heads hyper was given.
    heads: AtomicU64,
    /// How many bytes of the last one's body hyper was given, without its framing.
    body: AtomicU64,
    /// Not all of the last one's body has come.
    in_body: AtomicBool,
    /// hyper has tried to read more of it, so a client that waits for a `100 Continue` has got one.
    body_sought: AtomicBool,
    /// Whether `head_since` is set: a part of a head, or of the TLS record that holds it, has come. Each turn reads this
    /// instead of taking the lock.
    in_head: AtomicBool,
    head_since: Mutex<Option<Instant>>,
    /// The number of the last request that asked to leave HTTP (an upgrade or CONNECT); 0 if there was none.
    asking: AtomicU64,
    answer: AtomicU8,
    refused: OnceLock<Refused>,
}

/// A request asked to leave HTTP: what its answer means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Stays,
    Leaves,
}

const OPEN: u8 = 0;
const STAYS: u8 = 1;
const LEAVES: u8 = 2;

impl Inbound {
    /// The reader has read on. If a head has just begun, `begun` says when its first byte came.
    pub(crate) fn note(&self, reader: &Reader, begun: impl FnOnce() -> Instant) {
        let heads = reader.heads();
        let is_next = heads != self.heads.load(Ordering::Relaxed);
        if is_next {
            self.heads.store(heads, Ordering::Release);
            self.body_sought.store(false, Ordering::Relaxed);
            if reader.asks_to_leave() {
                self.answer.store(OPEN, Ordering::Relaxed);
                self.asking.store(heads, Ordering::Relaxed);
            }
        }
        self.body.store(reader.body(), Ordering::Release);
        self.in_body.store(reader.is_in_body(), Ordering::Relaxed);
        if is_next {
            self.note_head(false, Instant::now);
        }
        self.note_head(reader.is_in_head(), begun);
        if let Some(refused) = reader.refusal() {
            self.refused.get_or_init(|| refused);
        }
    }

    /// Notes whether the next head has begun to come: a part of it, or of the TLS record that holds it.
    pub(crate) fn note_head(&self, has_begun: bool, begun: impl FnOnce() -> Instant) {
        if has_begun != self.is_in_head() {
            self.set_head(has_begun.then(begun));
        }
    }

    fn set_head(&self, since: Option<Instant>) {
        *self.head_since.lock() = since;
        self.in_head.store(since.is_some(), Ordering::Relaxed);
    }

    /// When the first byte of an unfinished head came.
    pub(crate) fn head_since(&self) -> Option<Instant> {
        if !self.is_in_head() {
            return None;
        }
        *self.head_since.lock()
    }

    pub(crate) fn is_in_head(&self) -> bool {
        self.in_head.load(Ordering::Relaxed)
    }

    /// The last request whose head has come.
    pub(crate) fn newest(&self) -> u64 {
        self.heads.load(Ordering::Relaxed)
    }

    /// Whether nothing has come after this request.
    pub(crate) fn is_newest(&self, request: u64) -> bool {
        self.newest() == request && !self.is_in_head()
    }

    /// Whether hyper was given more than so many bytes of this request's body. Not known once another request has
    /// come: then the answer is no.
    pub(crate) fn has_body_beyond(&self, request: u64, bytes: u64) -> bool {
        // In this order: a number that belongs to another request comes after that request was noted.
        self.body.load(Ordering::Acquire) > bytes && self.heads.load(Ordering::Acquire) == request
    }

    /// Some of a request's body is still to come.
    pub(crate) fn is_in_body(&self) -> bool {
        self.in_body.load(Ordering::Relaxed)
    }

    /// hyper tries to read more of a body.
    pub(crate) fn seek_body(&self) {
        self.body_sought.store(true, Ordering::Relaxed);
    }

    /// Whether hyper has not tried to read the body of this request, and some of it is still to come: a client that
    /// waits for a `100 Continue` still waits.
    pub(crate) fn waits_to_send(&self, request: u64) -> bool {
        self.heads.load(Ordering::Relaxed) == request
            && self.is_in_body()
            && !self.body_sought.load(Ordering::Relaxed)
    }

    /// A request is answered, with an answer that ends HTTP or not. Returns whether the reader waits for that, and
    /// has to be woken.
    pub(crate) fn answer(&self, request: u64, leaves_http: bool) -> bool {
        let has_waited = self.asking.load(Ordering::Relaxed) == request;
        if has_waited {
            self.answer.store(if leaves_http { LEAVES } else { STAYS }, Ordering::Relaxed);
        }
        has_waited
    }

    /// Whether the reader has yet to read an answer that is known: the bytes that it holds back may be a whole
    /// request.
    pub(crate) fn is_deciding(&self) -> bool {
        self.asking.load(Ordering::Relaxed) != 0 && self.answer.load(Ordering::Relaxed) != OPEN
    }

    /// The reader has read the answer.
    pub(crate) fn note_decided(&self) {
        self.asking.store(0, Ordering::Relaxed);
    }

    /// The answer to the last request that asked to leave HTTP, once it is known.
    pub(crate) fn answered(&self) -> Option<Answer> {
        match self.answer.load(Ordering::Relaxed) {
            STAYS => Some(Answer::Stays),
            LEAVES => Some(Answer::Leaves),
            _ => None,
        }
    }

    /// HTTP has ended on the connection.
    pub(crate) fn has_left(&self) -> bool {
        self.answered() == Some(Answer::Leaves)
    }

    /// Why the next request is refused.
    pub(crate) fn refused_request(&self) -> Option<Refusal> {
        match self.refused.get() {
            Some(Refused::Head(refusal)) => Some(*refusal),
            _ => None,
        }
    }

    /// Why the body of this request is refused.
    pub(crate) fn refused_body(&self, request: u64) -> Option<Refusal> {
        match self.refused.get() {
            Some(Refused::Body(refusal)) if self.heads.load(Ordering::Relaxed) == request => Some(*refusal),
            _ => None,
        }
    }
}
