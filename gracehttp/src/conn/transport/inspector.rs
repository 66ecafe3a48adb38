//! What a protocol sees and changes of the bytes of its connection.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use crate::conn::traffic::Traffic;

/// A protocol's part in the transport: it reads the client's bytes before hyper does, and sees what hyper writes before
/// the client does.
///
/// The transport is compiled for each protocol, so what a protocol does not need costs it nothing.
pub(crate) trait Inspector: Send + Unpin {
    /// The counters of the connection.
    fn traffic(&self) -> &Traffic;

    /// Reads the bytes that hyper may see. If it reads none, the client sends no more.
    fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        stream: &mut T,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;

    /// Whether a read that finds nothing may leave no waker: the connection's task decides after hyper's turn whether it
    /// waits or rests.
    fn defers_waiting(&self) -> bool {
        false
    }

    /// Whether the next bytes are of another protocol, and a handler has the stream: perhaps outside of any runtime.
    fn has_left(&self) -> bool {
        false
    }

    /// A read has found nothing. `in_record`: the beginning of a TLS record has come, and the rest has not.
    fn note_blocked(&mut self, _in_record: bool) {}

    /// Hides from hyper that the client has closed its side, if hyper would drop a request because of it. Returns
    /// whether it did.
    fn hides_end(&self) -> bool {
        false
    }

    /// Whether what is being written may wait for more: hyper will look for the next request before it goes to sleep.
    /// When that look finds nothing, the transport flushes.
    fn may_wait(&self) -> bool {
        false
    }

    /// Says how many of these bytes may go out as they are. Other bytes may be appended to `gathered`, which go out
    /// before them.
    fn plan(&mut self, _bufs: &[IoSlice<'_>], _gathered: &mut BytesMut) -> Passage {
        Passage::All
    }

    /// The first `count` bytes go out unchanged.
    fn note_passed(&mut self, _bufs: &[IoSlice<'_>], _count: usize) {}

    /// Appends bytes to send, now that everything is flushed.
    fn interject(&mut self, _gathered: &mut BytesMut) {}

    /// The bytes that were read and not passed on.
    fn into_held(self) -> Bytes;
}

/// What happens to the bytes that hyper writes.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "HTTP/1 lets all of them pass"))]
pub(crate) enum Passage {
    /// They may all go out.
    All,
    /// So many may, for now.
    Part(usize),
    /// So many were taken: other bytes go out instead.
    Taken(usize),
}
