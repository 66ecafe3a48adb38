//! How far the two bodies of one HTTP/2 stream have come, and whether they wait for the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use crate::conn::http2::room::Entry;
use crate::conn::http2::streams::Streams;

/// The account of one stream. It lasts to the last byte of the response, which may be longer than the stream's task.
#[derive(Debug)]
pub(crate) struct Progress {
    streams: Arc<Streams>,
    key: usize,
    /// How many requests of the connection came before.
    order: u64,
    /// Its number in HTTP/2; 0 if it has no body, for which alone that is needed.
    stream: u32,
    /// The client may wait for a `100 Continue`.
    expects_continue: AtomicBool,
    /// Its handler waits for the body, and the `100 Continue` was asked for.
    has_asked: AtomicBool,
    upload: AtomicU8,
    /// Bytes of the response that hyper or h2 holds unsent.
    unsent: AtomicUsize,
    /// Bytes of both bodies, received and sent.
    moved: AtomicU64,
    /// Its request has begun.
    has_entered: AtomicBool,
    /// It is the stream that may go on although there is no room.
    is_exception: AtomicBool,
    /// Its task waits until all is sent.
    awaits_sent: AtomicBool,
    is_reset: AtomicBool,
    has_task: AtomicBool,
    /// Wakes its task, and the reader of the request's body.
    task: Mutex<Option<Waker>>,
    reader: Mutex<Option<Waker>>,
}

// The states of the request's body. It has a time limit only until the answer begins: a handler that reads on after
// that holds a conversation, and both sides may pause.
const FLOWS: u8 = 0;
const AWAITED: u8 = 1;
const ANSWERED: u8 = 2;

impl Progress {
    pub(super) fn new(streams: Arc<Streams>, key: usize, order: u64, stream: u32) -> Self {
        Self {
            streams,
            key,
            order,
            stream,
            expects_continue: AtomicBool::new(false),
            has_asked: AtomicBool::new(false),
            upload: AtomicU8::new(FLOWS),
            unsent: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            has_entered: AtomicBool::new(false),
            is_exception: AtomicBool::new(false),
            awaits_sent: AtomicBool::new(false),
            is_reset: AtomicBool::new(false),
            has_task: AtomicBool::new(false),
            task: Mutex::new(None),
            reader: Mutex::new(None),
        }
    }

    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// The reader of the request's body waits for more.
    pub(crate) fn upload_is_awaited(self: &Arc<Self>) {
        self.turn_upload(FLOWS, AWAITED);
        self.streams.credit.ask(self.stream);
        if self.expects_continue() && !self.has_asked.swap(true, Ordering::Relaxed) {
            self.streams.ask_continue(self);
        }
    }

    pub(crate) fn expect_continue(&self) {
        self.expects_continue.store(true, Ordering::Relaxed);
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.expects_continue.load(Ordering::Relaxed)
    }

    pub(super) fn stream(&self) -> Option<u32> {
        Some(self.stream).filter(|stream| *stream != 0)
    }

    /// Whether the stream has been answered or will be reset: no interim response may follow then.
    pub(super) fn has_begun_answer(&self) -> bool {
        self.upload.load(Ordering::Acquire) == ANSWERED || self.is_reset.load(Ordering::Acquire)
    }

    /// A piece of the request's body has come. Its handler gets it so that it is known when it is let go.
    pub(crate) fn take_upload(&self, piece: Bytes) -> Bytes {
        self.upload_flows(piece.len());
        self.streams.credit.take(self.stream, piece)
    }

    /// A piece of the request's body has come, and is thrown away.
    pub(super) fn skip_upload(&self, bytes: usize) {
        self.upload_flows(bytes);
        self.streams.credit.skip(self.stream, bytes);
    }

    /// Whether the rest of the request's body can come without more credit, so that it may be read and thrown away.
    pub(super) fn allow_rest(&self, bytes: u64) -> bool {
        self.streams.credit.allow_rest(self.stream, bytes)
    }

    /// The reader of the request's body has seen its end, or is gone.
    pub(crate) fn upload_ends(&self) {
        self.upload_flows(0);
        self.streams.credit.is_whole(self.stream);
    }

    fn upload_flows(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        self.turn_upload(AWAITED, FLOWS);
    }

    /// The response begins.
    pub(super) fn is_answered(&self) {
        self.upload.store(ANSWERED, Ordering::Release);
        // A request that is refused is answered without having begun.
        if self.enter() {
            self.streams.room.leave(self.order);
        }
        if self.stream().is_some() {
            self.streams.credit.is_answered(self.stream);
        }
    }

