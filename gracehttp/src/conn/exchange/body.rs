//! The body of a request, counted against the server's limit and against the connection's idleness.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::body::Body as HandlerBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::conn::activity::{Activity, Fate, ends_body};
use crate::conn::close::Linger;
use crate::conn::http2::{self, Progress};
use crate::server::ServerOptions;

/// A source of request bodies: hyper, or another reader of the same connection.
pub(crate) trait Source: Body {
    /// The body as handlers get it, with the server's limits.
    fn into_body(
        self,
        options: &ServerOptions,
        activity: Arc<Activity>,
        upload: Option<Arc<Progress>>,
    ) -> HandlerBody;

    /// No handler gets it. HTTP/2 only.
    fn discard(self, options: &ServerOptions, upload: &Arc<Progress>);
}

impl Source for Incoming {
    fn into_body(
        self,
        options: &ServerOptions,
        activity: Arc<Activity>,
        upload: Option<Arc<Progress>>,
    ) -> HandlerBody {
        HandlerBody::new(RequestBody::new(self, options, activity, upload))
    }

    fn discard(self, options: &ServerOptions, upload: &Arc<Progress>) {
        http2::discard(self, Linger::for_upload(options), upload);
    }
}

/// A request body on its way to a handler.
struct RequestBody {
    /// Empty once it was read to its end or has failed.
    incoming: Option<Incoming>,
    received: u64,
    limit: u64,
    /// How long, and how far, what its handler leaves is read over HTTP/2.
    bounds: Linger,
    activity: Arc<Activity>,
    /// The number of its request on the connection.
    request: u64,
    /// HTTP/2 only.
    upload: Option<Arc<Progress>>,
}

impl RequestBody {
    fn new(
        incoming: Incoming,
        options: &ServerOptions,
        activity: Arc<Activity>,
        upload: Option<Arc<Progress>>,
    ) -> Self {
        activity.body_begins();
        let request = activity.begun();
        let (limit, bounds) = (options.max_body, Linger::for_upload(options));
        Self { incoming: Some(incoming), received: 0, limit, bounds, activity, request, upload }
    }

    /// The handler gets no more of it. Over HTTP/1 hyper then closes the connection after the response.
    fn give_up(&self, incoming: Incoming) {
        if let Some(upload) = &self.upload {
            http2::discard(incoming, self.bounds, upload);
        }
        self.activity.give_up_body();
    }

    fn end_upload(&self) {
        if let Some(upload) = &self.upload {
            upload.upload_ends();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        // One frame over the limit passes, so that a buffering extractor sees it and answers 413 itself.
        if let Some(incoming) = this.incoming.take_if(|_| this.received > this.limit) {
            this.give_up(incoming);
            return Poll::Ready(Some(Err(BodyTooLarge { limit: this.limit }.into())));
        }
        let Some(incoming) = this.incoming.as_mut() else { return Poll::Ready(None) };
        let mut polled = Pin::new(&mut *incoming).poll_frame(cx);
        if polled.is_pending() && this.upload.is_none() {
            let fate = this.activity.poll_fate(this.request, cx);
            // hyper may have passed something on meanwhile.
            if fate != Fate::Open {
                polled = Pin::new(&mut *incoming).poll_frame(cx);
            }
            if polled.is_pending() && fate == Fate::Received {
                // hyper does not pass on trailers that come after the response.
                polled = Poll::Ready(None);
            } else if polled.is_pending() && fate == Fate::CutShort {
                this.incoming = None;
                return Poll::Ready(Some(Err(CutShort.into())));
            }
        }
        if let Some(upload) = &this.upload
            && polled.is_pending()
        {
            if upload.poll_reset(cx) {
                this.incoming = None;
                return Poll::Ready(Some(Err(TooSlow.into())));
            }
            upload.upload_is_awaited();
        }
        match ready!(polled) {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.received += length as u64;
                let ends = ends_body(&frame, incoming);
                let frame = match &this.upload {
                    Some(upload) => frame.map_data(|piece| upload.take_upload(piece)),
                    None => frame,
                };
                if ends {
                    this.end_upload();
                    this.incoming = None;
                    this.activity.body_ends();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.end_upload();
                this.incoming = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.end_upload();
                this.incoming = None;
                this.activity.body_ends();
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.end_upload();
        let Some(incoming) = self.incoming.take() else { return };
        if incoming.is_end_stream() {
            self.activity.body_ends();
        } else if self.upload.is_none() && self.received <= self.limit {
            // The connection has to skip the rest to reach its next request.
            self.activity.leave_body(incoming, self.limit - self.received);
        } else {
            self.give_up(incoming);
        }
    }
}

/// The client closed its side before the end of its request body.
#[derive(Debug)]
struct CutShort;

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client closed its side in the middle of the request body")
    }
}

impl std::error::Error for CutShort {}

/// The client of an HTTP/2 stream has sent too little of its request body for too long.
#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client sends its request body too slowly")
    }
}

impl std::error::Error for TooSlow {}

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
