//! When a request is begun.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use http_body::Body;

use crate::conn::answer::{Reason, Refusal};
use crate::conn::http2::progress::Progress;
use crate::conn::http2::request;
use crate::conn::http2::response::Outgoing;
use crate::conn::http2::room::HeadHold;
use crate::server::ServerOptions;

/// A request's turn among the others of its connection, from its coming to its answer.
#[derive(Debug)]
pub(crate) struct Turn {
    progress: Arc<Progress>,
    head: Option<HeadHold>,
    has_begun: bool,
}

impl Turn {
    pub(crate) fn new(progress: Arc<Progress>) -> Self {
        Self { progress, head: None, has_begun: false }
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Gives the request the form that handlers know, or says why none is to see it.
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
        request::complete(request, size, options)
    }

    /// Resolves once the request may be begun: whether it had to wait for that.
    pub(crate) fn poll_begin(&mut self, cx: &Context<'_>) -> Poll<bool> {
        if self.has_begun {
            return Poll::Ready(false);
        }
        let had_to_wait = self.progress.streams().room.is_full();
        ready!(self.progress.poll_enter(cx));
        self.has_begun = true;
        Poll::Ready(had_to_wait)
    }

    /// The request is answered, and the body of the response goes its way.
    pub(crate) fn answer(self) -> Outgoing {
        self.progress.is_answered();
        Outgoing::new(self.progress)
    }
}
