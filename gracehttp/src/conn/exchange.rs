//! One request and its response, between hyper and the server's service.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use axum_core::body::Body;
use axum_core::extract::DefaultBodyLimit;
use http::{Method, StatusCode};
use http_body::Body as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;
use tokio::time::Sleep;

use crate::conn::activity::{Activity, Exchange};
use crate::conn::answer::{self, Cause, Refusal};
use crate::conn::awaiting::{Piece, Upload};
use crate::conn::body::RequestBody;
use crate::conn::context::Context;
use crate::conn::drain::Phase;
use crate::conn::info::ConnectionInfo;
use crate::conn::validate;
use crate::log;
use crate::server::{Asked, Response, ResponseFuture};

/// The service of one connection, as hyper calls it.
pub(crate) struct ConnectionService {
    activity: Arc<Activity>,
    info: Arc<ConnectionInfo>,
    /// Whether the connection can go to a successor instead of being closed.
    can_move: bool,
}

impl ConnectionService {
    pub(crate) fn new(activity: Arc<Activity>, info: Arc<ConnectionInfo>, can_move: bool) -> Self {
        Self { activity, info, can_move }
    }

    fn context(&self) -> &Context {
        &self.info.context
    }

    /// Gives the request its surroundings and calls the server's service.
    fn dispatch(&self, mut request: http::Request<Incoming>, upload: Option<Arc<Upload>>) -> ResponseFuture {
        request.extensions_mut().insert(self.info.clone());
        if request.body().is_end_stream() {
            return self.context().dispatch.call(request.map(|_| Body::empty()));
        }
        let max_body = self.context().options.max_body;
        let activity = self.activity.clone();
        let mut request =
            request.map(|incoming| Body::new(RequestBody::new(incoming, max_body, activity, upload)));
        // The extractors that buffer a body answer 413 themselves, at the server's limit, not at axum's.
        DefaultBodyLimit::max(usize::try_from(max_body).unwrap_or(usize::MAX)).apply(&mut request);
        self.context().dispatch.call(request)
    }
}

impl Service<http::Request<Incoming>> for ConnectionService {
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = RequestFuture;

    fn call(&self, request: http::Request<Incoming>) -> RequestFuture {
        let exchange = Exchange::begin(&self.activity);
        let asked = Asked::of(&request);
        let asks_upgrade = request.extensions().get::<OnUpgrade>().is_some();
        if asks_upgrade && !asked.is_http2() {
            self.activity.note_upgrade();
        }
        let refusal = validate::refuse(&request, self.context().options.max_body);
        let uploads = asked.is_http2() && !request.body().is_end_stream();
        let upload = uploads.then(|| Arc::new(Upload::new(self.activity.clone())));
        let work = match refusal {
            Some(refusal) => Work::Refused(refusal),
            None => Work::Running(self.dispatch(request, upload.clone())),
        };
        RequestFuture {
            work,
            exchange: Some(exchange),
            upload,
            info: self.info.clone(),
            // One that has asked once stays with hyper, which would not give it back, whatever the answer was.
            closes_when_moving: !self.can_move || self.activity.wants_upgrade(),
            // The connection's task gets the word before hyper can finish the exchange: only it can make
            // the connection one that upgrades.
            yields_first: asks_upgrade && !asked.is_http2(),
            asked,
            timeout: self.context().options.request_timeout.map(|limit| Box::pin(tokio::time::sleep(limit))),
        }
    }
}

enum Work {
    Running(ResponseFuture),
    Refused(Refusal),
}

/// The way from a request to the head of its response.
pub(crate) struct RequestFuture {
    work: Work,
    /// Moves into the response body, with which the exchange ends.
    exchange: Option<Exchange>,
    /// The request's body, over HTTP/2.
    upload: Option<Arc<Upload>>,
    /// Not the server's context itself: its count is changed by all threads at once.
    info: Arc<ConnectionInfo>,
    asked: Asked,
    closes_when_moving: bool,
    yields_first: bool,
    timeout: Option<Pin<Box<Sleep>>>,
}

impl RequestFuture {
    fn poll_response(&mut self, cx: &mut TaskContext<'_>) -> Poll<(Cause, Response)> {
        let running = match &mut self.work {
            Work::Running(running) => running,
            Work::Refused(refusal) => return Poll::Ready(own(Cause::Refused(*refusal))),
        };
        // One handler's panic is one failed request: neither its connection's others nor the drain.
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
            Ok(Poll::Ready(response)) => return Poll::Ready((Cause::Handler, response)),
            Ok(Poll::Pending) => {}
            Err(panic) => {
                log::error(format_args!(
                    "server `{}`: {}: its handler panicked: {}",
                    self.info.context.options.name,
                    self.asked,
                    crate::error::panic_message(&*panic)
                ));
                return Poll::Ready(own(Cause::HandlerPanicked));
            }
        }
        if let Some(timeout) = &mut self.timeout {
            ready!(timeout.as_mut().poll(cx));
            return Poll::Ready(own(Cause::HandlerTimedOut));
        }
        Poll::Pending
    }

    /// Whether the client is to hear that this is the connection's last response.
    fn is_last(&self, status: StatusCode) -> bool {
        let leaves_http = status == StatusCode::SWITCHING_PROTOCOLS
            || (self.asked.is(&Method::CONNECT) && status.is_success());
        let closes = match self.info.context.drain.phase() {
            Phase::Serving => false,
            // Never promise a close and keep the connection: one that can move will move.
            Phase::HandingOver | Phase::SuccessorFull => self.closes_when_moving,
            Phase::Stopping | Phase::ClosingIdle | Phase::Cutting => true,
        };
        closes && !leaves_http
    }
}

impl Future for RequestFuture {
    type Output = Result<http::Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.yields_first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (cause, mut response) = ready!(self.poll_response(cx));
        if let Some(upload) = &self.upload {
            upload.is_answered();
        }
        // A CONNECT has no path that could be unknown: nobody here knows the method.
        if self.asked.is(&Method::CONNECT) && response.status() == StatusCode::NOT_FOUND {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
        let is_last = self.is_last(response.status());
        let response = answer::finish(&self.info, &self.asked, cause, is_last, response);
        let (exchange, is_http2) = (self.exchange.take(), self.asked.is_http2());
        Poll::Ready(Ok(response.map(|body| ResponseBody { body, exchange, is_http2 })))
    }
}

fn own(cause: Cause) -> (Cause, Response) {
    (cause, answer::own(cause))
}

/// A response body; the exchange ends with it.
pub(crate) struct ResponseBody {
    body: Body,
    exchange: Option<Exchange>,
    is_http2: bool,
}

impl hyper::body::Body for ResponseBody {
    type Data = Piece;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let exchange = self.exchange.as_ref().filter(|_| self.is_http2);
        polled.map_ok(|frame| frame.map_data(|bytes| Piece::new(bytes, exchange.map(Exchange::await_client))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
