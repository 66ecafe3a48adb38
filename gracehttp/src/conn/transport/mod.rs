//! The bytes of a connection: what hyper reads and writes.
//!
//! It passes on what the [`Inspector`] of the protocol lets pass, notes in [`Traffic`] what moved and what is
//! blocked, and gathers the responses to pipelined requests into one write.

mod inspector;
mod return_on_drop;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use inspector::{Inspector, Passage};
pub(super) use return_on_drop::return_on_drop;

use crate::conn::traffic::Traffic;
use crate::metrics::ServerMetrics;
use crate::server::Permit;
use crate::socket::{Stream, Unwatched};

/// How many bytes of finished responses wait for the end of a row of pipelined requests.
const GATHER_AT_MOST: usize = 16 << 10;

/// Pieces of at most so many bytes together are copied into one: a copy and a `send` cost less than a `writev` then.
const COPY_AT_MOST: usize = 4 << 10;

/// A stream with its permit, the bytes read ahead and the bytes not yet written.
///
/// The permit lives here, not in the connection's task, because an upgraded connection outlives the task
/// and still counts.
#[derive(Debug)]
pub(crate) struct Transport<I> {
    stream: Stream,
    /// Finished responses that are gathered for one write.
    gathered: BytesMut,
    inspector: I,
    /// Everything is written: over HTTP/2, the next byte begins a frame.
    flushed: bool,
    /// Gathered bytes were written after hyper's last flush, and the stream has not sent all of them.
    owes_flush: bool,
    /// hyper holds bytes that it could not write. Its next flush says that they are gone.
    hyper_waits: bool,
    permit: Permit,
    metrics: Option<&'static ServerMetrics>,
}

impl<I: Inspector> Transport<I> {
    pub(crate) fn new(
        stream: Stream,
        inspector: I,
        permit: Permit,
        metrics: Option<&'static ServerMetrics>,
    ) -> Self {
        let gathered = BytesMut::new();
        Self {
            stream,
            gathered,
            inspector,
            flushed: false,
            owes_flush: false,
            hyper_waits: false,
            permit,
            metrics,
        }
    }

    fn traffic(&self) -> &Traffic {
        self.inspector.traffic()
    }

