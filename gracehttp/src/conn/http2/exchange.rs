//! HTTP/2's part in an exchange: when a request may begin, what its body may cost, and how the rest of it is skipped.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::Error;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use crate::conn::cause::Refusal;
use crate::conn::close::Linger;
use crate::conn::exchange::answer::{Content, Sending};
use crate::conn::exchange::{self, Delivery, Fate, Protocol, expects_continue};
use crate::conn::http2::discard::discard;
use crate::conn::http2::progress::Progress;
use crate::conn::http2::response::{Outgoing, Piece};
use crate::conn::http2::streams::{Body, Streams};
use crate::conn::http2::turn::Turn;
use crate::conn::info::ConnectionInfo;
use crate::conn::traffic::{CountedBy, Traffic};
use crate::server::{Asked, ServerOptions};

impl Protocol for Streams {
    type Body = Incoming;
    type Turn = Turn;

    /// Each stream has a task.
    const COUNTED_BY: CountedBy = CountedBy::SeveralTasks;

    fn traffic(&self) -> &Traffic {
        Streams::traffic(self)
    }

    fn turn(self: &Arc<Self>, request: &Request<Incoming>, _: u64, asked: &Asked, has_body: bool) -> Turn {
        let body = match has_body {
            true => Body::OfLength(request.body().size_hint().exact()),
            false if asked.is_connect() => Body::Tunnel,
            false => Body::None,
        };
        let progress = self.begin(body);
        if has_body && expects_continue(request.headers()) {
            progress.expect_continue();
        }
        Turn::new(progress)
    }
}

impl exchange::Turn<Streams> for Turn {
    type Upload = Upload;
    type Delivery = Outgoing;

    fn check(&mut self, request: &mut Request<Incoming>, options: &ServerOptions) -> Result<(), Refusal> {
        Turn::check(self, request, options)
    }

    fn upload(&self, _: &Arc<Streams>, options: &ServerOptions) -> Upload {
        Upload { progress: self.progress().clone(), bounds: Linger::for_upload(options) }
    }

    fn poll_begin(&mut self, cx: &Context<'_>) -> Poll<bool> {
        Turn::poll_begin(self, cx)
    }

    /// GOAWAY says which response is the last, not a response.
    fn respond(&mut self, _: &Streams, _: &ConnectionInfo, _: &Asked, _: StatusCode) -> bool {
        self.progress().is_answered();
        false
    }

    fn is_given_up(&self) -> bool {
        self.progress().is_reset()
    }

    fn deliver(&mut self, _: &Streams, _: bool, _: &Context<'_>) -> Outgoing {
        Outgoing::new(self.progress().clone())
    }
}

/// The body of one request.
#[derive(Debug)]
pub(crate) struct Upload {
    progress: Arc<Progress>,
    /// How long, and how far, its rest is read.
    bounds: Linger,
}

impl exchange::Upload<Incoming> for Upload {
    fn poll_fate(&self, cx: &Context<'_>) -> Fate {
        if self.progress.poll_reset(cx) {
            return Fate::Lost(TooSlow.into());
        }
        self.progress.upload_is_awaited();
        Fate::Open
    }

    /// h2 gives all that it has at once.
    fn is_at_hand(&self, _: u64) -> bool {
        false
    }

    fn pass(&self, piece: Bytes) -> Bytes {
        self.progress.take_upload(piece)
    }

    fn end(&self, _: bool) {
        self.progress.upload_ends();
    }

    fn leave(&self, rest: Incoming, _: Option<u64>) {
        self.progress.upload_ends();
        discard(rest, self.bounds, &self.progress);
    }
}

/// The client of a stream has sent too little of its request body for too long.
#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client sends its request body too slowly")
    }
}

impl std::error::Error for TooSlow {}

impl Delivery<Streams> for Outgoing {
    type Piece = Piece;

    fn poll_frame(
        &mut self,
        content: &mut Sending<'_>,
        _: &Streams,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Error>>> {
        Outgoing::poll_frame(self, content, cx)
    }

    fn is_end_stream(&self, content: &Content) -> bool {
        Outgoing::is_end_stream(self, content.is_end_stream())
    }

    fn is_given_up(&self) -> bool {
        self.progress().is_reset()
    }
}
