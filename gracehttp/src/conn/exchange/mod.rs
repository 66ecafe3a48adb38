//! One request and its response, between hyper and the server's service.
//!
//! This is the one place in which limits, panics, counts and the way out of a response are applied, for every protocol.
//! What differs between protocols is behind [`Protocol`].

pub(super) mod answer;
mod at_work;
mod body;
mod clock;
mod measured;
mod protocol;
mod traced;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use axum_core::body::Body as HandlerBody;
use axum_core::extract::DefaultBodyLimit;
use bytes::Buf as _;
use http::header::EXPECT;
use http::{Extensions, HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;

pub(super) use at_work::handlers_at_work;
pub(crate) use at_work::log_handlers_at_work;
pub(crate) use body::ends_body;
pub(crate) use protocol::{Delivery, Fate, Protocol, Turn, Upload};

use crate::conn::cause::Cause;
use crate::conn::context::Context;
use crate::conn::exchange::answer::{Content, Work, let_go};
use crate::conn::exchange::body::RequestBody;
use crate::conn::exchange::measured::{Measured, ResponseEnd};
use crate::conn::info::ConnectionInfo;
use crate::conn::request_id::X_REQUEST_ID;
use crate::server::{Asked, Request, Response, Surroundings};

/// The service of one connection, as hyper calls it.
pub(crate) struct ConnectionService<P> {
    connection: Arc<P>,
    info: Arc<ConnectionInfo>,
    /// The surroundings of every request.
    facts: Extensions,
}

impl<P: Protocol> ConnectionService<P> {
    pub(crate) fn new(connection: Arc<P>, info: Arc<ConnectionInfo>) -> Self {
        Self { connection, facts: info.facts(), info }
    }

    fn context(&self) -> &Context {
        &self.info.context
    }

    /// The request as the server's service gets it.
    fn prepare(&self, request: http::Request<P::Body>, turn: &P::Turn, has_body: bool) -> Request {
        if !has_body {
            return request.map(|_| HandlerBody::empty());
        }
        let options = &self.context().options;
        let upload = turn.upload(&self.connection, options);
        let max_body = options.max_body;
        let mut request =
            request.map(|incoming| HandlerBody::new(RequestBody::new(incoming, max_body, upload)));
        // The extractors that buffer a body answer 413 themselves, at the server's limit, not at axum's.
        DefaultBodyLimit::max(usize::try_from(max_body).unwrap_or(usize::MAX)).apply(&mut request);
        request
    }

    /// The server itself answers, and the request's body goes unread.
    fn refuse(&self, request: http::Request<P::Body>, turn: &P::Turn, cause: Cause) -> Work {
        let body = request.into_body();
        if !body.is_end_stream() {
            turn.upload(&self.connection, &self.context().options).leave(body, None);
        }
        Work::Settled(cause)
    }
}

impl<P: Protocol> Service<http::Request<P::Body>> for ConnectionService<P> {
    type Response = http::Response<ResponseBody<P>>;
    type Error = Infallible;
    type Future = RequestFuture<P>;

    fn call(&self, mut request: http::Request<P::Body>) -> RequestFuture<P> {
        let measured = Measured::begin(&self.info, &request);
        let (mut exchange, number) = Exchange::begin(&self.connection, measured);
        let asked = Asked::of(&request);
        let has_body = !request.body().is_end_stream();
        let mut turn = self.connection.turn(&request, number, &asked, has_body);
        // hyper looks for the client's end before it polls the future, and makes room for 8 KiB to do so. It has that
        // room if nothing is left of the request by then; otherwise it allocates. So the work begins here and now.
        let task = self.connection.task().filter(|_| !has_body);
        let (work, ahead) = match turn.check(&mut request, &self.context().options) {
            Ok(()) => {
                let noted = exchange.measured.begin_work();
                if let Some(id) = exchange.measured.id() {
                    request.extensions_mut().insert(id.clone());
                }
                let entered = exchange.measured.enter();
                let leaves = at_work::enter(&self.info, &asked, exchange.measured.since());
                let surroundings = Surroundings::of_connection(&self.facts);
                let request = self.prepare(request, &turn, has_body);
                let mut work = Work::begin(self.context(), &asked, request, surroundings);
                let ahead = task.map_or(Poll::Pending, |task| {
                    work.poll(self.context(), &asked, &mut TaskContext::from_waker(task))
                });
                drop((leaves, entered));
                exchange.measured.end_work(noted);
                (work, ahead)
            }
            Err(refusal) => (self.refuse(request, &turn, Cause::Refused(refusal)), Poll::Pending),
        };
        RequestFuture {
            work,
            ahead,
            request: Some(InFlight { exchange, turn, info: self.info.clone(), asked }),
        }
    }
}

/// Whether a response with this status ends HTTP on the connection (RFC 9110 sections 7.8 and 9.3.6).
pub(crate) fn leaves_http(is_connect: bool, status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (is_connect && status.is_success())
}

/// RFC 9110 section 10.1.1.
pub(crate) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// One request and its response, from the call of the service to the end of the response body: it counts as open.
struct Exchange<P: Protocol> {
    connection: Arc<P>,
    measured: Measured,
}

impl<P: Protocol> Exchange<P> {
    /// Returns its number on the connection, too.
    fn begin(connection: &Arc<P>, measured: Measured) -> (Self, u64) {
        let number = connection.traffic().begin();
        (Self { connection: connection.clone(), measured }, number)
    }
}

impl<P: Protocol> Drop for Exchange<P> {
    fn drop(&mut self) {
        self.connection.traffic().end();
    }
}

/// A request that has no response yet.
struct InFlight<P: Protocol> {
    /// Ends with the response body.
    exchange: Exchange<P>,
    turn: P::Turn,
    /// Not the server's context itself: its count is changed by all threads at once.
    info: Arc<ConnectionInfo>,
    asked: Asked,
}

/// The way from a request to the head of its response.
pub(crate) struct RequestFuture<P: Protocol> {
    work: Work,
    /// The answer, if it was there before the future was polled.
    ahead: Poll<Response>,
    /// Its parts move into the response body.
    request: Option<InFlight<P>>,
}

impl<P: Protocol> RequestFuture<P> {
    /// The handler's response, or the server's own.
    fn poll_response(&mut self, cx: &mut TaskContext<'_>) -> Poll<Response> {
        // Taken only when this has ended, and a future that has ended is not polled.
        let Some(request) = &mut self.request else { return Poll::Pending };
        let context = &request.info.context;
        if self.work.is_running() && ready!(request.turn.poll_begin(cx)) {
            // The handler had to wait for its client: its time begins now.
            self.work.restart_timeout(context);
        }
        match std::mem::replace(&mut self.ahead, Poll::Pending) {
            Poll::Pending => {
                let noted = request.exchange.measured.begin_work();
                let entered = request.exchange.measured.enter();
                let since = request.exchange.measured.since();
                let leaves = at_work::enter(&request.info, &request.asked, since);
                let polled = self.work.poll(context, &request.asked, cx);
                drop((leaves, entered));
                request.exchange.measured.end_work(noted);
                polled
            }
            ready => ready,
        }
    }
}

impl<P: Protocol> Future for RequestFuture<P> {
    type Output = Result<http::Response<ResponseBody<P>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut response = ready!(this.poll_response(cx));
        let Some(request) = this.request.take() else { return Poll::Pending };
        let InFlight { mut exchange, mut turn, info, asked } = request;
        let connection = &*exchange.connection;
        let mut cause = this.work.cause();
        if let Some(refusal) = turn.refuse_body(connection) {
            cause = Cause::Refused(refusal);
            response = answer::own(cause);
        }
        let is_last = turn.respond(connection, &info, &asked, response.status());
        let is_connect = asked.is_connect();
        let (mut head, body) = response.into_parts();
        let (content, cause) = answer::finish(info, asked, cause, is_last, &mut head, body);
        exchange.measured.note_head(head.status, cause);
        if let Some(id) = exchange.measured.id() {
            head.headers.insert(X_REQUEST_ID, id.value().clone());
        }
        let delivery = turn.deliver(connection, leaves_http(is_connect, head.status), cx);
        let body = ResponseBody { content, exchange, delivery, has_ended: false };
        Poll::Ready(Ok(http::Response::from_parts(head, body)))
    }
}

