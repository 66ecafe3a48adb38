//! The bytes of a connection: what hyper reads and writes.
//!
//! It passes on what the [`Inspector`] of the protocol lets pass, notes in [`Activity`] what moved and what is
//! blocked, and gathers the responses to pipelined requests into one write.

mod return_on_drop;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) use return_on_drop::return_on_drop;

use crate::conn::activity::Activity;
use crate::conn::http1::intake::Intake;
use crate::conn::http2::{Inspection, Plan};
use crate::server::Permit;

/// How many bytes of finished responses wait for the end of a row of pipelined requests.
const GATHER_AT_MOST: usize = 16 << 10;

/// How many bytes that come in pieces are copied into one: up to here a copy and a `send` cost less than a
/// `writev`.
const COPY_AT_MOST: usize = 4 << 10;

/// The frame GOAWAY that refuses no stream (RFC 9113 section 6.8).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A stream with its permit, the bytes read ahead and the bytes not yet written.
///
/// The permit lives here, not in the connection's task, because an upgraded connection outlives the task
/// and still counts.
#[derive(Debug)]
pub(crate) struct Transport<T> {
    stream: T,
    /// Finished responses that wait for company.
    gathered: BytesMut,
    inspector: Inspector,
    /// Everything is written: over HTTP/2, the next byte begins a frame.
    flushed: bool,
    announced_end: bool,
    activity: Arc<Activity>,
    permit: Permit,
}

/// Reads the client's bytes before hyper does, by protocol.
#[derive(Debug)]
pub(crate) enum Inspector {
    /// The responses to pipelined requests are gathered, and a client that has closed its side gets its
    /// response.
    ///
    /// hyper's own `pipeline_flush` gathers responses, too. But it holds a response back while half of the next head
    /// is in its buffer, and the client may be waiting for just that response.
    Http1(Intake),
    /// Frames are counted.
    Http2(Inspection),
}

impl Inspector {
    fn is_http1(&self) -> bool {
        matches!(self, Inspector::Http1(_))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Transport<T> {
    pub(crate) fn new(stream: T, inspector: Inspector, activity: Arc<Activity>, permit: Permit) -> Self {
        Self {
            stream,
            gathered: BytesMut::new(),
            inspector,
            flushed: false,
            announced_end: false,
            activity,
            permit,
        }
    }

    /// Writes the finished responses that wait for company. Where an upgrade was offered, hyper ends the connection
    /// without a last flush.
    pub(crate) async fn write_gathered(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_gathered(cx)).await
    }

    /// The stream, the bytes that were read and not passed on, and the permit.
    pub(crate) fn into_parts(self) -> (T, Bytes, Permit) {
        let ahead = match self.inspector {
            Inspector::Http1(intake) => intake.into_held(),
            Inspector::Http2(_) => Bytes::new(),
        };
        (self.stream, ahead, self.permit)
    }

    /// HTTP/2 only: whether all that was written is whole frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.flushed && self.gathered.is_empty()
    }

    /// Whether a response that is being written may wait: it is complete, and hyper will look for the next
    /// request before it goes to sleep. When that look finds nothing, [`poll_read`](AsyncRead::poll_read)
    /// flushes.
    fn may_wait(&self) -> bool {
        self.inspector.is_http1()
            && !self.activity.is_read_blocked()
            && self.activity.is_between_requests()
            && !self.activity.inbound().has_left()
    }

    /// Whether the end of what the client sends is kept from hyper, which would drop the request that it is
    /// answering. A client may close its side and wait for the response (RFC 9112 section 9.6 has servers do
    /// the same); the connection's task closes after it. Whether the end cuts a request body short is for that
    /// body to find out: hyper may have all of it, and its handler not yet.
    fn hides_end(&self) -> bool {
        self.inspector.is_http1() && self.activity.open() > 0 && !self.activity.inbound().has_left()
    }

