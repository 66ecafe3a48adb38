//! One request and its response, between hyper and the server's service.
//!
//! This is the one place in which limits, panics, counts and the way out of a response are applied, for every protocol.
//! What differs between protocols is behind [`Protocol`].

pub(super) mod answer;
mod at_work;
mod body;
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
use http::response::Parts;
use http::{Extensions, HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;

pub(super) use at_work::handlers_at_work;
pub(crate) use at_work::log_handlers_at_work;
pub(crate) use body::ends_body;
pub(crate) use protocol::{Delivery, Fate, Protocol, Turn, Upload};

use crate::conn::cause::Cause;
use crate::conn::context::Context;
use crate::conn::exchange::answer::{AnsweredRequest, Content, Work, let_go};
use crate::conn::exchange::body::RequestBody;
use crate::conn::exchange::measured::{Measured, ResponseEnd};
use crate::conn::info::ConnectionInfo;
use crate::conn::request_id::X_REQUEST_ID;
use crate::server::{Asked, Request, Response, Surroundings};

/// The service of one connection, as hyper calls it.
pub(crate) struct ConnectionService<P>(Arc<Connection<P>>);

/// A connection, as its exchanges share it.
struct Connection<P> {
    notes: Arc<P>,
    info: Arc<ConnectionInfo>,
    client: at_work::Client,
    /// The surroundings of every request.
    facts: Extensions,
}

impl<P: Protocol> ConnectionService<P> {
    pub(crate) fn new(notes: Arc<P>, info: Arc<ConnectionInfo>) -> Self {
        let (client, facts) = (at_work::Client::of(&info), info.facts());
        Self(Arc::new(Connection { notes, client, facts, info }))
    }
}

impl<P: Protocol> Connection<P> {
    fn context(&self) -> &Context {
        &self.info.context
    }

    /// The request as the server's service gets it.
    fn prepare(&self, request: http::Request<P::Body>, turn: &P::Turn, has_body: bool) -> Request {
        if !has_body {
            return request.map(|_| HandlerBody::empty());
        }
        let options = &self.context().options;
        let upload = turn.upload(&self.notes, options);
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
            turn.upload(&self.notes, &self.context().options).leave(body, None);
        }
        Work::Settled(cause)
    }
}

impl<P: Protocol> Service<http::Request<P::Body>> for ConnectionService<P> {
    type Response = http::Response<ResponseBody<P>>;
    type Error = Infallible;
    type Future = RequestFuture<P>;

