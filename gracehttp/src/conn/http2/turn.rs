//! When a request begins.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use http_body::Body;

use crate::conn::cause::{Reason, Refusal};
use crate::conn::http2::progress::Progress;
use crate::conn::http2::request;
use crate::conn::http2::room::HeadHold;
use crate::server::ServerOptions;

/// A request's turn among the others of its connection, from its arrival to its answer.
#[derive(Debug)]
pub(crate) struct Turn {
    progress: Arc<Progress>,
    head: Option<HeadHold>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Arrived,
    /// There was no room for its response.
    Waits,
    Begun,
}

impl Turn {
    pub(crate) fn new(progress: Arc<Progress>) -> Self {
        Self { progress, head: None, state: State::Arrived }
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Gives the request the form that handlers know, or returns why no handler may see it.
    pub(crate) fn check<B: Body>(
        &mut self,
        request: &mut Request<B>,
        options: &ServerOptions,
    ) -> Result<(), Refusal> {
        let (size, fields) = (request::head_size(request), request.headers().len());
        self.head = self.progress.streams().room.hold_head(size, fields);
        if self.head.is_none() {
            return Err(Refusal::new(
                Reason::HeadTooLarge,
                "the heads of its connection are over max_conn_memory",
            ));
        }
        let streams = self.progress.streams();
        request::complete(request, size, options, &streams.host, streams.are_secure)
    }

    /// Resolves once the request may begin; true, once, if it had to wait.
    pub(crate) fn poll_begin(&mut self, cx: &Context<'_>) -> Poll<bool> {
        if self.state == State::Begun {
            return Poll::Ready(false);
        }
        if self.progress.poll_enter(cx).is_pending() {
            self.state = State::Waits;
            return Poll::Pending;
        }
        Poll::Ready(std::mem::replace(&mut self.state, State::Begun) == State::Waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::http2::room::Shares;
    use crate::conn::http2::streams::{Body, Streams};
    use std::task::Waker;

    #[test]
    fn a_request_that_waited_for_room_says_so_when_it_begins() {
        let streams = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test"))));
        let cx = Context::from_waker(Waker::noop());
        let turn = || Turn::new(streams.begin(Body::None));
        assert_eq!(turn().poll_begin(&cx), Poll::Ready(false));

        let (first, second) = (streams.room.hold(100 << 20), streams.room.hold(100 << 20));
        let mut exception = turn();
        assert_eq!(exception.poll_begin(&cx), Poll::Ready(false), "one at a time goes on without room");
        let mut waiting = turn();
        assert_eq!(waiting.poll_begin(&cx), Poll::Pending);
        drop((first, second));
        assert_eq!(waiting.poll_begin(&cx), Poll::Ready(true));
        assert_eq!(waiting.poll_begin(&cx), Poll::Ready(false), "just once");
    }

    /// The tasks of requests begin in any order.
    #[test]
    fn b1_a_request_goes_on_without_room_only_after_all_earlier_ones() {
        let streams = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test"))));
        let cx = Context::from_waker(Waker::noop());
        let turn = || Turn::new(streams.begin(Body::None));
        let _full = (streams.room.hold(100 << 20), streams.room.hold(100 << 20));
        let (mut first, refused, mut third) = (turn(), turn(), turn());
        assert_eq!(third.poll_begin(&cx), Poll::Pending, "the first has yet to ask");
        assert_eq!(first.poll_begin(&cx), Poll::Ready(false));
        drop(first);
        assert_eq!(third.poll_begin(&cx), Poll::Pending, "the second is neither asked nor answered");
        refused.progress().is_answered();
        drop(refused);
        assert_eq!(third.poll_begin(&cx), Poll::Ready(true));
    }
}
