//! The body of a request on its way to a handler, counted against the server's limit.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::conn::exchange::protocol::{Fate, Upload};

/// A request body, as its handler gets it.
pub(super) struct RequestBody<B: Body, U: Upload<B>> {
    /// Empty once it was read to its end or has failed.
    incoming: Option<B>,
    received: u64,
    limit: u64,
    upload: U,
}

impl<B: Body, U: Upload<B>> RequestBody<B, U> {
    pub(super) fn new(incoming: B, limit: u64, upload: U) -> Self {
        Self { incoming: Some(incoming), received: 0, limit, upload }
    }

    fn end(&mut self, is_whole: bool) {
        self.incoming = None;
        self.upload.end(is_whole);
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
        // One frame over the limit passes, so that a buffering extractor sees it and answers 413 itself.
        if let Some(incoming) = this.incoming.take_if(|_| this.received > this.limit) {
            this.upload.leave(incoming, None);
            return Poll::Ready(Some(Err(BodyTooLarge { limit: this.limit }.into())));
        }
        let Some(incoming) = this.incoming.as_mut() else { return Poll::Ready(None) };
        let mut polled = Pin::new(&mut *incoming).poll_frame(cx);
        if polled.is_pending() {
            let fate = this.upload.poll_fate(cx);
            // Something may have come meanwhile.
            if !matches!(fate, Fate::Open) {
                polled = Pin::new(&mut *incoming).poll_frame(cx);
            }
            match fate {
                Fate::Whole if polled.is_pending() => polled = Poll::Ready(None),
                Fate::Lost(error) if polled.is_pending() => {
                    this.end(false);
                    return Poll::Ready(Some(Err(error)));
                }
                _ => {}
            }
        }
        match ready!(polled) {
            Some(Ok(frame)) => {
                this.received += frame.data_ref().map_or(0, Bytes::len) as u64;
                let ends = ends_body(&frame, incoming);
                let frame = frame.map_data(|piece| this.upload.pass(piece));
                if ends {
                    this.end(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.end(false);
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.end(true);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body, U: Upload<B>> Drop for RequestBody<B, U> {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        if incoming.is_end_stream() {
            self.upload.end(true);
        } else {
            self.upload.leave(incoming, self.limit.checked_sub(self.received));
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
