//! A TLS session on a socket, awake.

mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::record::{Session, SessionAtRest};
use crate::socket::secure::inbound::Inbound;
use crate::socket::secure::outbound::Outbound;
use crate::socket::unwatched::{ReadUnwatched, Wait};
use crate::socket::{BareStream, Socket, Unwatched};
use crate::sys::Descriptor;

/// A TLS session on a socket: what is read from it was opened, and what is written to it is sealed.
///
/// It has no buffers while nothing is on its way. Neither buffer grows beyond a few records.
pub(crate) struct SecureStream {
    bare: BareStream,
    session: Session,
    inbound: Inbound,
    outbound: Outbound,
}

impl SecureStream {
    /// After the handshake. `read_ahead` are the bytes that were read behind its last record.
    pub(crate) fn new(bare: BareStream, session: Session, read_ahead: Vec<u8>) -> Self {
        let (inbound, outbound) = (Inbound::new(read_ahead), Outbound::default());
        let mut stream = Self { bare, session, inbound, outbound };
        stream.open();
        stream
    }

    /// After a rest.
    pub(super) fn wake(bare: BareStream, session: SessionAtRest) -> Self {
        let (session, cut) = session.wake();
        Self::new(bare, session, cut)
    }

    /// Whether nothing is lost when it rests: everything that was sealed is in the socket, neither side has ended, and what
    /// is known of the client is short enough to be kept.
    pub(super) fn can_rest(&self) -> bool {
        self.session.facts().client.as_ref().is_none_or(|client| client.can_rest())
            && self.outbound.is_sent()
            && !self.outbound.has_ended()
            && self.inbound.end().is_none()
    }

    /// Whether a record of the client has begun to come and is not whole.
    pub(crate) fn is_in_record(&self) -> bool {
        !self.inbound.cut().is_empty()
    }

    /// Has the runtime of the calling task watch the socket from now on.
    pub(super) fn watch(&mut self) -> io::Result<()> {
        self.bare.watch()
    }

    pub(crate) fn bare(&self) -> &BareStream {
        &self.bare
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Takes the socket out of the runtime, with its session. The bytes are plain text that was opened and not read.
    pub(super) fn rest(self) -> io::Result<(Socket, Bytes)> {
        if !self.can_rest() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the TLS session is in use or has ended",
            ));
        }
        let opened = Bytes::copy_from_slice(self.inbound.opened());
        Ok((self.rest_standing().map_fd(Descriptor::into_fd), opened))
    }

    /// Whether it can rest with the registration of its parking lot, and holds nothing of the next request.
    pub(super) fn can_rest_standing(&self) -> bool {
        self.bare.is_standing() && self.can_rest() && self.inbound.is_empty()
    }

    /// The socket, with its session and the registration of its parking lot.
    pub(super) fn rest_standing(self) -> Socket<Descriptor> {
        let Self { bare, session, inbound, outbound: _ } = self;
        Socket { session: Some(session.rest(inbound.cut())), ..bare.standing() }
    }

    /// Opens the whole records that have come.
    fn open(&mut self) {
        if let Err(fault) = self.inbound.open(&mut self.session, &mut self.outbound) {
            self.outbound.end_with_alert(&mut self.session, &fault);
            self.inbound.fail(&fault);
        }
    }

    /// Reads from the socket; 0 bytes if the client sends no more.
    fn poll_fill(&mut self, cx: &mut Context<'_>, wait: Wait) -> Poll<io::Result<usize>> {
        let is_empty = self.inbound.is_empty();
        let read = match wait {
            _ if is_empty && self.bare.poll_read_ready(cx, wait).is_pending() => Poll::Pending,
            Wait::Watched => pin!(self.bare.read_buf(self.inbound.room())).poll(cx),
            Wait::Unwatched => pin!(Unwatched(&mut self.bare).read_buf(self.inbound.room())).poll(cx),
        };
        match read {
            Poll::Ready(_) => self.inbound.note_read(),
            Poll::Pending if is_empty => self.inbound.free(),
            Poll::Pending => {}
        }
        read
    }

    fn poll_read_waiting(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        wait: Wait,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.inbound.opened().is_empty() {
                self.inbound.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = self.inbound.end() {
                let outcome = end.outcome();
                self.send_replies(cx);
                return Poll::Ready(outcome);
            }
            match ready!(self.poll_fill(cx, wait))? {
                0 => self.inbound.note_cut_off(),
                _ => {
                    self.open();
                    self.send_replies(cx);
                }
            }
        }
    }

    /// Sends replies, as far as the socket has room for them. If that fails, the next write fails, too.
    fn send_replies(&mut self, cx: &mut Context<'_>) {
        if !self.outbound.is_sent() {
            let _ = self.outbound.poll_send(&mut self.bare, cx);
        }
    }
}

impl fmt::Debug for SecureStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureStream").field("bare", &self.bare).finish_non_exhaustive()
    }
}

impl ReadUnwatched for SecureStream {
    fn poll_read_unwatched(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_read_waiting(cx, buf, Wait::Unwatched)
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_waiting(cx, buf, Wait::Watched)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Ready as soon as the bytes are sealed: those that the socket does not take are sent before the next.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.outbound.poll_send(&mut this.bare, cx))?;
        let sealed = this.outbound.seal(&mut this.session, bufs);
        // What is sealed is written, whatever the socket says: a caller that is told of a failure may write the same
        // bytes again, and the client would get them twice. A failure that lasts shows at the next write or flush.
        let _ = this.outbound.poll_send(&mut this.bare, cx);
        Poll::Ready(sealed)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.outbound.poll_send(&mut this.bare, cx))?;
        this.outbound.free();
        Pin::new(&mut this.bare).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.outbound.end(&mut this.session);
        ready!(this.outbound.poll_send(&mut this.bare, cx))?;
        this.outbound.free();
        match ready!(Pin::new(&mut this.bare).poll_shutdown(cx)) {
            // The client is gone already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}
