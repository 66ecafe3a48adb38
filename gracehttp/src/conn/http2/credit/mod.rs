//! How much the clients of one HTTP/2 connection may send of their request bodies.
//!
//! h2's own windows can't limit that well. h2 opens a stream's window as soon as a handler has read, even if the
//! handler keeps the bytes. And all streams share the window of the connection: streams that wait would fill it. So h2
//! has large windows, and the client sees small ones ([`Outbound`](super::outbound::Outbound)). The [`Account`] decides
//! what the client gets beyond these, and the transport sends it between h2's frames.

mod account;
mod pinned;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Duration, Instant};

use crate::conn::http2::credit::account::Account;
use crate::conn::http2::frames::{Event, Fault};
use crate::conn::http2::room::Shares;

/// If all others wait for one upload, its client may be silent for this long: five seconds, less half of the time
/// between two looks.
const BLOCKED: Duration = Duration::from_millis(4500);

/// What a piece holds in memory besides its bytes.
const PIECE: usize = 128;

/// A piece below this size is always copied: it may keep a buffer of h2's that is many times as large.
const SMALL: usize = 1 << 10;

/// The account, and the task to wake when there is something to say to the client.
pub(crate) struct Credit {
    account: Mutex<Account>,
    /// There is something to say to the client; spares the lock.
    has_due: AtomicBool,
    connection: Mutex<Option<Waker>>,
    blocking: Mutex<Option<Blocking>>,
}

/// An upload that all others wait for.
#[derive(Debug)]
struct Blocking {
    stream: u32,
    received: u64,
    since: Instant,
}

impl Credit {
    pub(super) fn new(shares: Shares) -> Self {
        Self {
            account: Mutex::new(Account::new(shares)),
            has_due: AtomicBool::new(false),
            connection: Mutex::new(None),
            blocking: Mutex::new(None),
        }
    }

    /// Takes note of what the client has sent.
    pub(super) fn note(&self, events: &mut Vec<Event>) -> Result<(), Fault> {
        self.change(|account| {
            events.drain(..).try_for_each(|event| {
                match event {
                    Event::Opened(stream) => account.open(stream),
                    Event::Closed(stream) => account.close(stream),
                    Event::Acknowledged => account.acknowledge(),
                    Event::Data { stream, length, padding, place } => {
                        account.is_at(place);
                        return account.receive(stream, length, padding);
                    }
                }
                Ok(())
            })
        })
    }

    /// A handler gets the body of this request.
    pub(super) fn declare(&self, stream: u32, length: Option<u64>) {
        self.change(|account| account.declare(stream, length));
    }

    pub(super) fn is_tunnel(&self, stream: u32) {
        self.change(|account| account.is_tunnel(stream));
    }

    /// The reader of a body waits for more.
    pub(super) fn ask(&self, stream: u32) {
        self.change(|account| account.ask(stream));
    }

    /// The reader of a body has this piece. What its handler keeps of it is counted until it is answered.
    pub(super) fn take(self: &Arc<Self>, stream: u32, piece: Bytes) -> Bytes {
        let cost = piece.len() + PIECE;
        if !self.change(|account| account.take(stream, piece.len(), cost)) {
            return if piece.len() < SMALL { Bytes::copy_from_slice(&piece) } else { piece };
        }
        // A copy: the piece would keep all of h2's buffer that it came in.
        Bytes::from_owner(Held { bytes: piece.to_vec(), credit: self.clone(), stream, cost })
    }

    /// The reader of a body has so many bytes and throws them away.
    pub(super) fn skip(&self, stream: u32, bytes: usize) {
        self.change(|account| account.take(stream, bytes, 0));
    }

    pub(super) fn is_whole(&self, stream: u32) {
        self.change(|account| account.is_whole(stream));
    }

    pub(super) fn is_answered(&self, stream: u32) {
        self.change(|account| account.is_answered(stream));
    }

    /// The rest of a body will be read and thrown away. False if its client would need more credit than there is.
    pub(super) fn allow_rest(&self, stream: u32, rest: u64) -> bool {
        self.change(|account| account.allow_rest(stream, rest))
    }

    pub(super) fn end(&self, stream: u32) {
        self.change(|account| account.end(stream));
    }

    /// h2 opens the window of the connection.
    pub(super) fn open_connection(&self, bytes: usize) {
        self.change(|account| account.open_connection(bytes));
    }

    /// h2 resets a stream: nothing more may be said on it.
    pub(super) fn note_reset(&self, stream: u32) {
        self.change(|account| account.close(stream));
    }

    /// Whether the client may send on this stream.
    pub(super) fn may_send(&self, stream: u32) -> bool {
        self.account().may_send(stream)
    }

    /// The stream that all others have waited for too long.
    pub(super) fn is_blocked_by(&self, now: Instant) -> Option<u32> {
        let found = self.account().blocking();
        let mut blocking = self.blocking.lock();
        let (stream, received) = match found {
            Some(found) => found,
            None => {
                *blocking = None;
                return None;
            }
        };
        match &*blocking {
            Some(before) if (before.stream, before.received) == (stream, received) => {
                (now - before.since >= BLOCKED).then_some(stream)
            }
            _ => {
                *blocking = Some(Blocking { stream, received, since: now });
                None
            }
        }
    }

    /// The task of the connection, which is woken when there is something to say to the client.
    pub(super) fn set_connection(&self, waker: &Waker) {
        let mut connection = self.connection.lock();
        if !connection.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *connection = Some(waker.clone());
        }
    }

    pub(super) fn wake_connection(&self) {
        let connection = self.connection.lock().clone();
        connection.into_iter().for_each(Waker::wake);
    }

    /// Appends what there is to say to the client, as whole frames.
    pub(super) fn put_due(&self, bytes: &mut BytesMut) {
        if self.has_due.load(Ordering::Acquire) && self.has_due.swap(false, Ordering::AcqRel) {
            self.account().put_due(bytes);
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Account) -> R) -> R {
        let mut account = self.account();
        let result = change(&mut account);
        // Under the lock: what is due is never without this.
        let is_new = account.has_due() && !self.has_due.swap(true, Ordering::AcqRel);
        drop(account);
        if is_new {
            self.wake_connection();
        }
        result
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock()
    }
}

impl fmt::Debug for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credit").finish_non_exhaustive()
    }
}

/// A piece of a request body in the hands of its handler.
struct Held {
    bytes: Vec<u8>,
    /// Not the stream's [`Progress`](super::progress::Progress): a handler may keep a piece without end.
    credit: Arc<Credit>,
    stream: u32,
    cost: usize,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.credit.change(|account| account.let_go(self.stream, self.cost));
    }
}