    /// Sends the gathered responses, and all that the stream has not sent yet. If an upgrade was offered, hyper ends the
    /// connection without a last flush.
    pub(crate) async fn flush_gathered(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush_gathered(cx)).await
    }

    /// The stream, the bytes that were read and not passed on, and the permit.
    pub(crate) fn into_parts(self) -> (Stream, Bytes, Permit) {
        (self.stream, self.inspector.into_held(), self.permit)
    }

    /// Whether all written bytes have gone out.
    #[cfg(feature = "http2")]
    pub(crate) fn is_flushed(&self) -> bool {
        self.flushed && self.gathered.is_empty()
    }

    fn poll_write_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.gathered) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.note_written(written);
                    // Emptied, the buffer is used again from its start.
                    match self.gathered.len() - written {
                        0 => self.gathered.clear(),
                        _ => self.gathered.advance(written),
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.traffic().note_unflushed(true);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the gathered bytes down to the socket: a TLS session may keep bytes that it has sealed.
    fn poll_flush_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.owes_flush = true;
        ready!(self.poll_write_gathered(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.owes_flush = false;
        self.traffic().note_unflushed(self.hyper_waits);
        Poll::Ready(Ok(()))
    }

    /// Keeps the bytes until the next flush if they may wait, if others wait already or if they are small
    /// pieces of a whole, and says how many it kept.
    fn gather(&mut self, bufs: &[IoSlice<'_>]) -> Option<usize> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        let fits = self.gathered.len() + len <= GATHER_AT_MOST;
        let in_pieces = bufs.len() > 1 && len <= COPY_AT_MOST;
        let waits = in_pieces || !self.gathered.is_empty() || self.inspector.may_wait();
        if !fits || !waits {
            return None;
        }
        for buf in bufs {
            self.gathered.extend_from_slice(buf);
        }
        self.traffic().note_unflushed(true);
        Some(len)
    }

    fn poll_write_bufs(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.poll_write_or_gather(cx, bufs);
        self.hyper_waits = written.is_pending();
        written
    }

    fn poll_write_or_gather(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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

    /// Sends the bytes that the protocol adds, now that everything is flushed.
    fn interject(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.inspector.interject(&mut self.gathered);
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.traffic().note_unflushed(true);
        if let Poll::Ready(outcome) = self.poll_write_gathered(cx) {
            outcome?;
            if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_flush(cx) {
                outcome?;
                self.traffic().note_unflushed(self.hyper_waits);
            }
        }
        Ok(())
    }

    fn note_read(&self, bytes: usize) {
        self.traffic().note_read(bytes);
        if let Some(metrics) = self.metrics {
            metrics.note_received(bytes);
        }
    }

    fn note_written(&self, bytes: usize) {
        self.traffic().note_written(bytes);
        if let Some(metrics) = self.metrics {
            metrics.note_sent(bytes);
        }
    }

    fn note_write(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(written)) => self.note_written(*written),
            Poll::Ready(Err(_)) => {}
            // hyper holds bytes that it can't write; its next successful flush says that they are gone.
            Poll::Pending => self.traffic().note_unflushed(true),
        }
    }
}

impl<I: Inspector> AsyncRead for Transport<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.flushed {
            this.interject(cx)?;
        }
        if this.stream.is_nearly_worn_out() {
            this.traffic().note_nearly_worn_out();
        }
        let before = buf.filled().len();
        let mut polled = match this.inspector.defers_waiting() {
            true => this.inspector.poll_read(&mut Unwatched(&mut this.stream), cx, buf),
            false => this.inspector.poll_read(&mut this.stream, cx, buf),
        };
        let is_end = match &polled {
            Poll::Ready(Ok(())) => buf.filled().len() == before,
            // Over TLS, an end without close_notify. It can't cut a request short unnoticed: HTTP says how long a
            // request is.
            Poll::Ready(Err(error)) => error.kind() == io::ErrorKind::UnexpectedEof,
            Poll::Pending => false,
        };
        if is_end && this.inspector.hides_end() {
            polled = Poll::Pending;
        }
        match polled {
            Poll::Ready(Ok(())) => {
                this.note_read(buf.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                this.traffic().note_read_blocked();
                this.inspector.note_blocked(this.stream.is_in_record());
                // No further request has come, so the gathered bytes go out. If that blocks, the task is
                // woken when it can go on.
                if (!this.gathered.is_empty() || this.owes_flush)
                    && let Poll::Ready(outcome) = this.poll_flush_gathered(cx)
                {
                    outcome?;
                }
                Poll::Pending
            }
        }
    }
}

impl<I: Inspector> AsyncWrite for Transport<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // hyper flushes after what it writes.
        (this.flushed, this.owes_flush) = (false, false);
        let most = match this.inspector.plan(bufs, &mut this.gathered) {
            Passage::All => {
                let written = ready!(this.poll_write_bufs(cx, bufs))?;
                this.inspector.note_passed(bufs, written);
                return Poll::Ready(Ok(written));
            }
            Passage::Part(most) => most,
            Passage::Taken(taken) => {
                this.traffic().note_unflushed(true);
                return Poll::Ready(Ok(taken));
            }
        };
        // Rare: the rest comes with the next call.
        let first =
            bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &buf[..buf.len().min(most)]);
        let first = [IoSlice::new(first)];
        let written = ready!(this.poll_write_bufs(cx, &first))?;
        this.inspector.note_passed(&first, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() && self.inspector.may_wait() {
            return Poll::Ready(Ok(()));
        }
        self.hyper_waits = false;
        ready!(self.poll_write_gathered(cx))?;
        if self.inspector.has_left() {
            // If that fails, the first wait tries it again.
            let _ = self.stream.watch();
        }
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.owes_flush = false;
        self.traffic().note_unflushed(outcome.is_pending());
        self.flushed = outcome.is_ready() && self.traffic().bytes_out() > 0;
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
