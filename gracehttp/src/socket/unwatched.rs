//! Reads for which nobody waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Whether a read that finds nothing leaves a waker.
#[cfg(feature = "tls")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Watched,
    /// Only if the runtime watches the socket already.
    Unwatched,
}

/// A stream that can be read before the runtime watches it.
pub(crate) trait ReadUnwatched {
    /// Like `poll_read`. But if nothing has come and the runtime does not watch the socket, it returns `Pending` and
    /// leaves no waker. Who then wants to wait has to call `poll_read`.
    fn poll_read_unwatched(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;
}

/// A stream whose reads leave no waker while the runtime does not watch it.
#[derive(Debug)]
pub(crate) struct Unwatched<'a, T>(pub(crate) &'a mut T);

impl<T: ReadUnwatched + Unpin> AsyncRead for Unwatched<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read_unwatched(cx, buf)
    }
}
