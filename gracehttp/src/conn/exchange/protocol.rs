//! What differs between protocols in an exchange. All the rest is the same for each of them: limits, panics, counts,
//! and the way out of a response.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use axum_core::{BoxError, Error};
use bytes::{Buf, Bytes};
use http::{Request, StatusCode};
use http_body::{Body, Frame};

use crate::conn::cause::Refusal;
use crate::conn::exchange::answer::{Content, Sending};
use crate::conn::info::ConnectionInfo;
use crate::conn::traffic::{CountedBy, Traffic};
use crate::server::{Asked, ServerOptions};

/// One connection of a protocol.
pub(crate) trait Protocol: Sized + Send + Sync + 'static {
    /// A request's body as its reader gives it.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;
    type Turn: Turn<Self>;

    /// Which tasks begin its requests, and drop its responses.
    const COUNTED_BY: CountedBy;

    fn traffic(&self) -> &Traffic;

    /// The connection's task, if work on a request without a body may begin before the future of its response is
    /// polled in that task.
    fn task(&self) -> Option<&Waker> {
        None
    }

    /// A request has come. Its number is counted from 1.
    fn turn(
        self: &Arc<Self>,
        request: &Request<Self::Body>,
        number: u64,
        asked: &Asked,
        has_body: bool,
    ) -> Self::Turn;
}

/// A request's turn on its connection, from its arrival to the head of its response.
pub(crate) trait Turn<P: Protocol>: Send + Unpin + 'static {
    type Upload: Upload<P::Body>;
    type Delivery: Delivery<P>;

    /// Gives the request the form that handlers know, or says why no handler may see it.
    fn check(&mut self, request: &mut Request<P::Body>, options: &ServerOptions) -> Result<(), Refusal>;

    /// The request has a body, and this is its account.
    fn upload(&self, connection: &Arc<P>, options: &ServerOptions) -> Self::Upload;

    /// Resolves once the request may begin; true, once, if it had to wait.
    fn poll_begin(&mut self, _cx: &TaskContext<'_>) -> Poll<bool> {
        Poll::Ready(false)
    }

    /// Why the request's body makes the request invalid. This replaces the handler's answer. The rest of the body stays
    /// unread.
    fn refuse_body(&self, _connection: &P) -> Option<Refusal> {
        None
    }

    /// The response is there. Returns whether its head has to say that it is the connection's last.
    fn respond(&mut self, connection: &P, info: &ConnectionInfo, asked: &Asked, status: StatusCode) -> bool;

    /// Whether the request was given up because its client was too slow.
    fn is_given_up(&self) -> bool {
        false
    }

    /// The head of the response is settled, and its body begins.
    fn deliver(&mut self, connection: &P, leaves_http: bool, cx: &TaskContext<'_>) -> Self::Delivery;
}

/// The account of a request body.
pub(crate) trait Upload<B>: Send + Unpin + 'static {
    /// None of the body is there at the moment. Says whether more will come. While that is open, the caller is woken
    /// when it changes.
    fn poll_fate(&self, cx: &TaskContext<'_>) -> Fate;

    /// Whether the client has sent more than `received` bytes of the body. If so, the rest of them, or an error,
    /// follows without a further wait for the client.
    fn is_at_hand(&self, received: u64) -> bool;

    /// A piece has come, and goes to the handler.
    fn pass(&self, piece: Bytes) -> Bytes;

    /// The body has come to its end, whole or not.
    fn end(&self, is_whole: bool);

    /// The handler gets no more of it. Of the rest, so many bytes may be read and thrown away; none if the body is
    /// over the server's limit.
    fn leave(&self, rest: B, allowed: Option<u64>);
}

/// What will become of the rest of a request body.
#[derive(Debug)]
pub(crate) enum Fate {
    Open,
    /// There is no rest.
    Whole,
    /// It will never come.
    Lost(BoxError),
}

/// The way of a response body to the client.
pub(crate) trait Delivery<P>: Send + Unpin + 'static {
    type Piece: Buf + Send + 'static;

    fn poll_frame(
        &mut self,
        content: &mut Sending<'_>,
        connection: &P,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Piece>, Error>>>;

    fn is_end_stream(&self, content: &Content) -> bool;

    /// Whether the response was given up because its client was too slow.
    fn is_given_up(&self) -> bool {
        false
    }
}
