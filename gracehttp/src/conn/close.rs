//! Closing a connection without destroying data in transit, and without keeping data that the client does not take.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::conn::context::Context;
use crate::conn::limits::Patience;
use crate::lifecycle::ConnectionEnd;
use crate::parking::Parked;
use crate::server::{Permit, ServerOptions};
use crate::socket::Stream;
use crate::sys::{self, Probe};

/// A client with no more than so many unacknowledged bytes counts as having taken its response.
pub(super) const LITTLE: u64 = 64 << 10;

/// How often to look at a client that still takes its response.
const LOOK: Duration = Duration::from_millis(250);

/// How long, and through how many bytes, a closed connection waits until its client closes its side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linger {
    pub(super) in_all: Duration,
    /// Without a byte.
    pub(super) silent: Duration,
    bytes: u64,
    /// The size of one read.
    buffer: usize,
}

impl Linger {
    /// For a client that sends nothing more, except what crossed our close.
    pub(super) const BRIEF: Self = Self {
        in_all: Duration::from_secs(1),
        silent: Duration::from_secs(1),
        bytes: 256 << 10,
        buffer: 4 << 10,
    };

    /// As [`BRIEF`](Self::BRIEF), while other clients wait for the permit.
    pub(super) const HURRIED: Self = Self { silent: Duration::from_millis(100), ..Self::BRIEF };

    /// For a client that may be in the middle of a request body: many clients send all of it before they read the
    /// answer. Even one that announces more than `max_body` is read for as long as a large upload takes, so that it
    /// sees its 413.
    pub(super) fn for_upload(options: &ServerOptions) -> Self {
        Self {
            in_all: Duration::from_secs(30),
            silent: Duration::from_secs(5),
            bytes: options.max_body.max(64 << 20),
            buffer: 64 << 10,
        }
    }
}

/// Closes our side and reads what the client still sends.
///
/// A socket that is closed with unread bytes in it answers with a reset, upon which the client's kernel
/// throws away the response that the client has not read yet (RFC 9112 section 9.6).
pub(super) async fn close(context: &Context, stream: Stream, linger: Linger) {
    // Boxed, since few connections close at a time: otherwise each would keep room for this future.
    Box::pin(close_orderly(context, stream, linger)).await;
}

async fn close_orderly(context: &Context, mut stream: Stream, linger: Linger) {
    let end = Instant::now() + linger.in_all;
    if !matches!(tokio::time::timeout_at(end, stream.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    read_on(&mut stream, linger, end).await;
    // A process that ends leaves the rest to the kernel.
    tokio::select! {
        biased;
        () = context.drain.begun() => {}
        taken = is_taken(Probe::of(stream.socket())) => {
            if !taken {
                reset(stream);
            }
        }
    }
}

/// Reads until the client closes its side, or the wait is over.
async fn read_on(stream: &mut Stream, linger: Linger, end: Instant) {
    let mut scratch = vec![0; linger.buffer];
    let mut left = linger.bytes;
    while left > 0 {
        let silent = end.min(Instant::now() + linger.silent);
        match tokio::time::timeout_at(silent, stream.read(&mut scratch)).await {
            Ok(Ok(count @ 1..)) => left = left.saturating_sub(count as u64),
            _ => return,
        }
    }
}

/// Waits until the client has taken what it was sent, or has reset the connection; false if it is slower than a client
/// may be.
async fn is_taken(probe: Probe) -> bool {
    let at_first = probe.unacknowledged();
    let mut patience = Patience::new(0, Instant::now());
    loop {
        let left = probe.unacknowledged();
        if left <= LITTLE || probe.is_reset() {
            return true;
        }
        let now = Instant::now();
        patience.note(at_first.saturating_sub(left), now);
        if patience.end() <= now {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Says one last thing before closing.
pub(super) async fn close_with(context: &Context, mut stream: Stream, bytes: &[u8], linger: Linger) {
    let said = tokio::time::timeout(Linger::BRIEF.in_all, stream.write_all(bytes)).await;
    if matches!(said, Ok(Ok(()))) {
        close(context, stream, linger).await;
    }
}

/// Whether the client has yet to take much of what was written.
pub(super) fn has_much_untaken(stream: &Stream) -> bool {
    Probe::of(stream.socket()).unacknowledged() > LITTLE
}

/// Closes a connection in the middle of a response. The client can't use the part that lies in the kernel, so it is
/// thrown away at once.
pub(super) async fn cut(context: &Context, stream: Stream) {
    if has_much_untaken(&stream) {
        reset(stream);
    } else {
        close(context, stream, Linger::BRIEF).await;
    }
}

/// Closes the connection of a client that takes nothing. After an orderly close up to 4 MB would stay in the kernel
/// for minutes.
pub(super) fn reset(stream: Stream) {
    if sys::reset(stream.socket()).is_err() {
        // A Unix socket has no reset. Shut down explicitly: another process may hold a duplicate, which would keep
        // the connection open.
        let _ = sys::shut_down(stream.socket());
    }
    drop(stream);
}

/// Closes the connection of a client that waits for nothing, without waiting for the client.
pub(super) async fn close_now(mut stream: Stream) {
    // A plain socket shuts down at once. A TLS session sends its last record only if there is room for it.
    let _ = tokio::time::timeout(Duration::ZERO, stream.shutdown()).await;
}

/// Closes the connection as [`close_now`] does, after some last bytes if there is room for them.
pub(super) async fn close_now_with(mut stream: Stream, bytes: &[u8]) {
    let _ = tokio::time::timeout(Duration::ZERO, stream.write_all(bytes)).await;
    close_now(stream).await;
}

/// Closes a connection that was taken out of the parking lot, and frees its permit.
pub(super) fn end_parked(context: &Context, parked: Parked, end: ConnectionEnd) {
    let permit = Permit::from_count(&context.permits);
    parked.socket.close();
    permit.ends_as(end);
}