    fn turn_upload(&self, from: u8, to: u8) {
        // In any other state it stays there.
        let _ = self.upload.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether the reader of the request's body waits for the client, which may send.
    pub(super) fn awaits_client(&self) -> bool {
        self.upload.load(Ordering::Acquire) == AWAITED && self.streams.credit.may_send(self.stream)
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.load(Ordering::SeqCst) != 0
    }

    pub(super) fn hand_over(&self, bytes: usize) {
        self.unsent.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(super) fn note_sent(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::SeqCst);
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        self.streams.note_taken(bytes);
    }

    /// A piece was dropped, with so many bytes of it unsent.
    pub(super) fn piece_is_gone(&self, unsent: usize) {
        self.streams.note_piece();
        if unsent > 0 {
            self.unsent.fetch_sub(unsent, Ordering::SeqCst);
        }
        if !self.has_unsent() {
            self.end_exception();
            if self.awaits_sent.swap(false, Ordering::SeqCst) {
                wake(&self.task);
            }
        }
    }

    /// Resolves once all that hyper was given has gone out. Wakes the stream's own task only.
    pub(super) fn poll_sent(&self) -> Poll<()> {
        if !self.has_unsent() {
            return Poll::Ready(());
        }
        // In one order with `unsent`, on both sides: either the question below sees that all has gone, or the last
        // piece sees this and wakes the task.
        self.awaits_sent.store(true, Ordering::SeqCst);
        if self.has_unsent() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Resolves once the stream may go on; see [`Room::poll_enter`](super::room::Room::poll_enter).
    pub(super) fn poll_enter(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_exception.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let has_earlier = || self.streams.has_earlier(self.order);
        self.streams.room.poll_enter(self.order, cx, has_earlier).map(|entry| {
            self.enter();
            if entry == Entry::Exception {
                self.is_exception.store(true, Ordering::Release);
            }
        })
    }

    /// Returns whether it had not yet.
    fn enter(&self) -> bool {
        let is_first = !self.has_entered.swap(true, Ordering::AcqRel);
        if is_first {
            self.streams.note_entered(self.key);
        }
        is_first
    }

    fn end_exception(&self) {
        if self.is_exception.swap(false, Ordering::AcqRel) {
            self.streams.room.end_exception();
        }
    }

    /// Resets the stream: its task and its request body end, and h2 then sends RST_STREAM. False if its task has
    /// already ended, so that h2 alone holds the rest of the response.
    pub(super) fn reset(&self) -> bool {
        self.is_reset.store(true, Ordering::Release);
        wake(&self.reader);
        wake(&self.task);
        self.has_task.load(Ordering::Acquire)
    }

    /// Whether the stream was reset because its client was too slow, for a caller that does not wait.
    pub(super) fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::Acquire)
    }

    /// Whether the stream was reset because its client was too slow. If not, the reader of the request's body is
    /// woken when it is.
    pub(crate) fn poll_reset(&self, cx: &Context<'_>) -> bool {
        self.poll_reset_in(&self.reader, cx)
    }

    pub(super) fn poll_task_reset(&self, cx: &Context<'_>) -> bool {
        self.poll_reset_in(&self.task, cx)
    }

    fn poll_reset_in(&self, slot: &Mutex<Option<Waker>>, cx: &Context<'_>) -> bool {
        let mut waker = lock(slot);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        self.is_reset.load(Ordering::Acquire)
    }

    pub(super) fn task_begins(&self) {
        self.has_task.store(true, Ordering::Release);
    }

    pub(super) fn task_ends(&self) {
        self.has_task.store(false, Ordering::Release);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end_exception();
        if self.stream().is_some() {
            self.streams.credit.end(self.stream);
        }
        self.streams.end(self.key);
        // After it, so that those that are woken do not find it.
        self.streams.room.leave(self.order);
    }
}

fn lock(slot: &Mutex<Option<Waker>>) -> MutexGuard<'_, Option<Waker>> {
    slot.lock()
}

fn wake(slot: &Mutex<Option<Waker>>) {
    let waker = lock(slot).take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::http2::room::Shares;
    use crate::conn::http2::streams::Body;
    use crate::server::ServerOptions;
    use std::hint::{black_box, spin_loop};
    use std::task::Wake;
    use std::thread;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Waits for the other thread, which may have no core at the moment.
    fn until(holds: impl Fn() -> bool) {
        for turn in 0_u32.. {
            match holds() {
                true => return,
                false if turn.is_multiple_of(1000) => thread::yield_now(),
                false => spin_loop(),
            }
        }
    }

    /// A few nanoseconds for each turn.
    fn pause(turns: usize) {
        for turn in 0..turns {
            black_box(turn);
        }
    }

    /// The last piece goes in the very moment in which the task of its stream asks whether all has gone. Chance decides
    /// whether that moment is met: with the order wrong on either side, about every other run fails.
    #[test]
    fn no_task_waits_for_a_piece_that_has_gone() {
        const ROUNDS: usize = 100_000;
        let progress = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test")))).begin(Body::None);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let (begun, gone) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut in_vain = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    until(|| begun.load(Ordering::SeqCst) == round);
                    // Each of the two is the later one at times.
                    pause(round % 41);
                    progress.piece_is_gone(1);
                    gone.store(round, Ordering::SeqCst);
                }
            });
            for round in 1..=ROUNDS {
                progress.hand_over(1);
                assert!(!progress.poll_task_reset(&Context::from_waker(&waker)));
                begun.store(round, Ordering::SeqCst);
                pause(round % 211);
                let waits = progress.poll_sent().is_pending();
                until(|| gone.load(Ordering::SeqCst) == round);
                let is_woken = woken.0.swap(false, Ordering::SeqCst);
                in_vain += usize::from(waits && !is_woken);
            }
        });
        assert_eq!(in_vain, 0, "so many of {ROUNDS} wait without end");
    }
}
