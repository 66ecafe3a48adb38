//! The body of an HTTP/2 response, given to hyper in pieces that report when they have gone out.
//!
//! hyper takes a body's next frame whether or not the client's window has room, and h2 keeps it until there is some.
//! So hyper gets little at a time, and the end of the stream only once all else has gone out: until then the stream
//! still has a task, and can be reset.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body;
use hyper::body::Frame;

use crate::conn::http2::progress::Progress;
use crate::conn::http2::room::{Hold, PIECE};

/// One response's body that is being sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    progress: Arc<Progress>,
    /// What is left of the body's last frame of data, and its room.
    rest: Bytes,
    hold: Option<Hold>,
    /// What comes after all data: trailers, or nothing.
    end: Option<Option<Frame<Piece>>>,
    frames: u8,
    is_in_pieces: bool,
}

impl Outgoing {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        Self { progress, rest: Bytes::new(), hold: None, end: None, frames: 0, is_in_pieces: false }
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn poll_frame<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut B,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        if let Some(piece) = self.next_piece() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if self.end.is_none() {
            ready!(self.poll_room(body, cx));
            match ready!(Pin::new(body).poll_frame(cx)?) {
                Some(frame) => match frame.into_data() {
                    Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(self.first_piece(bytes))))),
                    Err(frame) => self.end = Some(Some(frame.map_data(|bytes| self.first_piece(bytes)))),
                },
                None => self.end = Some(None),
            }
        }
        if self.keeps_end() {
            ready!(self.progress.poll_sent());
        }
        Poll::Ready(self.end.take().flatten().map(Ok))
    }

    /// While there is no room, a body that has not begun waits, and one that has begun gets its next piece only once
    /// the last has gone out. But one whose size is known may be in memory already: it has to be counted.
    fn poll_room(&self, body: &impl Body, cx: &Context<'_>) -> Poll<()> {
        if !self.progress.streams().room.is_full() {
            Poll::Ready(())
        } else if self.frames > 0 {
            self.progress.poll_sent()
        } else if body.size_hint().exact().is_some() {
            Poll::Ready(())
        } else {
            self.progress.poll_enter(cx)
        }
    }

    /// Whether nothing follows, now that the body says whether it `ends`.
    pub(crate) fn is_end_stream(&self, ends: bool) -> bool {
        self.rest.is_empty() && self.end.is_none() && ends && !self.keeps_end()
    }

    /// Whether the end comes only once all else has gone out. A response of one piece ends with it, unless the room
    /// is full.
    fn keeps_end(&self) -> bool {
        self.is_in_pieces || self.progress.streams().room.is_full()
    }

    fn first_piece(&mut self, bytes: Bytes) -> Piece {
        self.hold = Some(self.progress.streams().room.hold(bytes.len()));
        self.is_in_pieces |= self.frames > 0 || bytes.len() > PIECE;
        self.frames = self.frames.saturating_add(1);
        self.rest = bytes;
        self.take_piece()
    }

    fn next_piece(&mut self) -> Option<Piece> {
        (!self.rest.is_empty()).then(|| self.take_piece())
    }

    fn take_piece(&mut self) -> Piece {
        let bytes = self.rest.split_to(self.rest.len().min(PIECE));
        self.progress.hand_over(bytes.len());
        // All pieces share one allocation: its room is free once the last is gone.
        let hold = if self.rest.is_empty() { self.hold.take() } else { None };
        Piece { bytes, progress: self.progress.clone(), _hold: hold }
    }
}

/// A piece of a response until its last byte has gone out.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    progress: Arc<Progress>,
    _hold: Option<Hold>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.progress.note_sent(count);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let bytes = self.bytes.copy_to_bytes(len);
        self.progress.note_sent(len);
        bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.progress.piece_is_gone(self.bytes.len());
    }
}
