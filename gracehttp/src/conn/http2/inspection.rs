//! HTTP/2's part in the transport: it reads the client's frames before h2 does, and adds frames of its own to those of
//! h2.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::conn::http2::frames::{Fault, Frames};
use crate::conn::http2::outbound::{Outbound, Plan};
use crate::conn::http2::streams::Streams;
use crate::conn::traffic::Traffic;
use crate::conn::transport::{Inspector, Passage};

/// The frame GOAWAY that refuses no stream (RFC 9113 section 6.8).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The frames of one connection, in both directions.
#[derive(Debug)]
pub(super) struct Inspection {
    /// Bytes that were read earlier, to be read first.
    ahead: Bytes,
    frames: Frames,
    outbound: Outbound,
    announced_end: bool,
    streams: Arc<Streams>,
}

impl Inspection {
    pub(super) fn new(ahead: Bytes, streams: Arc<Streams>) -> Self {
        let outbound = Outbound::new(streams.credit.clone(), streams.room.first_window());
        let frames = Frames::new(Instant::now());
        Self { ahead, frames, outbound, announced_end: false, streams }
    }

    /// Appends how much more the client may send, if h2 is between two frames.
    fn put_credit(&self, bytes: &mut BytesMut) {
        if self.outbound.is_between_frames() {
            self.streams.credit.put_due(bytes);
        }
    }

    /// How many of these bytes h2 may see now.
    fn let_pass(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        if self.streams.fault().is_some() {
            return Err(Fault::Flood);
        }
        let passed = self.frames.read(bytes, self.streams.sent())?;
        self.streams.note_frames(&mut self.frames)?;
        Ok(passed)
    }
}

impl Inspector for Inspection {
    fn traffic(&self) -> &Traffic {
        self.streams.traffic()
    }

    /// Bytes that h2 may not see are kept back, and the connection's task finds the reason in [`Streams::fault`].
    fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        stream: &mut T,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The connection's task goes on with another turn.
        if self.streams.is_unsettled() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(stream).poll_read(cx, buf))?;
        } else {
            let len = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..len]);
        }
        let read = &buf.filled()[before..];
        let passed = match self.let_pass(read) {
            Ok(passed) => passed,
            Err(fault) => {
                // h2 has not seen the requests among these bytes: the client may repeat them.
                self.streams.note_fault(fault);
                buf.set_filled(before);
                return Poll::Pending;
            }
        };
        if !self.ahead.is_empty() {
            self.ahead.advance(passed);
        } else if passed < read.len() {
            self.ahead = Bytes::copy_from_slice(&read[passed..]);
        }
        buf.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }

    fn plan(&mut self, bufs: &[IoSlice<'_>], gathered: &mut BytesMut) -> Passage {
        // Before what h2 says: a client may read no further than a response.
        self.put_credit(gathered);
        match self.outbound.plan(bufs) {
            Plan::All => Passage::All,
            Plan::Part(count) => Passage::Part(count),
            Plan::Take(count) => Passage::Taken(self.outbound.take(bufs, count, gathered)),
        }
    }

    fn note_passed(&mut self, bufs: &[IoSlice<'_>], count: usize) {
        self.outbound.note_written(bufs, count);
    }

    /// GOAWAY, `100 Continue` and WINDOW_UPDATE.
    fn interject(&mut self, gathered: &mut BytesMut) {
        if self.streams.announces_end() && !self.announced_end {
            self.announced_end = true;
            gathered.extend_from_slice(&GOAWAY);
        }
        self.streams.put_interim(gathered);
        self.put_credit(gathered);
    }

    fn into_held(self) -> Bytes {
        Bytes::new()
    }
}
