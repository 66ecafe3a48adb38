//! HTTP/1's part in an exchange: when a response is the connection's last, how the rest of a request body is skipped,
//! and how a response breaks off.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker, ready};

use axum_core::Error;
use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, StatusCode, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::conn::cause::Refusal;
use crate::conn::exchange::answer::{Content, Sending};
use crate::conn::exchange::{self, Delivery, Fate, Protocol, expects_continue, leaves_http};
use crate::conn::http1::activity::{Activity, Rest};
use crate::conn::info::ConnectionInfo;
use crate::conn::traffic::{CountedBy, Traffic};
use crate::lifecycle::Phase;
use crate::server::{Asked, ServerOptions};

impl Protocol for Activity {
    type Body = Incoming;
    type Turn = Turn;

    /// All of it belongs to hyper's connection, which the connection's task owns.
    const COUNTED_BY: CountedBy = CountedBy::OneTask;

    fn traffic(&self) -> &Traffic {
        Activity::traffic(self)
    }

    fn task(&self) -> Option<&Waker> {
        Activity::task(self)
    }

    fn turn(self: &Arc<Self>, request: &Request<Incoming>, number: u64, _: &Asked, has_body: bool) -> Turn {
        self.note_answering(false);
        // Later requests need not be looked at: it is clients of a single request that open many connections.
        if number == 1 && asks_to_close(request) {
            self.note_asked_once();
        }
        let expects_continue = has_body && expects_continue(request.headers());
        Turn { number, expects_continue }
    }
}

/// A request until its response begins.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Its number on the connection, counted from 1.
    number: u64,
    /// The client may wait for a `100 Continue` before it sends the body.
    expects_continue: bool,
}

impl exchange::Turn<Activity> for Turn {
    type Upload = Upload;
    type Delivery = Outgoing;

    /// Nothing is left to refuse: the strict reader has done it.
    fn check(&mut self, request: &mut Request<Incoming>, _: &ServerOptions) -> Result<(), Refusal> {
        overrule_host(request);
        Ok(())
    }

    fn upload(&self, activity: &Arc<Activity>, _: &ServerOptions) -> Upload {
        activity.body_begins();
        Upload { activity: activity.clone(), request: self.number }
    }

    fn refuse_body(&self, activity: &Activity) -> Option<Refusal> {
        let refusal = activity.inbound().refused_body(self.number)?;
        activity.give_up_body();
        Some(refusal)
    }

    fn respond(
        &mut self,
        activity: &Activity,
        info: &ConnectionInfo,
        asked: &Asked,
        status: StatusCode,
    ) -> bool {
        activity.note_answering(true);
        if leaves_http(asked.is_connect(), status) {
            info.note_left_by(asked);
        }
        let gives_up_body = activity.has_given_up_body();
        // `forgoes_body` has a side effect, so it always runs. Room for others comes last: it is made only if the
        // connection would otherwise stay.
        let forgoes_body = self.forgoes_body(activity);
        gives_up_body || forgoes_body || self.tells_to_close(activity, info, asked, status)
    }

    fn deliver(&mut self, activity: &Activity, leaves_http: bool, cx: &TaskContext<'_>) -> Outgoing {
        if activity.inbound().answer(self.number, leaves_http) {
            activity.forget_half_close();
            cx.waker().wake_by_ref();
        }
        Outgoing { is_broken: false }
    }
}

impl Turn {
    /// Whether the head has to say that this is the connection's last response.
    fn is_last(&self, activity: &Activity, info: &ConnectionInfo, asked: &Asked, status: StatusCode) -> bool {
        if leaves_http(asked.is_connect(), status) {
            return false;
        }
        match info.context.drain.phase() {
            Phase::Serving => {
                // A TLS connection may have come from a predecessor whose server still spoke HTTP/1.
                let is_outdated = !info.context.options.http1;
                let ends = is_outdated || activity.traffic().is_nearly_worn_out();
                (ends && self.is_newest(activity)) || self.makes_room(activity, info)
            }
            // Never promise a close and keep the connection: one that can move will move.
            Phase::HandingOver | Phase::SuccessorFull => {
                activity.answers_in_restart();
                let is_late = || Instant::now() >= info.context.spread.end();
                let stays = !activity.can_move() || info.stays_behind();
                stays && (self.is_newest(activity) || is_late())
            }
            Phase::Stopping => self.is_newest(activity),
            Phase::ClosingIdle => activity.ends_with(self.number),
            Phase::Cutting => true,
        }
    }

