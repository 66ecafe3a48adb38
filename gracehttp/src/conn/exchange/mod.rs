//! One request and its response, between hyper and the server's service.

pub(super) mod answer;
pub(super) mod body;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, Waker, ready};

use axum_core::body::Body;
use axum_core::extract::DefaultBodyLimit;
use http::header::{EXPECT, HOST};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use hyper::body::{Frame, SizeHint};
use hyper::service::Service;
use tokio::time::Instant;

use crate::conn::activity::{Activity, Exchange};
use crate::conn::context::Context;
use crate::conn::exchange::answer::{Cause, Content, Work, let_go};
use crate::conn::exchange::body::Source;
use crate::conn::http2::{self, Outgoing, Piece, Progress, Streams, Turn};
use crate::conn::info::ConnectionInfo;
use crate::lifecycle::{ConnectionEnd, Phase};
use crate::server::{Asked, Request, Response};

/// The service of one connection, as hyper calls it.
pub(crate) struct ConnectionService {
    activity: Arc<Activity>,
    info: Arc<ConnectionInfo>,
    /// Attached to every request.
    facts: Extensions,
    /// Whether the connection can go to a successor instead of being closed.
    can_move: bool,
    /// HTTP/2 only.
    streams: Option<Arc<Streams>>,
    /// HTTP/1 only: the connection's task, known from its first turn on.
    task: Option<Arc<OnceLock<Waker>>>,
}

impl ConnectionService {
    pub(crate) fn new(activity: Arc<Activity>, info: Arc<ConnectionInfo>, can_move: bool) -> Self {
        Self { activity, facts: info.facts(), info, can_move, streams: None, task: None }
    }

    pub(crate) fn of_streams(mut self, streams: Arc<Streams>) -> Self {
        self.streams = Some(streams);
        self
    }

    pub(crate) fn of_task(mut self, task: Arc<OnceLock<Waker>>) -> Self {
        self.task = Some(task);
        self
    }

    fn context(&self) -> &Context {
        &self.info.context
    }

    /// The request with its surroundings, as the server's service gets it.
    fn prepare<B: Source>(&self, mut request: http::Request<B>, upload: Option<Arc<Progress>>) -> Request {
        request.extensions_mut().extend(self.facts.clone());
        if request.body().is_end_stream() {
            return request.map(|_| Body::empty());
        }
        let options = &self.context().options;
        let max_body = options.max_body;
        let activity = self.activity.clone();
        let mut request = request.map(|body| body.into_body(options, activity, upload));
        // The extractors that buffer a body answer 413 themselves, at the server's limit, not at axum's.
        DefaultBodyLimit::max(usize::try_from(max_body).unwrap_or(usize::MAX)).apply(&mut request);
        request
    }
}

impl<B: Source> Service<http::Request<B>> for ConnectionService {
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = RequestFuture;

    fn call(&self, mut request: http::Request<B>) -> RequestFuture {
        let exchange = Exchange::begin(&self.activity);
        let asked = Asked::of(&request);
        if !asked.is_http2() {
            overrule_host(&mut request);
        }
        let has_body = !request.body().is_end_stream();
        let expects_continue = has_body && expects_continue(request.headers());
        let mut turn = self.streams.as_ref().map(|streams| {
            let body = match has_body {
                true => http2::Body::OfLength(request.body().size_hint().exact()),
                false if asked.is_connect() => http2::Body::Tunnel,
                false => http2::Body::None,
            };
            Turn::new(streams.begin(body))
        });
        if let Some(turn) = turn.as_ref().filter(|_| expects_continue) {
            turn.progress().expect_continue();
        }
        // Over HTTP/1 the strict reader has refused it already.
        let refusal = turn.as_mut().and_then(|turn| turn.check(&mut request, &self.context().options).err());
        let mut work = match refusal {
            Some(refusal) => {
                if let Some(turn) = turn.as_ref().filter(|_| has_body) {
                    request.into_body().discard(&self.context().options, turn.progress());
                }
                Work::Settled(Cause::Refused(refusal))
            }
            None => {
                let upload = turn.as_ref().map(|turn| turn.progress().clone());
                Work::begin(self.context(), &asked, self.prepare(request, upload))
            }
        };
        // hyper looks for the client's end before it polls the future, and makes room for 8 KiB to do so. It has that
        // room if nothing is left of the request by then; otherwise it allocates.
        let task = self.task.as_ref().filter(|_| !has_body).and_then(|task| task.get());
        let ahead = task.map_or(Poll::Pending, |task| {
            work.poll(self.context(), &asked, &mut TaskContext::from_waker(task))
        });
        RequestFuture {
            work,
            ahead,
            request: Some(InFlight { exchange, info: self.info.clone(), asked }),
            turn,
            is_first: self.info.is_new && self.activity.begun() == 1,
            number: self.activity.begun(),
            closes_when_moving: !self.can_move,
            expects_continue,
        }
    }
}

