//! A handler at work, which may panic at any time and may take too long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::time::Sleep;

use crate::conn::cause::Cause;
use crate::conn::context::Context;
use crate::conn::exchange::answer::{own, tell};
use crate::error::panic_message;
use crate::log;
use crate::server::{Asked, Instead, Request, Response, ResponseFuture, Surroundings};

/// The work on a response.
pub(crate) enum Work {
    Running {
        response: ResponseFuture,
        timeout: Option<Pin<Box<Sleep>>>,
    },
    /// It is over, or was never begun: the server itself answers where the handler does not.
    Settled(Cause),
}

impl Work {
    /// Calls the handler, or the service.
    pub(crate) fn begin(
        context: &Context,
        asked: &Asked,
        request: Request,
        surroundings: Surroundings<'_>,
    ) -> Self {
        match catch_unwind(AssertUnwindSafe(|| context.dispatch.call(request, surroundings))) {
            Ok(response) => {
                let timeout = context.options.request_timeout;
                Self::Running { response, timeout: timeout.map(|limit| Box::pin(tokio::time::sleep(limit))) }
            }
            Err(panic) => {
                tell(context, asked, format_args!("its handler panicked: {}", panic_message(&*panic)));
                Self::Settled(Cause::HandlerPanicked)
            }
        }
    }

    /// Where the answer comes from: the handler, unless another cause is settled.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Running { .. } => Cause::Handler,
            Self::Settled(cause) => *cause,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// Starts its time-out again.
    pub(crate) fn restart_timeout(&mut self, context: &Context) {
        if let Self::Running { timeout, .. } = self
            && let Some(limit) = context.options.request_timeout
        {
            *timeout = Some(Box::pin(tokio::time::sleep(limit)));
        }
    }

    /// One handler's panic fails one request: neither the others of its connection nor the drain.
    pub(crate) fn poll(
        &mut self,
        context: &Context,
        asked: &Asked,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Response> {
        let (response, timeout) = match self {
            Self::Running { response, timeout } => (response, timeout),
            Self::Settled(cause) => return Poll::Ready(own(*cause)),
        };
        // Written where it stays: a response is large.
        let mut polled = Poll::Pending;
        let outcome = catch_unwind(AssertUnwindSafe(|| polled = response.as_mut().poll(cx)));
        let cause = match (outcome, &mut polled) {
            (Ok(()), Poll::Ready(response)) => cause_of(response),
            (Ok(()), Poll::Pending) => {
                let Some(timeout) = timeout else { return Poll::Pending };
                ready!(timeout.as_mut().poll(cx));
                let (server, limit) = (&context.options.name, context.options.request_timeout);
                log::notice(format_args!(
                    "server `{server}`: {asked}: its handler was dropped after its request_timeout of {:?}",
                    limit.unwrap_or_default(),
                ));
                polled = Poll::Ready(own(Cause::HandlerTimedOut));
                Cause::HandlerTimedOut
            }
            (Err(panic), _) => {
                tell(context, asked, format_args!("its handler panicked: {}", panic_message(&*panic)));
                polled = Poll::Ready(own(Cause::HandlerPanicked));
                Cause::HandlerPanicked
            }
        };
        self.settle(context, asked, cause);
        polled
    }

    /// Drops the handler, which may panic.
    pub(crate) fn settle(&mut self, context: &Context, asked: &Asked, cause: Cause) {
        if self.is_running() {
            let work = std::mem::replace(self, Self::Settled(cause));
            let_go(context, asked, "its handler", work);
        }
    }
}

/// Drops a value of the application, and logs it if that panics.
pub(crate) fn let_go<T>(context: &Context, asked: &Asked, what: &str, value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        let panic = panic_message(&*panic);
        tell(context, asked, format_args!("{what} panicked when it was dropped: {panic}"));
    }
}

/// What gave a response. Most responses have no extensions to look through.
fn cause_of(response: &mut Response) -> Cause {
    let extensions = response.extensions_mut();
    if extensions.is_empty() {
        return Cause::Handler;
    }
    match extensions.remove::<Instead>() {
        None => Cause::Handler,
        Some(Instead::NoRoute) => Cause::NoRoute,
        Some(Instead::ServiceFailed) => Cause::ServiceFailed,
    }
}