    fn poll_write_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.gathered) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.activity.note_written(written);
                    // Emptied, the buffer is used again from its start.
                    match self.gathered.len() - written {
                        0 => self.gathered.clear(),
                        _ => self.gathered.advance(written),
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.activity.note_unflushed(true);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the bytes until the next flush if they may wait, if others wait already or if they are small
    /// pieces of a whole, and says how many it kept.
    fn gather(&mut self, bufs: &[IoSlice<'_>]) -> Option<usize> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        let fits = self.gathered.len() + len <= GATHER_AT_MOST;
        let in_pieces = bufs.len() > 1 && len <= COPY_AT_MOST;
        let waits = in_pieces || !self.gathered.is_empty() || self.may_wait();
        if !fits || !waits {
            return None;
        }
        for buf in bufs {
            self.gathered.extend_from_slice(buf);
        }
        self.activity.note_unflushed(true);
        Some(len)
    }

    /// How many of these bytes may go out as they are. Or how many were taken, so that others go out instead.
    fn plan(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize, usize> {
        let Inspector::Http2(inspection) = &mut self.inspector else { return Ok(usize::MAX) };
        // Before what h2 says: a client may read no further than a response.
        inspection.put_credit(&mut self.gathered);
        match inspection.outbound().plan(bufs) {
            Plan::All => Ok(usize::MAX),
            Plan::Part(count) => Ok(count),
            Plan::Take(count) => {
                let took = inspection.outbound().take(bufs, count, &mut self.gathered);
                self.activity.note_unflushed(true);
                Err(took)
            }
        }
    }

    fn note_passed(&mut self, bufs: &[IoSlice<'_>], count: usize) {
        if let Inspector::Http2(inspection) = &mut self.inspector {
            inspection.outbound().note_written(bufs, count);
        }
    }

    fn poll_write_bufs(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(len) = self.gather(bufs) {
            return Poll::Ready(Ok(len));
        }
        ready!(self.poll_write_gathered(cx))?;
        let outcome = match bufs {
            [buf] => Pin::new(&mut self.stream).poll_write(cx, buf),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.note_write(&outcome);
        outcome
    }

    /// Sends between two frames what hyper does not: GOAWAY, `100 Continue` and WINDOW_UPDATE.
    fn interject(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Inspector::Http2(inspection) = &self.inspector else { return Ok(()) };
        if self.activity.announces_end() && !self.announced_end {
            self.announced_end = true;
            self.gathered.extend_from_slice(&GOAWAY);
        }
        inspection.put_interim(&mut self.gathered);
        inspection.put_credit(&mut self.gathered);
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.activity.note_unflushed(true);
        if let Poll::Ready(outcome) = self.poll_write_gathered(cx) {
            outcome?;
            if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_flush(cx) {
                outcome?;
                self.activity.note_unflushed(false);
            }
        }
        Ok(())
    }

    fn note_write(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(written)) => self.activity.note_written(*written),
            Poll::Ready(Err(_)) => {}
            // hyper holds bytes that it can't write; its next successful flush says that they are gone.
            Poll::Pending => self.activity.note_unflushed(true),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Transport<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.flushed {
            this.interject(cx)?;
        }
        let before = buf.filled().len();
        let polled = match &mut this.inspector {
            Inspector::Http1(intake) => intake.poll_read(&mut this.stream, this.activity.inbound(), cx, buf),
            Inspector::Http2(inspection) => {
                inspection.poll_read(&mut this.stream, this.activity.bytes_out(), cx, buf)
            }
        };
        match polled {
            Poll::Ready(Ok(())) if buf.filled().len() == before && this.hides_end() => {
                this.activity.note_half_closed();
                Poll::Pending
            }
            // Over TLS, an end without close_notify. It can't cut a request short unnoticed: HTTP says how long a
            // request is.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof && this.hides_end() => {
                this.activity.note_half_closed();
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                this.activity.note_read(buf.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                this.activity.note_read_blocked();
                // No further request is on its way: what was gathered goes out. Where that blocks, the
                // task is woken when it can go on.
                if !this.gathered.is_empty()
                    && let Poll::Ready(outcome) = this.poll_write_gathered(cx)
                {
                    outcome?;
                    this.activity.note_unflushed(false);
                }
                Poll::Pending
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Transport<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.flushed = false;
        let most = match self.plan(bufs) {
            Ok(most) => most,
            Err(taken) => return Poll::Ready(Ok(taken)),
        };
        if most == usize::MAX {
            let written = ready!(self.poll_write_bufs(cx, bufs))?;
            self.note_passed(bufs, written);
            return Poll::Ready(Ok(written));
        }
        // Rare: the rest comes with the next call.
        let first =
            bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &buf[..buf.len().min(most)]);
        let first = [IoSlice::new(first)];
        let written = ready!(self.poll_write_bufs(cx, &first))?;
        self.note_passed(&first, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() && self.may_wait() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write_gathered(cx))?;
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.note_unflushed(outcome.is_pending());
        self.flushed = outcome.is_ready() && self.activity.bytes_out() > 0;
        if self.flushed {
            self.interject(cx)?;
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_gathered(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