/// The authority of a target in absolute form overrules Host (RFC 9112 section 3.2.2).
fn overrule_host<B>(request: &mut http::Request<B>) {
    let uri = request.uri();
    let (Some(_), Some(authority)) = (uri.scheme(), uri.authority()) else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(HOST, host);
    }
}

/// Whether a response with this status ends HTTP on the connection (RFC 9110 sections 7.8 and 9.3.6).
fn leaves_http(is_connect: bool, status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (is_connect && status.is_success())
}

/// RFC 9110 section 10.1.1.
fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A request that has no response yet.
struct InFlight {
    /// Ends with the response body.
    exchange: Exchange,
    /// Not the server's context itself: its count is changed by all threads at once.
    info: Arc<ConnectionInfo>,
    asked: Asked,
}

/// The way from a request to the head of its response.
pub(crate) struct RequestFuture {
    work: Work,
    /// The answer, if it was there before the future was polled.
    ahead: Poll<Response>,
    /// Its parts move into the response body.
    request: Option<InFlight>,
    /// Over HTTP/2.
    turn: Option<Turn>,
    /// Its number on the connection, counted from 1.
    number: u64,
    is_first: bool,
    closes_when_moving: bool,
    /// The client may wait for a `100 Continue` before it sends the body.
    expects_continue: bool,
}

impl RequestFuture {
    /// Whether the client is to hear that this is the connection's last response.
    fn is_last(&self, request: &InFlight, status: StatusCode) -> bool {
        if leaves_http(request.asked.is_connect(), status) {
            return false;
        }
        match request.info.context.drain.phase() {
            Phase::Serving => self.makes_room(request),
            // Never promise a close and keep the connection: one that can move will move.
            Phase::HandingOver | Phase::SuccessorFull => {
                request.exchange.activity().answers_in_restart();
                let is_late = || Instant::now() >= request.info.context.spread.end();
                self.closes_when_moving && (self.is_newest(request) || is_late())
            }
            Phase::Stopping => self.is_newest(request),
            Phase::ClosingIdle | Phase::Cutting => true,
        }
    }

    /// The same, and notes it. Over HTTP/2 the connection's task says GOAWAY, and notes that.
    fn tells_to_close(&self, request: &InFlight, status: StatusCode) -> bool {
        let is_last = self.is_last(request, status);
        if is_last && !request.asked.is_http2() {
            request.info.context.ends.note(ConnectionEnd::ToldToClose);
        }
        is_last
    }

    /// Whether no other request has come after it, which would be lost if this response were the last. Over HTTP/2 none
    /// would be.
    fn is_newest(&self, request: &InFlight) -> bool {
        request.asked.is_http2() || request.exchange.activity().inbound().is_newest(self.number)
    }

    /// Whether the connection closes for clients that wait.
    fn makes_room(&self, request: &InFlight) -> bool {
        let recycling = &request.info.context.recycling;
        recycling.is_listing()
            && !request.asked.is_http2()
            && self.is_newest(request)
            && recycling.claims_response(self.is_first)
    }

