//! What an HTTP/1 connection is doing.
//!
//! hyper does not say whether a connection is between two requests. The parts around it know: the service sees a
//! request begin, the response body sees it end, the request body sees whether it was read, and the transport sees what
//! is blocked and what was flushed. They note it here, and the task of the connection reads it after every turn.

use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use http_body::Body as _;
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::conn::exchange::ends_body;
use crate::conn::http1::inbound::Inbound;
use crate::conn::traffic::Traffic;
use crate::lifecycle::Phase;

/// The notes of one connection, which its parts share.
///
/// | field | written by | read by |
/// | --- | --- | --- |
/// | `traffic` | see [`Traffic`] | |
/// | `inbound` | the reader (`intake`); answers, by the exchange | the connection's task, the exchange |
/// | `task` | the connection's task, once | the exchange |
/// | `defers_waiting` | the connection's task | the transport |
/// | `answering`, `broken`, `ends_unnoticed`, `told_to_close`, `asked_once` | the exchange | the connection's task |
/// | `answered_in_restart` | the exchange, the connection's task | the connection's task |
/// | `last` | the exchange | the exchange |
/// | `half_closed` | the reader; taken back by the exchange | the connection's task, the request body |
/// | `received` | the connection's task | the request body |
/// | `unread`, `given_up_body` | the request body, the connection's task | the connection's task, the exchange |
/// | `body_reader` | the request body; emptied by those that wake it | |
/// | `unread_body` | the request body, the connection's task | the connection's task |
///
/// A handler may read or drop its request body in a task of its own. So `unread` and `given_up_body` are ordered
/// (acquire and release), and `received` and `half_closed` change under the lock of `body_reader`, so that no change
/// is missed between a look and the registration of a waker. The connection's task alone touches the other fields:
/// hyper calls the exchange and the transport in it. For them `Relaxed` is enough.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    traffic: Traffic,
    inbound: Inbound,
    /// Whether the connection can go to a successor instead of being closed.
    can_move: bool,
    /// A read that finds nothing may leave no waker.
    defers_waiting: AtomicBool,
    /// The connection's task, known from its first turn on.
    task: OnceLock<Waker>,
    /// The response to the request that began last has begun.
    answering: AtomicBool,
    /// Request bodies that were not read to their end.
    unread: AtomicU32,
    /// The rest of such a body stays unread: the connection ends after the response.
    given_up_body: AtomicBool,
    /// The client has closed its side while its request was being answered.
    half_closed: AtomicBool,
    /// The newest request of which hyper has the whole body.
    received: AtomicU64,
    /// The reader of a request body. It is woken when the rest of the body has arrived, or never will.
    body_reader: Mutex<Option<Waker>>,
    /// A response broke off.
    broken: AtomicBool,
    /// The client takes the end of the connection for the end of the newest response.
    ends_unnoticed: AtomicBool,
    /// In the restart that is under way, a request was in flight here.
    answered_in_restart: AtomicBool,
    /// A response has said `Connection: close` for the server's own reasons.
    told_to_close: AtomicBool,
    /// The last request that is answered, once the process closes what is idle.
    last: OnceLock<u64>,
    /// The first request has said that it is the only one.
    asked_once: AtomicBool,
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
    pub(crate) fn new(can_move: bool) -> Self {
        Self { can_move, ..Self::default() }
    }

    /// The requests and bytes of the connection.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What the reader knows.
    pub(crate) fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    pub(crate) fn can_move(&self) -> bool {
        self.can_move
    }

    /// From now on, reads that find nothing leave no waker, until the connection's task decides that it waits.
    pub(crate) fn defer_waiting(&self) {
        self.defers_waiting.store(true, Ordering::Relaxed);
    }

    pub(crate) fn defers_waiting(&self) -> bool {
        self.defers_waiting.load(Ordering::Relaxed)
    }

    /// From now on, such reads leave a waker. Returns whether they did not before: then hyper needs another turn.
    pub(crate) fn is_to_wait(&self) -> bool {
        let deferred = self.defers_waiting();
        self.defers_waiting.store(false, Ordering::Relaxed);
        deferred
    }

    /// The connection's task, once it has had a turn.
    pub(crate) fn task(&self) -> Option<&Waker> {
        self.task.get()
    }

    /// The connection's task has a turn.
    pub(crate) fn note_task(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    /// The client is told that the server closes the connection.
    pub(crate) fn tell_to_close(&self) {
        self.told_to_close.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_told_to_close(&self) -> bool {
        self.told_to_close.load(Ordering::Relaxed)
    }

    /// Whether the connection ends with this request, now that the process closes what is idle. Requests that came behind
    /// one in flight are in flight, too. Those that come later are not: a client that never pauses would keep the process.
    pub(crate) fn ends_with(&self, request: u64) -> bool {
        request >= *self.last.get_or_init(|| self.inbound.newest())
    }

    /// The first request says that its client sends no other.
    pub(crate) fn note_asked_once(&self) {
        self.asked_once.store(true, Ordering::Relaxed);
    }

    /// Whether the client has got all that it asked for, and has said that it sends no more.
    pub(crate) fn has_answered_all(&self) -> bool {
        self.asked_once.load(Ordering::Relaxed)
            && self.traffic.begun() == 1
            && self.is_between_requests()
            && !self.has_given_up_body()
            && !self.traffic.is_unflushed()
    }

    /// Neither a request nor a response nor any byte of them is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_between_requests()
            && self.traffic.is_read_blocked()
            && !self.inbound.is_deciding()
            && !self.traffic.is_unflushed()
    }

    /// Whether all that was read of the connection is answered, and it goes on. Another process could answer its next
    /// request.
    pub(crate) fn owes_nothing(&self) -> bool {
        let ends = self.is_half_closed() || self.has_given_up_body() || self.is_told_to_close();
        self.is_idle() && !self.inbound.is_in_head() && !ends
    }

    /// Every request that was begun has been answered and read, though the answer may not be flushed.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.traffic.open() == 0 && !self.has_unread_body()
    }

    /// Whether nothing is read until the handler is done, so that a client's end is missed.
    pub(crate) fn misses_end(&self) -> bool {
        self.has_unread_body() || !self.traffic.is_read_blocked() || self.inbound.refused_request().is_some()
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    /// The response to the newest request has begun, or has not.
    pub(crate) fn note_answering(&self, answering: bool) {
        self.answering.store(answering, Ordering::Relaxed);
    }

    /// Whether a response broke off: only the end of the connection can tell its client.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether the client takes the end of the connection for the end of the newest response, which is the last. Then
    /// only a reset can tell it that the response is not whole.
    pub(crate) fn ends_unnoticed(&self) -> bool {
        self.ends_unnoticed.load(Ordering::Relaxed)
    }

    /// The newest response has no other end than that of the connection.
    pub(crate) fn note_open_ended(&self) {
        self.ends_unnoticed.store(true, Ordering::Relaxed);
    }

    /// The connection has to end in the middle of the response.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// A response begins after the restart did.
    pub(crate) fn answers_in_restart(&self) {
        self.answered_in_restart.store(true, Ordering::Relaxed);
    }

    /// The process has entered this phase, in the turn that ends now or before it. A restart finds a request in flight,
    /// whose response may have begun before it did. If the restart is taken back, the next one begins anew.
    pub(crate) fn note_phase(&self, phase: Phase, was_in_flight: bool) {
        match phase {
            Phase::Serving => self.answered_in_restart.store(false, Ordering::Relaxed),
            Phase::HandingOver | Phase::SuccessorFull if was_in_flight => self.answers_in_restart(),
            _ => {}
        }
    }

    /// Whether a request was in flight here in the restart that is under way.
    pub(crate) fn has_answered_in_restart(&self) -> bool {
        self.answered_in_restart.load(Ordering::Relaxed)
    }

    pub(crate) fn is_half_closed(&self) -> bool {
        self.half_closed.load(Ordering::Relaxed)
    }

    pub(crate) fn note_half_closed(&self) {
        let mut body_reader = self.body_reader.lock();
        self.half_closed.store(true, Ordering::Relaxed);
        self.traffic.note_read_blocked();
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
        let mut body_reader = self.body_reader.lock();
        self.received.store(self.traffic.begun(), Ordering::Relaxed);
        if let Some(waker) = body_reader.take() {
            waker.wake();
        }
    }

    /// Whether more of this request's body will come that hyper does not have yet. While the answer is open, the
    /// caller is woken when it changes.
    pub(crate) fn poll_rest(&self, request: u64, cx: &Context<'_>) -> Rest {
        // Under the lock, so that nothing is noted between the look and the registration.
        let mut body_reader = self.body_reader.lock();
        if self.received.load(Ordering::Relaxed) >= request {
            Rest::Received
        } else if self.is_half_closed() {
            Rest::CutShort
        } else {
            *body_reader = Some(cx.waker().clone());
            Rest::Open
        }
    }

    pub(crate) fn has_unread_body(&self) -> bool {
        self.unread.load(Ordering::Acquire) != 0
    }

    /// A request body begins.
    pub(crate) fn body_begins(&self) {
        self.unread.fetch_add(1, Ordering::AcqRel);
    }

    /// A request body was read to its end.
    pub(crate) fn body_ends(&self) {
        self.unread.fetch_sub(1, Ordering::AcqRel);
        self.unread_body.lock().wake_connection();
    }

    pub(crate) fn has_given_up_body(&self) -> bool {
        self.given_up_body.load(Ordering::Acquire)
    }

    /// The rest of a request body stays unread.
    pub(crate) fn give_up_body(&self) {
        self.given_up_body.store(true, Ordering::Release);
    }

    /// The body of the last request is not awaited: the connection ends with the response.
    pub(crate) fn forgo_body(&self) {
        let mut unread_body = self.unread_body.lock();
        self.give_up_body();
        unread_body.leftover = None;
    }

    /// A handler let its request body go unread; the connection's task discards the rest.
    pub(crate) fn leave_body(&self, body: Incoming, allowed: u64) {
        let mut unread_body = self.unread_body.lock();
        // hyper closes the connection after the response if the body was dropped.
        if !self.has_given_up_body() && unread_body.leftover.replace(Leftover { body, allowed }).is_some() {
            // The body before was left as well. Its end and this request came in one read, so nothing has looked at
            // it since.
            self.unread.fetch_sub(1, Ordering::AcqRel);
        }
        unread_body.wake_connection();
    }

    /// Reads on in a body that its handler left. Over the limit the body is dropped, upon which hyper
    /// closes the connection after the response.
    pub(crate) fn poll_discard(&self, cx: &mut Context<'_>) -> Discard {
        if !self.has_unread_body() {
            return Discard::Nothing;
        }
        let mut unread_body = self.unread_body.lock();
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
            match Pin::new(&mut leftover.body).poll_frame(cx) {
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

    /// Whether hyper has the whole body and looks for the next request. After trailers it does not end the body
    /// itself.
    fn has_read_all(&self) -> bool {
        self.traffic.is_read_blocked() && !self.inbound.is_in_body()
    }
}

impl UnreadBody {
    fn wake_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.wake();
        }
    }
}

/// The state of the rest of a request body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// More of it can come.
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
    /// It is not read to its end yet.
    Waiting,
    /// It was read to its end or given up, which hyper learns by another turn.
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_the_restart_that_is_under_way_alone() {
        let activity = Activity::new(true);
        activity.note_phase(Phase::HandingOver, false);
        assert!(!activity.has_answered_in_restart());
        activity.answers_in_restart();
        activity.note_phase(Phase::SuccessorFull, false);
        activity.note_phase(Phase::HandingOver, false);
        assert!(activity.has_answered_in_restart());
        // The successor has died, and there is another restart.
        activity.note_phase(Phase::Serving, true);
        activity.note_phase(Phase::HandingOver, false);
        assert!(!activity.has_answered_in_restart());
    }
}
