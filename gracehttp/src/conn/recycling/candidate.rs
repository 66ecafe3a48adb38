//! Whether a connection is to close for the sake of others: for clients that wait while the server is full, or in a
//! restart in which it can't move.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::time::{Instant, sleep_until};

use crate::conn::context::Context;
use crate::conn::recycling::{Doing, Listed, SETTLED, Slot};
use crate::lifecycle::{ConnectionEnd, CutReason, Phase};
use crate::server::Permit;

/// Why a connection should close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum Reason {
    /// Clients wait for its permit.
    FullServer,
    /// In a restart, because the connection can't move.
    Restart,
}

impl From<Reason> for CutReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::FullServer => Self::FullServer,
            Reason::Restart => Self::Idle,
        }
    }
}

/// The part of a connection's task that listens for the request to close.
pub(in crate::conn) struct Candidate<'a> {
    context: &'a Context,
    /// It can't move to a successor.
    stays: bool,
    /// A GOAWAY comes before its close, so no request is lost.
    is_announced: bool,
    listed: Option<(usize, Arc<Listed>)>,
    /// Its place among those that close in a restart.
    slot: Option<Slot>,
    look_at: Option<Instant>,
}

impl<'a> Candidate<'a> {
    pub(in crate::conn) fn new(context: &'a Context, stays: bool) -> Self {
        Self { context, stays, is_announced: false, listed: None, slot: None, look_at: None }
    }

    /// One of HTTP/2: it can't move, and GOAWAY announces its close.
    #[cfg(feature = "http2")]
    pub(in crate::conn) fn announced(context: &'a Context) -> Self {
        let mut candidate = Self::new(context, true);
        candidate.is_announced = true;
        candidate
    }

    /// Why the connection is to close now, in order, if it is. The task is woken when that may have changed, except for
    /// the [time](Self::look_at) of a restart, for which it needs a timer.
    pub(in crate::conn) fn reason_to_close(
        &mut self,
        phase: Phase,
        cx: &TaskContext<'_>,
        doing: impl FnOnce() -> Doing,
    ) -> Option<Reason> {
        let stays_behind = self.stays && matches!(phase, Phase::HandingOver | Phase::SuccessorFull);
        let is_listing = self.context.recycling.is_listing();
        if !stays_behind {
            (self.slot, self.look_at) = (None, None);
        }
        if !stays_behind && !is_listing {
            return None;
        }
        let doing = doing();
        if is_listing && self.is_asked(doing, cx) {
            return Some(Reason::FullServer);
        }
        (stays_behind && self.is_behind(doing)).then_some(Reason::Restart)
    }

    /// When to ask again.
    pub(in crate::conn) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    fn is_asked(&mut self, doing: Doing, cx: &TaskContext<'_>) -> bool {
        let recycling = &self.context.recycling;
        let (_, listed) = self.listed.get_or_insert_with(|| recycling.list(doing, cx.waker()));
        recycling.is_asked(listed, doing)
    }

    fn is_behind(&mut self, doing: Doing) -> bool {
        let spread = &self.context.spread;
        let slot = *self.slot.get_or_insert_with(|| spread.slot());
        self.look_at = match doing {
            Doing::Idle(since) => Some(slot.close_at(since)),
            // Its first request may be in transit: it is answered even if it comes after the first GOAWAY.
            Doing::New(since) if self.is_announced => Some(slot.early().max(since + SETTLED)),
            // Its first request may be in transit, and its close can't be announced: it gets all the time there is.
            Doing::New(since) => Some(spread.end().max(since + SETTLED)),
            // It leaves at once: each further stream would have less time than the one before.
            Doing::Multiplexed(_) => return true,
            Doing::Busy => None,
        };
        self.look_at.is_some_and(|at| Instant::now() >= at)
    }
}

impl Drop for Candidate<'_> {
    fn drop(&mut self) {
        if let Some((key, _)) = self.listed {
            self.context.recycling.unlist(key);
        }
    }
}

/// Resolves when a new connection whose protocol is not known yet is to close.
pub(in crate::conn) async fn newcomer_is_to_close(context: &Context, permit: &mut Permit, stays: bool) {
    let since = Instant::now();
    permit.is_seen();
    let mut candidate = Candidate::new(context, stays);
    let (mut changed, mut seen) = (pin!(context.drain.changed()), None);
    // Needed in a restart alone.
    let mut timer = None;
    let reason = poll_fn(|cx| {
        loop {
            let phase = context.drain.poll_phase(changed.as_mut(), &mut seen, cx);
            if let Some(reason) = candidate.reason_to_close(phase, cx, || Doing::New(since)) {
                return Poll::Ready(reason);
            }
            let Some(look_at) = candidate.look_at() else { return Poll::Pending };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(look_at)));
            if timer.deadline() != look_at {
                timer.as_mut().reset(look_at);
            }
            ready!(timer.as_mut().poll(cx));
        }
    })
    .await;
    permit.note_end(ConnectionEnd::Cut(reason.into()));
}
