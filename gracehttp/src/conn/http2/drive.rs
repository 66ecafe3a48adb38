//! The task of an HTTP/2 connection: what it decides between h2's turns.
//!
//! In a drain it sends GOAWAY in two steps (RFC 9113 section 6.8): first that it is going, later which stream was the
//! last. Every stream up to that one is answered.
//!
//! hyper's own first step brings a PING, whose answer begins the second one. Some clients, hyper's own among them,
//! answer that PING before they send the requests that they have already accepted, and these would be refused. So we
//! take the first step some time before hyper does.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::time::{Instant, Sleep};

use crate::conn::context::Context;
use crate::conn::http2::streams::Streams;
use crate::conn::http2::watch::{LOOK, Verdict, Watch};
use crate::conn::recycling::{Candidate, Reason};
use crate::lifecycle::{Phase, Stamp};
use crate::sys::Probe;

/// How long after the first GOAWAY a client may still send requests that it had begun by then.
const ROOM: Duration = Duration::from_millis(500);

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// h2 has sent all that there is to send.
    Finished,
    /// The drain's deadline has come.
    Cut,
    /// Its client was too slow.
    TooSlow,
    /// Its client does not answer our GOAWAY.
    Unheard,
    /// It is closed to make room, before its client has sent a request.
    Unused,
    /// Its client broke a rule, which ends the connection with this code.
    Refused(u8),
}

/// What the task does after a turn of h2.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It gives h2 another turn.
    Turn,
    /// It has hyper send the second GOAWAY, and gives h2 another turn.
    ShutDown,
    /// It sleeps until it is woken.
    Sleep,
    End(End),
}

/// How far the closing of a connection has come.
enum Leaving {
    No,
    /// The first GOAWAY was sent, and this is how long its client may still send requests.
    Announced(Pin<Box<Sleep>>),
    /// hyper sends the second one.
    Last,
}

/// When the task looks at its streams: at once, and then once a [`LOOK`].
struct Look {
    timer: Pin<Box<Sleep>>,
    /// It will wake the task.
    is_set: bool,
}

impl Look {
    fn new() -> Self {
        Self { timer: Box::pin(tokio::time::sleep(Duration::ZERO)), is_set: false }
    }

    /// Whether it is time for a look. If not, the task is woken at that time. After a look this has to be asked once more, which
    /// sets the timer for the next one.
    fn is_due(&mut self, cx: &mut TaskContext<'_>) -> bool {
        // Most turns end here: a timer that is set need not be asked.
        if self.is_set && !self.timer.is_elapsed() {
            return false;
        }
        self.is_set = self.timer.as_mut().poll(cx).is_pending();
        if self.is_set {
            return false;
        }
        self.timer.as_mut().reset(Instant::now() + LOOK);
        true
    }

    /// Has the next look come at this time, unless it comes earlier. After this [`is_due`](Self::is_due) has to be asked once
    /// more, if the timer is not set.
    fn bring_forward(&mut self, at: Instant) {
        if at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
            self.is_set = false;
        }
    }
}

/// The decisions of one connection's task.
pub(super) struct Drive<'a> {
    context: &'a Context,
    streams: &'a Streams,
    watch: Watch,
    look: Look,
    candidate: Candidate<'a>,
    leaving: Leaving,
    changed: Pin<Box<Notified<'a>>>,
    seen: Option<Stamp>,
    /// It has put its turn off for the tasks of new streams.
    has_yielded: bool,
}

impl<'a> Drive<'a> {
    pub(super) fn new(context: &'a Context, streams: &'a Streams, probe: Probe) -> Self {
        Self {
            context,
            streams,
            watch: Watch::new(streams.traffic(), probe),
            look: Look::new(),
            candidate: Candidate::announced(context),
            leaving: Leaving::No,
            changed: Box::pin(context.drain.changed()),
            seen: None,
            has_yielded: false,
        }
    }

    /// Ready when the connection's task may begin its turn: after the tasks of new streams, which are queued already, have had
    /// theirs. Otherwise it would write the first response as soon as that is there, and each other response to requests that
    /// have come together would cost a record and a system call of its own.
    pub(super) fn poll_start(&mut self, cx: &TaskContext<'_>) -> Poll<()> {
        self.has_yielded = !self.has_yielded && self.streams.are_starting();
        if self.has_yielded {
            // It is queued behind them. It puts its turn off only once, since one of them may block its thread.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// h2 has had a turn. The task is woken when another step may be due.
    pub(super) fn step(&mut self, cx: &mut TaskContext<'_>) -> Step {
        if let Some(code) = self.streams.fault() {
            return Step::End(End::Refused(code));
        }
        if self.streams.settle(cx.waker()) {
            return Step::Turn;
        }
        let phase = self.context.drain.poll_phase(self.changed.as_mut(), &mut self.seen, cx);
        let looks = self.look.is_due(cx);
        let verdict =
            if looks { self.watch.look(self.streams, &self.context.options) } else { Verdict::Stay };
        if phase == Phase::Cutting {
            return Step::End(End::Cut);
        }
        match verdict {
            Verdict::Cut => return Step::End(End::TooSlow),
            Verdict::Unheard => return Step::End(End::Unheard),
            Verdict::Stay | Verdict::Leave => {}
        }
        let (watch, streams) = (&self.watch, self.streams);
        let reason = self.candidate.reason_to_close(phase, cx, || watch.doing(streams));
        // Connections that were opened together look together, and would all close together.
        if let Some(at) = self.candidate.look_at().filter(|_| reason.is_none()) {
            self.look.bring_forward(at);
        }
        // Clients wait for its permit, so it is closed without the two steps of GOAWAY.
        if reason == Some(Reason::FullServer) && phase < Phase::Stopping && self.is_unused() {
            return Step::End(End::Unused);
        }
        let leaves = phase >= Phase::Stopping
            || reason.is_some()
            || verdict == Verdict::Leave
            || self.streams.traffic().is_nearly_worn_out();
        match self.leave(leaves, phase, cx) {
            // The timer for the next look is set when `is_due` is asked again.
            Step::Sleep if !self.look.is_set => Step::Turn,
            step => step,
        }
    }

    /// Whether the first GOAWAY was sent.
    pub(super) fn is_leaving(&self) -> bool {
        !matches!(self.leaving, Leaving::No)
    }

    /// When the connection was opened.
    pub(super) fn opened_at(&self) -> Instant {
        self.watch.opened_at()
    }

    fn is_unused(&self) -> bool {
        self.streams.traffic().begun() == 0 && self.streams.count() == 0
    }

    /// Takes the next step on the way out, if one is due.
    fn leave(&mut self, leaves: bool, phase: Phase, cx: &mut TaskContext<'_>) -> Step {
        let is_due = match &mut self.leaving {
            Leaving::No => leaves,
            Leaving::Announced(room) => phase >= Phase::ClosingIdle || room.as_mut().poll(cx).is_ready(),
            Leaving::Last => false,
        };
        match self.leaving {
            Leaving::No if is_due => {
                self.streams.announce_end();
                self.leaving = Leaving::Announced(Box::pin(tokio::time::sleep(ROOM)));
                Step::Turn
            }
            Leaving::Announced(_) if is_due => {
                self.watch.leaves(self.streams);
                self.leaving = Leaving::Last;
                Step::ShutDown
            }
            _ => Step::Sleep,
        }
    }
}
