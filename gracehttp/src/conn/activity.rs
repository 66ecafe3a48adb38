//! What a connection is doing, as its parts see it.
//!
//! hyper does not say whether a connection is between two requests. Its surroundings know: the service
//! sees a request begin, the response body sees it end, the request body sees whether it was read, and the
//! transport sees what is blocked and what was flushed. They note it here; the task of the connection reads
//! it after every turn. All of it is written by parts of one connection and read by its own task, so
//! `Relaxed` order is enough but for the counts that other tasks change when they drop a body.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};

use crate::conn::http1::inbound::Inbound;

/// The shared notes of one connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    inbound: Inbound,
    /// Requests that were begun and whose responses have not ended.
    open: AtomicU32,
    /// Requests that were begun.
    begun: AtomicU64,
    /// The response to the HTTP/1 request that began last has begun.
    answering: AtomicBool,
    /// Request bodies that were not read to their end.
    unread: AtomicU32,
    /// The rest of such a body stays unread: the connection ends after the response.
    given_up_body: AtomicBool,
    /// The last read found nothing.
    read_blocked: AtomicBool,
    /// The client has closed its side while its request was being answered.
    half_closed: AtomicBool,
    /// The newest request of which hyper has the whole body.
    received: AtomicU64,
    /// The reader of a request body. It is woken when the rest of the body has arrived, or never will.
    body_reader: Mutex<Option<Waker>>,
    /// Bytes wait to be written.
    unflushed: AtomicBool,
    /// A response broke off.
    broken: AtomicBool,
    /// The client would take the end of the connection for the end of that response.
    ends_unnoticed: AtomicBool,
    /// The client of an HTTP/2 connection is to hear that the end is near.
    announces_end: AtomicBool,
    /// A response has begun since the restart did.
    answered_in_restart: AtomicBool,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    unread_body: Mutex<UnreadBody>,
}

/// What the connection's task shares with the holder of its request body, which may be another task.
#[derive(Debug, Default)]
struct UnreadBody {
    leftover: Option<Leftover>,
    /// The connection's task, if it waits until the holder has read or dropped the body.
    connection: Option<Waker>,
}

/// A request body that its handler let go before the end.
#[derive(Debug)]
struct Leftover {
    body: Incoming,
    /// How many bytes of it may still be read and thrown away, to keep the connection.
    allowed: u64,
}