    fn call(&self, request: http::Request<P::Body>) -> RequestFuture<P> {
        let mut exchange = Exchange::begin(&self.0, &request);
        exchange.take_up(request);
        RequestFuture(Some(exchange))
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

/// One request and its response, from the call of the service to the end of the response body. All that time the request
/// counts as open.
///
/// An exchange is boxed, since hyper moves the future and the body a dozen times.
struct Exchange<P: Protocol> {
    connection: Arc<Connection<P>>,
    asked: Asked,
    measured: Measured,
    stage: Stage<P>,
}

enum Stage<P: Protocol> {
    /// The request has come.
    Begun,
    /// The response has not begun.
    Request {
        work: Work,
        /// The answer, if it was there before the future was polled.
        ahead: Poll<Response>,
        turn: P::Turn,
    },
    Response {
        content: Content,
        delivery: <P::Turn as Turn<P>>::Delivery,
        /// The content's last frame was given to the connection.
        has_ended: bool,
    },
}

impl<P: Protocol> Exchange<P> {
    fn begin(connection: &Arc<Connection<P>>, request: &http::Request<P::Body>) -> Box<Self> {
        let measured = Measured::begin(&connection.info, request);
        connection.notes.traffic().begin(P::COUNTED_BY);
        let asked = Asked::of(request);
        Box::new(Self { connection: connection.clone(), asked, measured, stage: Stage::Begun })
    }

    /// Has the handler begin its work on the request, unless the server itself refuses it.
    fn take_up(&mut self, mut request: http::Request<P::Body>) {
        let Self { connection, asked, measured, stage } = self;
        let Connection { notes, info, client, facts } = &**connection;
        let has_body = !request.body().is_end_stream();
        let mut turn = notes.turn(&request, notes.traffic().begun(), asked, has_body);
        if let Err(refusal) = turn.check(&mut request, &info.context.options) {
            let work = connection.refuse(request, &turn, Cause::Refused(refusal));
            *stage = Stage::Request { work, ahead: Poll::Pending, turn };
            return;
        }
        let noted = measured.begin_work();
        if let Some(id) = measured.id() {
            request.extensions_mut().insert(id.clone());
        }
        let entered = measured.enter();
        let working = at_work::enter(client, asked, measured.since());
        let surroundings = Surroundings::of_connection(facts);
        let request = connection.prepare(request, &turn, has_body);
        let mut work = Work::begin(&info.context, asked, request, surroundings);
        // hyper looks for the client's end before it polls the future, and needs room for 8 KiB to do so. If nothing is left of
        // the request by then, its buffer has that room; otherwise hyper allocates. So the work begins here and now.
        let ahead = match notes.task() {
            Some(task) if !has_body => work.poll(&info.context, asked, &mut TaskContext::from_waker(task)),
            _ => Poll::Pending,
        };
        *stage = Stage::Request { work, ahead, turn };
        drop((working, entered));
        measured.end_work(noted);
    }

    /// The handler's response, or the server's own.
    fn poll_response(&mut self, cx: &mut TaskContext<'_>) -> Poll<Response> {
        let Self { connection, asked, measured, stage } = self;
        // A future that has ended is not polled.
        let Stage::Request { work, ahead, turn } = stage else { return Poll::Pending };
        let context = connection.context();
        if work.is_running() && ready!(turn.poll_begin(cx)) {
            // The handler had to wait for its client: its time begins now.
            work.restart_timeout(context);
        }
        match std::mem::replace(ahead, Poll::Pending) {
            Poll::Pending => {
                let noted = measured.begin_work();
                let entered = measured.enter();
                let working = at_work::enter(&connection.client, asked, measured.since());
                let polled = work.poll(context, asked, cx);
                drop((working, entered));
                measured.end_work(noted);
                polled
            }
            ready => ready,
        }
    }

    /// The response begins. Returns its head.
    fn respond(&mut self, mut response: Response, cx: &TaskContext<'_>) -> Parts {
        let Self { connection, asked, measured, stage } = self;
        let Connection { notes, info, .. } = &**connection;
        let Stage::Request { work, turn, .. } = stage else { return response.into_parts().0 };
        let mut cause = work.cause();
        if let Some(refusal) = turn.refuse_body(notes) {
            cause = Cause::Refused(refusal);
            response = answer::own(cause);
        }
        let is_last = turn.respond(notes, info, asked, response.status());
        let (mut head, body) = response.into_parts();
        let (content, cause) =
            answer::finish(AnsweredRequest { info, asked }, cause, is_last, &mut head, body);
        measured.note_head(head.status, cause);
        if let Some(id) = measured.id() {
            head.headers.insert(X_REQUEST_ID, id.value().clone());
        }
        let delivery = turn.deliver(notes, leaves_http(asked.is_connect(), head.status), cx);
        *stage = Stage::Response { content, delivery, has_ended: false };
        head
    }
}

impl<P: Protocol> Drop for Exchange<P> {
    fn drop(&mut self) {
        let Connection { notes, info, .. } = &*self.connection;
        let (context, asked) = (&info.context, &self.asked);
        match &mut self.stage {
            Stage::Request { work, ahead, turn } => {
                info.note_unanswered(asked);
                self.measured.log_unanswered(info, turn.is_given_up());
                work.settle(context, asked, Cause::Handler);
                if let Poll::Ready(response) = std::mem::replace(ahead, Poll::Pending) {
                    let_go(context, asked, "its response", response);
                }
            }
            Stage::Response { content, delivery, has_ended } => {
                let end = if content.is_broken() {
                    ResponseEnd::Broken
                } else if *has_ended || delivery.is_end_stream(content) {
                    ResponseEnd::Whole
                } else if delivery.is_given_up() {
                    ResponseEnd::GivenUp
                } else {
                    ResponseEnd::Cut
                };
                self.measured.log_answered(info, end);
                content.let_go(AnsweredRequest { info, asked });
            }
            Stage::Begun => {}
        }
        notes.traffic().end(P::COUNTED_BY);
    }
}

/// The way from a request to the head of its response.
pub(crate) struct RequestFuture<P: Protocol>(
    /// It moves into the response body.
    Option<Box<Exchange<P>>>,
);

impl<P: Protocol> Future for RequestFuture<P> {
    type Output = Result<http::Response<ResponseBody<P>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Some(exchange) = &mut self.0 else { return Poll::Pending };
        let response = ready!(exchange.poll_response(cx));
        let head = exchange.respond(response, cx);
        let Some(exchange) = self.0.take() else { return Poll::Pending };
        Poll::Ready(Ok(http::Response::from_parts(head, ResponseBody(exchange))))
    }
}

/// A response body; the exchange ends with it.
pub(crate) struct ResponseBody<P: Protocol>(Box<Exchange<P>>);

impl<P: Protocol> Body for ResponseBody<P> {
    type Data = <<P::Turn as Turn<P>>::Delivery as Delivery<P>>::Piece;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Exchange { connection, asked, measured, stage } = &mut *self.0;
        let Stage::Response { content, delivery, has_ended } = stage else { return Poll::Ready(None) };
        let request = AnsweredRequest { info: &connection.info, asked };
        let polled = delivery.poll_frame(&mut content.sending(request), &connection.notes, cx);
        match &polled {
            Poll::Pending => measured.note_waiting(),
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(piece) => {
                    measured.note_piece(piece.remaining(), || delivery.is_end_stream(content));
                }
                None => *has_ended = true,
            },
            Poll::Ready(Some(Err(_))) => {}
            Poll::Ready(None) => *has_ended = true,
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.0.stage {
            Stage::Response { content, delivery, .. } => delivery.is_end_stream(content),
            _ => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.stage {
            Stage::Response { content, .. } => content.size_hint(),
            _ => SizeHint::with_exact(0),
        }
    }
}
