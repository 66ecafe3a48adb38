//! Responses: small, whole, and safe in a browser.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc::Receiver;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// A response of the process to an operator.
pub(super) type Answer = Response<Content>;

/// The body of a response.
pub(super) struct Content {
    kind: Kind,
    /// The connection is busy for as long as this exists.
    _busy: Option<Busy>,
}

enum Kind {
    Whole(Option<Bytes>),
    /// Pieces that come while the operator watches.
    Events(Receiver<Bytes>),
}

/// Marks a connection that gets a response, so that no other takes its place.
pub(super) struct Busy(Arc<AtomicBool>);

impl Busy {
    pub(super) fn begin(flag: Arc<AtomicBool>) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

pub(super) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    answer(status, content_type, Kind::Whole(Some(body.into())))
}

pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    whole(status, TEXT, text.into())
}

pub(super) fn events(pieces: Receiver<Bytes>) -> Answer {
    answer(StatusCode::OK, "text/event-stream", Kind::Events(pieces))
}

fn answer(status: StatusCode, content_type: &'static str, kind: Kind) -> Answer {
    let mut response = Response::new(Content { kind, _busy: None });
    *response.status_mut() = status;
    let fields = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Content {
    /// The same content. Its connection is busy until all of it is sent.
    pub(super) fn with(self, busy: Busy) -> Self {
        Self { _busy: Some(busy), ..self }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.kind {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty())),
            Kind::Events(pieces) => pieces.poll_recv(cx),
        };
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Whole(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}
