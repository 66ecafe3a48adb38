//! One request and its response, between hyper and the server's service.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use axum_core::body::Body;
use axum_core::extract::DefaultBodyLimit;
use http::{Method, StatusCode};
use http_body::Body as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;

use crate::conn::activity::{Activity, Exchange};
use crate::conn::answer::{self, Cause, Content, Work};
use crate::conn::awaiting::{Piece, Upload};
use crate::conn::body::RequestBody;
use crate::conn::context::Context;
use crate::conn::drain::Phase;
use crate::conn::info::ConnectionInfo;
use crate::conn::validate;
use crate::server::{Asked, ResponseFuture};

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
        self.info.introduce(&mut request);
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
        let may_upgrade = asked.asks_upgrade && !asked.is_http2();
        if may_upgrade {
            self.activity.note_upgrade();
        }
        let refusal = validate::refuse(&request, self.context().options.max_body);
        let uploads = asked.is_http2() && !request.body().is_end_stream();
        let upload = uploads.then(|| Arc::new(Upload::new(self.activity.clone())));
        let work = match refusal {
            Some(refusal) => Work::Settled(Cause::Refused(refusal)),
            None => Work::begin(self.context(), &asked, || self.dispatch(request, upload.clone())),
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
            yields_first: may_upgrade,
            asked,
        }
    }
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
}

impl RequestFuture {
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
        let this = &mut *self;
        let (cause, response) = ready!(this.work.poll(&this.info.context, &this.asked, cx));
        if let Some(upload) = &self.upload {
            upload.is_answered();
        }
        let is_last = self.is_last(response.status());
        let (exchange, is_http2) = (self.exchange.take(), self.asked.is_http2());
        let asked = std::mem::replace(&mut self.asked, Asked::UNREAD);
        let response = answer::finish(&self.info, asked, cause, is_last, response);
        Poll::Ready(Ok(response.map(|content| ResponseBody {
            content,
            exchange,
            is_http2,
            is_broken: false,
        })))
    }
}

impl Drop for RequestFuture {
    fn drop(&mut self) {
        self.work.let_go(&self.info.context, &self.asked);
    }
}

/// A response body; the exchange ends with it.
pub(crate) struct ResponseBody {
    content: Content,
    exchange: Option<Exchange>,
    is_http2: bool,
    /// It has failed, over HTTP/1.
    is_broken: bool,
}

impl hyper::body::Body for ResponseBody {
    type Data = Piece;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        if self.is_broken {
            return Poll::Pending;
        }
        let polled = ready!(Pin::new(&mut self.content).poll_frame(cx));
        if !self.is_http2 && matches!(polled, Some(Err(_))) {
            // Told of the error, hyper would drop what it has not written yet, which may be the response before.
            // The connection's task ends it once that is written.
            self.is_broken = true;
            self.exchange.iter().for_each(Exchange::breaks_off);
            return Poll::Pending;
        }
        let exchange = self.exchange.as_ref().filter(|_| self.is_http2);
        let piece = |bytes| Piece::new(bytes, exchange.map(Exchange::await_client));
        Poll::Ready(polled.map(|frame| frame.map(|frame| frame.map_data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