impl<P: Protocol> Drop for RequestFuture<P> {
    fn drop(&mut self) {
        if let Some(mut request) = self.request.take() {
            request.info.note_unanswered(&request.asked);
            request.exchange.measured.log_unanswered(&request.info, request.turn.is_given_up());
            let context = &request.info.context;
            self.work.settle(context, &request.asked, Cause::Handler);
            if let Poll::Ready(response) = std::mem::replace(&mut self.ahead, Poll::Pending) {
                let_go(context, &request.asked, "its response", response);
            }
        }
    }
}

/// A response body; the exchange ends with it.
pub(crate) struct ResponseBody<P: Protocol> {
    content: Content,
    exchange: Exchange<P>,
    delivery: <P::Turn as Turn<P>>::Delivery,
    /// Its last frame was given to the connection.
    has_ended: bool,
}

impl<P: Protocol> Body for ResponseBody<P> {
    type Data = <<P::Turn as Turn<P>>::Delivery as Delivery<P>>::Piece;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { content, exchange, delivery, has_ended } = &mut *self;
        let Poll::Ready(polled) = delivery.poll_frame(content, &exchange.connection, cx) else {
            exchange.measured.note_waiting();
            return Poll::Pending;
        };
        match &polled {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(piece) => {
                    exchange.measured.note_piece(piece.remaining(), || delivery.is_end_stream(content));
                }
                None => *has_ended = true,
            },
            Some(Err(_)) => {}
            None => *has_ended = true,
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.delivery.is_end_stream(&self.content)
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl<P: Protocol> Drop for ResponseBody<P> {
    fn drop(&mut self) {
        let end = match () {
            () if self.content.is_broken() => ResponseEnd::Broken,
            () if self.has_ended || self.delivery.is_end_stream(&self.content) => ResponseEnd::Whole,
            () if self.delivery.is_given_up() => ResponseEnd::GivenUp,
            () => ResponseEnd::Cut,
        };
        self.exchange.measured.log_answered(self.content.info(), end);
    }
}
