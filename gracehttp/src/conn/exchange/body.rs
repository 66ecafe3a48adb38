//! The body of a request as its handler reads it, counted against the server's limit.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::conn::exchange::protocol::{Fate, Upload};

/// A piece of at least this size goes to the handler as it is.
const LARGE: usize = 1 << 10;

/// Small pieces are gathered up to this size.
const ENOUGH: usize = 8 << 10;

/// A request body, as its handler gets it.
///
/// A handler that collects a body needs some 32 bytes for each piece, even for a small one. So small pieces are put
/// together while more bytes from the client are at hand. Once there are none, they go to the handler at once.
pub(super) struct RequestBody<B: Body, U: Upload<B>> {
    /// Empty once it was read to its end or has failed.
    incoming: Option<B>,
    received: u64,
    limit: u64,
    upload: U,
    gathered: Gathered,
    /// The frame after the gathered pieces, or the end.
    next: Option<Next>,
}

type Next = Option<Result<Frame<Bytes>, BoxError>>;

impl<B, U> RequestBody<B, U>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    U: Upload<B>,
{
    pub(super) fn new(incoming: B, limit: u64, upload: U) -> Self {
        let (gathered, next) = (Gathered::default(), None);
        Self { incoming: Some(incoming), received: 0, limit, upload, gathered, next }
    }

    /// The next frame, or the end. Pending if the handler has to wait for it.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        // One frame over the limit passes, so that a buffering extractor sees it and answers 413 itself.
        if let Some(incoming) = self.incoming.take_if(|_| self.received > self.limit) {
            self.upload.leave(incoming, None);
            return Poll::Ready(Some(Err(BodyTooLarge { limit: self.limit }.into())));
        }
        let Some(incoming) = self.incoming.as_mut() else { return Poll::Ready(None) };
        let mut polled = Pin::new(&mut *incoming).poll_frame(cx);
        if polled.is_pending() && (self.gathered.is_empty() || self.upload.is_at_hand(self.received)) {
            let fate = self.upload.poll_fate(cx);
            // Something may have come meanwhile.
            if !matches!(fate, Fate::Open) {
                polled = Pin::new(&mut *incoming).poll_frame(cx);
            }
            match fate {
                Fate::Whole if polled.is_pending() => return Poll::Ready(None),
                Fate::Lost(error) if polled.is_pending() => return Poll::Ready(Some(Err(error))),
                _ => {}
            }
        }
        let next = ready!(polled).map(|frame| frame.map_err(Into::into));
        if let Some(Ok(frame)) = &next {
            self.received += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(next)
    }

    /// Whether more of the body may be put together with this piece.
    fn is_small(&self, piece: &Bytes) -> bool {
        let ends = self.incoming.as_ref().is_none_or(Body::is_end_stream);
        piece.len() < LARGE && !ends && self.received <= self.limit
    }

    fn hand_on(&mut self, next: Next) -> Next {
        match next {
            Some(Ok(frame)) => {
                let is_last = self.next.is_none();
                let ends = is_last && self.incoming.as_ref().is_some_and(|body| ends_body(&frame, body));
                let frame = frame.map_data(|piece| self.upload.pass(piece));
                if ends {
                    self.end(true);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.end(false);
                Some(Err(error))
            }
            None => {
                self.end(true);
                None
            }
        }
    }

    fn hand_on_gathered(&mut self) -> Next {
        let piece = self.gathered.take();
        self.hand_on(Some(Ok(Frame::data(piece))))
    }
}

impl<B: Body, U: Upload<B>> RequestBody<B, U> {
    fn end(&mut self, is_whole: bool) {
        if self.incoming.take().is_some() {
            self.upload.end(is_whole);
        }
    }

    /// How many bytes have arrived, but were not passed to the handler.
    fn held(&self) -> u64 {
        let next = match &self.next {
            Some(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        (self.gathered.len() + next) as u64
    }
}

impl<B, U> Body for RequestBody<B, U>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    U: Upload<B>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(next) = this.next.take() {
            return Poll::Ready(this.hand_on(next));
        }
        loop {
            let next = match this.poll_next(cx) {
                Poll::Ready(next) => next,
                // There is nothing to pass on, or the connection has more of the body at hand.
                Poll::Pending if this.gathered.is_empty() || this.upload.is_at_hand(this.received) => {
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Ready(this.hand_on_gathered()),
            };
            let piece = match next {
                Some(Ok(frame)) => frame.into_data().map_err(|frame| Some(Ok(frame))),
                next => Err(next),
            };
            let next = match piece {
                Ok(piece) if this.is_small(&piece) => {
                    this.gathered.add(piece);
                    if this.gathered.len() >= ENOUGH {
                        return Poll::Ready(this.hand_on_gathered());
                    }
                    continue;
                }
                Ok(piece) => Some(Ok(Frame::data(piece))),
                Err(next) => next,
            };
            if this.gathered.is_empty() {
                return Poll::Ready(this.hand_on(next));
            }
            this.next = Some(next);
            return Poll::Ready(this.hand_on_gathered());
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held() == 0 && self.next.is_none() && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let held = self.held();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

impl<B: Body, U: Upload<B>> Drop for RequestBody<B, U> {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        if !self.gathered.is_empty() {
            self.upload.pass(self.gathered.take());
        }
        if let Some(Some(Ok(frame))) = self.next.take() {
            _ = frame.map_data(|piece| self.upload.pass(piece));
        }
        if incoming.is_end_stream() {
            self.upload.end(true);
        } else {
            self.upload.leave(incoming, self.limit.checked_sub(self.received));
        }
    }
}

/// Small pieces of a body, put together. One alone is not copied.
#[derive(Debug, Default)]
struct Gathered {
    first: Bytes,
    joined: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
            return;
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        self.joined.extend_from_slice(&piece);
    }

    fn take(&mut self) -> Bytes {
        match self.joined.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.joined).freeze(),
        }
    }
}

/// Whether this frame is the last of a request body. hyper ends the body only when it reads on, and after the
/// response it does that no sooner than for the next request.
pub(crate) fn ends_body(frame: &Frame<Bytes>, body: &impl Body) -> bool {
    frame.is_trailers() || body.is_end_stream()
}

/// A request body went over the server's `max_body`.
#[derive(Debug)]
struct BodyTooLarge {
    limit: u64,
}

impl fmt::Display for BodyTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request body is larger than the server's max_body of {} bytes", self.limit)
    }
}

impl std::error::Error for BodyTooLarge {}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