impl Activity {
    /// Neither a request nor a response nor any byte of them is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_between_requests()
            && self.is_read_blocked()
            && !self.inbound.is_deciding()
            && !self.is_unflushed()
    }

    /// Every request that was begun has been answered and read, though the answer may not be flushed.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.open() == 0 && !self.has_unread_body()
    }

    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    pub(crate) fn has_given_up_body(&self) -> bool {
        self.given_up_body.load(Ordering::Acquire)
    }

    /// The rest of a request body stays unread.
    pub(crate) fn give_up_body(&self) {
        self.given_up_body.store(true, Ordering::Release);
    }

    pub(crate) fn has_unread_body(&self) -> bool {
        self.unread.load(Ordering::Acquire) != 0
    }

    pub(crate) fn is_read_blocked(&self) -> bool {
        self.read_blocked.load(Ordering::Relaxed)
    }

    /// Whether nothing is read until the handler is done, so that the end of the connection goes unnoticed.
    pub(crate) fn is_deaf(&self) -> bool {
        self.has_unread_body() || !self.is_read_blocked() || self.inbound.refused_request().is_some()
    }

    pub(crate) fn is_half_closed(&self) -> bool {
        self.half_closed.load(Ordering::Relaxed)
    }

    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed.load(Ordering::Relaxed)
    }

    /// Whether a response broke off: only the end of the connection can tell its client.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether the client would take the end of the connection for the end of the broken response.
    pub(crate) fn ends_unnoticed(&self) -> bool {
        self.ends_unnoticed.load(Ordering::Relaxed)
    }

    /// What the reader of an HTTP/1 connection knows.
    pub(crate) fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    pub(crate) fn note_read(&self, bytes: usize) {
        self.read_blocked.store(false, Ordering::Relaxed);
        // One writer: no read-modify-write is needed.
        self.bytes_in.store(self.bytes_in() + bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_read_blocked(&self) {
        self.read_blocked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn note_half_closed(&self) {
        let mut body_reader = self.body_reader();
        self.half_closed.store(true, Ordering::Relaxed);
        self.note_read_blocked();
        if let Some(waker) = body_reader.take() {
            waker.wake();
        }
    }

    /// Bytes may have been held back before the end was read. It is read again behind them.
    pub(crate) fn forget_half_close(&self) {
        self.half_closed.store(false, Ordering::Relaxed);
    }

    /// hyper has the whole bodies of all requests that were begun.
    fn note_received(&self) {
        let mut body_reader = self.body_reader();
        self.received.store(self.begun(), Ordering::Relaxed);
        if let Some(waker) = body_reader.take() {
            waker.wake();
        }
    }

    /// Whether more of this request's body will come, apart from what hyper passes on. While that is open, the caller
    /// is woken when it changes.
    pub(crate) fn poll_fate(&self, request: u64, cx: &Context<'_>) -> Fate {
        // Under the lock, so that nothing is noted between the look and the registration.
        let mut body_reader = self.body_reader();
        if self.received.load(Ordering::Relaxed) >= request {
            Fate::Received
        } else if self.is_half_closed() {
            Fate::CutShort
        } else {
            *body_reader = Some(cx.waker().clone());
            Fate::Open
        }
    }

    pub(crate) fn note_written(&self, bytes: usize) {
        self.bytes_out.store(self.bytes_out() + bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_unflushed(&self, unflushed: bool) {
        self.unflushed.store(unflushed, Ordering::Relaxed);
    }

    pub(crate) fn announces_end(&self) -> bool {
        self.announces_end.load(Ordering::Relaxed)
    }

    /// Has the transport say GOAWAY.
    pub(crate) fn announce_end(&self) {
        self.announces_end.store(true, Ordering::Relaxed);
    }

    /// A response begins after the restart did.
    pub(crate) fn answers_in_restart(&self) {
        self.answered_in_restart.store(true, Ordering::Relaxed);
    }

    /// Whether one did.
    pub(crate) fn has_answered_in_restart(&self) -> bool {
        self.answered_in_restart.load(Ordering::Relaxed)
    }

    /// A request body is on its way.
    pub(crate) fn body_begins(&self) {
        self.unread.fetch_add(1, Ordering::AcqRel);
    }

    /// A request body was read to its end.
    pub(crate) fn body_ends(&self) {
        self.unread.fetch_sub(1, Ordering::AcqRel);
        self.unread_body().wake_connection();
    }

    /// The handler of an HTTP/1 request let its body go unread; the connection's task discards the rest.
    pub(crate) fn leave_body(&self, body: Incoming, allowed: u64) {
        let mut unread_body = self.unread_body();
        // hyper closes the connection after the response if the body was dropped.
        if !self.has_given_up_body() && unread_body.leftover.replace(Leftover { body, allowed }).is_some() {
            // The body before was left as well. Its end and this request came in one read, so nothing has looked at
            // it since.
            self.unread.fetch_sub(1, Ordering::AcqRel);
        }
        unread_body.wake_connection();
    }

    /// The body of the last request is not awaited: the connection ends with the response.
    pub(crate) fn forgo_body(&self) {
        let mut unread_body = self.unread_body();
        self.give_up_body();
        unread_body.leftover = None;
    }

    /// Whether hyper has the whole body and looks for the next request. After trailers it does not end the body
    /// itself.
    fn has_read_all(&self) -> bool {
        self.is_read_blocked() && !self.inbound.is_in_body()
    }

    fn body_reader(&self) -> MutexGuard<'_, Option<Waker>> {
        self.body_reader.lock()
    }

    fn unread_body(&self) -> MutexGuard<'_, UnreadBody> {
        self.unread_body.lock()
    }

    /// Reads on in a body that its handler left. Over the limit the body is dropped, upon which hyper
    /// closes the connection after the response.
    pub(crate) fn poll_discard(&self, cx: &mut Context<'_>) -> Discard {
        if !self.has_unread_body() {
            return Discard::Nothing;
        }
        let mut unread_body = self.unread_body();
        let Some(leftover) = unread_body.leftover.as_mut() else {
            // The handler may still hold it, while hyper has passed all of it on: then the reader below hyper alone
            // sees the end.
            unread_body.connection = Some(cx.waker().clone());
            drop(unread_body);
            if self.has_read_all() {
                self.note_received();
            }
            return Discard::Nothing;
        };
        let read_to_end = loop {
            match std::pin::Pin::new(&mut leftover.body).poll_frame(cx) {
                // The rest of it will never come.
                Poll::Pending if self.is_half_closed() => break false,
                Poll::Pending if self.has_read_all() => break true,
                Poll::Pending => return Discard::Waiting,
                Poll::Ready(Some(Ok(frame))) => {
                    if ends_body(&frame, &leftover.body) {
                        break true;
                    }
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match leftover.allowed.checked_sub(length) {
                        Some(allowed) => leftover.allowed = allowed,
                        None => break false,
                    }
                }
                Poll::Ready(Some(Err(_))) => break false,
                Poll::Ready(None) => break true,
            }
        };
        unread_body.leftover = None;
        drop(unread_body);
        if read_to_end {
            self.body_ends();
        } else {
            self.give_up_body();
        }
        Discard::Ended
    }
}

impl UnreadBody {
    fn wake_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.wake();
        }
    }
}

/// Whether this frame is the last of a request body. hyper ends the body only when it reads on, and after the
/// response it does that no sooner than for the next request.
pub(crate) fn ends_body(frame: &Frame<Bytes>, body: &Incoming) -> bool {
    frame.is_trailers() || body.is_end_stream()
}

/// The state of the rest of a request body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is on its way.
    Open,
    /// hyper has all of it, or has passed it on.
    Received,
    /// The client closed its side before it had sent all.
    CutShort,
}

/// What became of a left body in one turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Discard {
    /// There is none.
    Nothing,
    /// More of it is on its way.
    Waiting,
    /// It was read to its end or given up: hyper has to be told by another turn.
    Ended,
}

/// One request and its response, from the call of the service to the end of the response body.
#[derive(Debug)]
pub(crate) struct Exchange {
    activity: Arc<Activity>,
}

impl Exchange {
    pub(crate) fn begin(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::AcqRel);
        activity.begun.store(activity.begun() + 1, Ordering::Relaxed);
        activity.answering.store(false, Ordering::Relaxed);
        Self { activity: activity.clone() }
    }

    /// The connection has to end in the middle of the response. An `open_ended` one has no other end.
    pub(crate) fn breaks_off(&self, open_ended: bool) {
        self.activity.ends_unnoticed.store(open_ended, Ordering::Relaxed);
        self.activity.broken.store(true, Ordering::Relaxed);
    }

    /// The notes of its connection.
    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Its response begins. Returns whether it is the connection's last because the rest of the request stays unread.
    pub(crate) fn answer(&self) -> bool {
        self.activity.answering.store(true, Ordering::Relaxed);
        self.activity.has_given_up_body()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}