    /// Whether the request's body is given up: its client waited for a `100 Continue` and got none. It may still send
    /// the body or not, so the next bytes are ambiguous (RFC 9110 section 10.1.1).
    fn forgoes_body(&self, activity: &Activity) -> bool {
        let forgoes = self.expects_continue && activity.inbound().waits_to_send(self.number);
        if forgoes {
            activity.forgo_body();
        }
        forgoes
    }
}

impl Future for RequestFuture {
    type Output = Result<http::Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Taken only below, and a future that has ended is not polled.
        let Some(request) = &this.request else { return Poll::Pending };
        let context = &request.info.context;
        if let Some(turn) = &mut this.turn
            && this.work.is_running()
            && ready!(turn.poll_begin(cx))
        {
            // The handler had to wait for its client: its time begins now.
            this.work.restart_timeout(context);
        }
        let mut response = match std::mem::replace(&mut this.ahead, Poll::Pending) {
            Poll::Ready(response) => response,
            Poll::Pending => ready!(this.work.poll(context, &request.asked, cx)),
        };
        let Some(request) = this.request.take() else { return Poll::Pending };
        let mut cause = this.work.cause();
        let activity = request.exchange.activity();
        // A malformed body makes the request invalid, whatever the handler answered.
        if let Some(refusal) = activity.inbound().refused_body(this.number) {
            cause = Cause::Refused(refusal);
            response = answer::own(cause);
            activity.give_up_body();
        }
        // The first two have side effects, so both run, whatever the other returns. The last comes last: it makes
        // room for others only if the connection would stay.
        let gives_up_body = request.exchange.answer();
        let forgoes_body = this.forgoes_body(activity);
        let is_last = gives_up_body || forgoes_body || this.tells_to_close(&request, response.status());
        let outgoing = this.turn.take().map(|turn| Box::new(turn.answer()));
        let is_connect = request.asked.is_connect();
        let InFlight { exchange, info, asked } = request;
        let (mut head, body) = response.into_parts();
        let content = answer::finish(info, asked, cause, is_last, &mut head, body);
        let activity = exchange.activity();
        if activity.inbound().answer(this.number, leaves_http(is_connect, head.status)) {
            activity.forget_half_close();
            cx.waker().wake_by_ref();
        }
        let body = ResponseBody { content, exchange, outgoing, is_broken: false };
        Poll::Ready(Ok(http::Response::from_parts(head, body)))
    }
}

impl Drop for RequestFuture {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let context = &request.info.context;
            self.work.settle(context, &request.asked, Cause::Handler);
            if let Poll::Ready(response) = std::mem::replace(&mut self.ahead, Poll::Pending) {
                let_go(context, &request.asked, "its response", response);
            }
        }
    }
}

/// A response body; the exchange ends with it.
pub(crate) struct ResponseBody {
    content: Content,
    exchange: Exchange,
    /// HTTP/2 only. Boxed: hyper moves a response many times, and this is large.
    outgoing: Option<Box<Outgoing>>,
    /// HTTP/1 only: it has failed.
    is_broken: bool,
}

impl hyper::body::Body for ResponseBody {
    type Data = Piece;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let this = &mut *self;
        if let Some(outgoing) = &mut this.outgoing {
            return outgoing.poll_frame(&mut this.content, cx);
        }
        if this.is_broken {
            return Poll::Pending;
        }
        let polled = ready!(Pin::new(&mut this.content).poll_frame(cx));
        if matches!(polled, Some(Err(_))) {
            // The error stays here: hyper would drop what it has not written yet, perhaps the response before. The
            // connection's task ends the connection once that is written.
            this.is_broken = true;
            let open_ended = this.content.is_open_ended();
            this.exchange.breaks_off(open_ended);
            return Poll::Pending;
        }
        Poll::Ready(polled.map(|frame| frame.map(|frame| frame.map_data(Piece::whole))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.outgoing {
            Some(outgoing) => outgoing.is_end_stream(&self.content),
            None => self.content.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