    /// Whether the head has to say that this is the connection's last response. If so, the connection notes that.
    fn tells_to_close(
        &self,
        activity: &Activity,
        info: &ConnectionInfo,
        asked: &Asked,
        status: StatusCode,
    ) -> bool {
        let is_last = self.is_last(activity, info, asked, status);
        if is_last {
            activity.tell_to_close();
        }
        is_last
    }

    /// Whether no other request has come after it, which would be lost if this response were the last.
    fn is_newest(&self, activity: &Activity) -> bool {
        activity.inbound().is_newest(self.number)
    }

    /// Whether the connection closes for clients that wait.
    fn makes_room(&self, activity: &Activity, info: &ConnectionInfo) -> bool {
        let recycling = &info.context.recycling;
        let is_first = info.is_new && self.number == 1;
        recycling.is_listing() && self.is_newest(activity) && recycling.claims_response(is_first)
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

/// Whether a client sends no other request after this one (RFC 9112 section 9.3).
fn asks_to_close<B>(request: &Request<B>) -> bool {
    let mut options = request
        .headers()
        .get_all(CONNECTION)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii));
    match request.version() {
        Version::HTTP_11 => options.any(|option| option.eq_ignore_ascii_case(b"close")),
        _ => !options.any(|option| option.eq_ignore_ascii_case(b"keep-alive")),
    }
}

/// The authority of a target in absolute form overrules Host (RFC 9112 section 3.2.2).
fn overrule_host<B>(request: &mut Request<B>) {
    let uri = request.uri();
    let (Some(_), Some(authority)) = (uri.scheme(), uri.authority()) else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(HOST, host);
    }
}

/// The body of one request.
#[derive(Debug)]
pub(crate) struct Upload {
    activity: Arc<Activity>,
    request: u64,
}

impl exchange::Upload<Incoming> for Upload {
    fn poll_fate(&self, cx: &TaskContext<'_>) -> Fate {
        match self.activity.poll_rest(self.request, cx) {
            Rest::Open => Fate::Open,
            // hyper does not pass on trailers that come after the response.
            Rest::Received => Fate::Whole,
            Rest::CutShort => Fate::Lost(CutShort.into()),
        }
    }

    /// hyper passes on one chunk a turn, however many it has.
    fn is_at_hand(&self, received: u64) -> bool {
        self.activity.inbound().has_body_beyond(self.request, received)
    }

    fn pass(&self, piece: Bytes) -> Bytes {
        piece
    }

    fn end(&self, is_whole: bool) {
        if is_whole {
            self.activity.body_ends();
        }
    }

    /// The connection has to skip the rest to reach its next request. Over the limit it ends after the response.
    fn leave(&self, rest: Incoming, allowed: Option<u64>) {
        match allowed {
            Some(allowed) => self.activity.leave_body(rest, allowed),
            None => self.activity.give_up_body(),
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

/// The way of a response body to hyper.
#[derive(Debug)]
pub(crate) struct Outgoing {
    is_broken: bool,
}

impl Delivery<Activity> for Outgoing {
    type Piece = Bytes;

    fn poll_frame(
        &mut self,
        content: &mut Sending<'_>,
        activity: &Activity,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.is_broken {
            return Poll::Pending;
        }
        if content.is_open_ended() {
            activity.note_open_ended();
        }
        let polled = ready!(Pin::new(&mut *content).poll_frame(cx));
        if matches!(polled, Some(Err(_))) {
            // The error stays here: hyper would drop what it has not written yet, perhaps the response before. The
            // connection's task ends the connection once that is written.
            self.is_broken = true;
            activity.break_off();
            return Poll::Pending;
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self, content: &Content) -> bool {
        content.is_end_stream()
    }
}
