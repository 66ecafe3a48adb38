//! The task of an HTTP/1 connection: what it decides between hyper's turns.
//!
//! After each turn it takes one step. The first row that applies decides:
//!
//! | what is found | what follows |
//! | --- | --- |
//! | hyper is done | [`End::Finished`] |
//! | a response broke off, and the part before the break has gone out | [`End::Broken`] |
//! | the connection is idle, and the next request is refused | [`End::Refused`] |
//! | the connection is idle, and its client has closed its side | [`End::Finished`] |
//! | the rest of a request body was read out or given up | another turn |
//! | since the last look it has only answered whole requests, and the next look is near | sleep |
//! | the client is gone | [`End::Gone`] |
//! | the connection is idle, or the process leaves | see the table of phases |
//! | it has waited too long for its client | [`End::TimedOut`] |
//! | it is chosen to make room for clients that wait | [`End::MakeRoom`] |
//! | it can't move to the successor, and its time to close has come | [`End::Close`] |
//! | it would sleep, and its reads have left no waker so far | another turn, with reads that leave one |
//! | anything else | sleep until the next look |
//!
//! What the phase of the process means for an idle connection:
//!
//! | phase | without a byte of the next request | with half a head |
//! | --- | --- | --- |
//! | `Serving`, `SuccessorFull`, `Stopping` | [`End::Rest`] after its answer or after a while, if it may | goes on |
//! | `HandingOver`, with a successor | [`End::Rest`], if it may | [`End::Rest`], if it may |
//! | `HandingOver`, once the successor is gone | goes on | goes on |
//! | `ClosingIdle` | [`End::Close`] | goes on |
//! | `Cutting` | [`End::Cut`], and so for a busy one | [`End::Cut`] |

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::time::{Instant, Sleep};

use crate::conn::PATIENCE;
use crate::conn::cause::Refusal;
use crate::conn::close::LITTLE;
use crate::conn::context::Context;
use crate::conn::http1::activity::{Activity, Discard};
use crate::conn::http1::limits::{Limits, Waiting};
use crate::conn::panics::poll_contained;
use crate::conn::recycling::{Candidate, Doing, Reason};
use crate::conn::visit::CutBy;
use crate::ledger::{Entry, Mark};
use crate::lifecycle::{ConnectionEnd, CutReason, Phase, Stamp};
use crate::socket::Stage;
use crate::sys::{Presence, Probe};

/// Why the loop of a connection's task ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// HTTP says that the connection is done; hyper has closed our side.
    Finished,
    /// A response broke off.
    Broken,
    /// It is between two requests, everything is flushed, and it may rest or move.
    Rest,
    /// The bytes after the last request are refused; all earlier requests are answered.
    Refused(Refusal),
    /// It has no whole request, and its server is draining.
    Close,
    /// It closes to make room for clients that wait.
    MakeRoom,
    /// It waited too long.
    TimedOut(Waiting),
    /// The client is gone, and nothing can be said to it.
    Gone,
    /// The drain's deadline has come.
    Cut,
}

impl End {
    /// How a connection ends that does not rest. `is_told`: the client was told that it closes. `is_interrupted`: an
    /// answer to a request is missing or not whole.
    pub(super) fn of_connection(&self, is_told: bool, is_interrupted: bool) -> ConnectionEnd {
        let reason = match self {
            Self::Finished | Self::Broken | Self::Gone if is_told => return ConnectionEnd::ToldToClose,
            Self::Cut if is_told && !is_interrupted => return ConnectionEnd::ToldToClose,
            Self::Cut => CutReason::Deadline,
            Self::Close => CutReason::Idle,
            Self::MakeRoom => CutReason::FullServer,
            // Its client has closed its side.
            Self::TimedOut(Waiting::Answer | Waiting::RestOfAnswer) => return ConnectionEnd::Finished,
            Self::TimedOut(_) => CutReason::TimedOut,
            Self::Finished | Self::Broken | Self::Rest | Self::Refused(_) | Self::Gone => {
                return ConnectionEnd::Finished;
            }
        };
        ConnectionEnd::Cut(reason)
    }
}

impl End {
    /// What ends the request that is in flight. `is_answering`: nothing can be said to its client any more.
    pub(super) fn cuts_by(&self, is_answering: bool) -> CutBy {
        match self {
            Self::Cut => CutBy::Deadline,
            Self::TimedOut(Waiting::Answer | Waiting::RestOfAnswer) => CutBy::Client,
            Self::TimedOut(Waiting::Head | Waiting::Body) if !is_answering => CutBy::RequestTimeout,
            Self::TimedOut(_) => CutBy::Timeout,
            Self::Finished
            | Self::Broken
            | Self::Rest
            | Self::Refused(_)
            | Self::Close
            | Self::MakeRoom
            | Self::Gone => CutBy::Client,
        }
    }
}

/// When a connection may rest: be parked, or handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Never,
    /// Only to be handed over.
    ToMove,
    /// Once it has been idle for a while.
    WhenIdle,
    /// After its response, without waiting for the next request. Its reads leave no waker until it has to wait.
    AtOnce,
}

/// What the task does after a turn of hyper.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It gives hyper another turn.
    Turn,
    /// It sleeps until it is woken.
    Sleep,
    End(End),
}

/// Turns `poll` (hyper's connection) until something ends it. Marks in its `entry` whether it is idle.
pub(super) async fn drive(
    context: &Context,
    activity: &Activity,
    limits: &mut Limits,
    probe: Probe,
    rest: Rest,
    entry: Option<Entry>,
    mut poll: impl FnMut(&mut TaskContext<'_>) -> Poll<hyper::Result<()>>,
) -> End {
    let timer = pin!(tokio::time::sleep_until(limits.idle_since() + PATIENCE));
    let changed = pin!(context.drain.changed());
    let mut drive = Drive {
        context,
        activity,
        limits,
        probe,
        rest,
        candidate: Candidate::new(context, rest == Rest::Never),
        alarm: Alarm { timer, look: PATIENCE, is_set: false },
        changed,
        seen: None,
        was_in_flight: false,
    };
    poll_fn(|cx| {
        loop {
            // Before hyper can read. Only a connection that could go back to the predecessor has an entry.
            if let Some(entry) = &entry {
                entry.set(Mark::Busy);
            }
            // The last turn of a response may find the phase changed.
            drive.was_in_flight = !activity.is_between_requests();
            // After a failure no client is left to answer: hyper has sent what it could.
            if poll_contained(context, || poll(cx)).is_ready() {
                return Poll::Ready(End::Finished);
            }
            let step = drive.step(cx);
            // One that sleeps or rests reads nothing more.
            if let Some(entry) = &entry
                && matches!(step, Step::Sleep | Step::End(End::Rest))
                && activity.owes_nothing()
            {
                entry.set(Mark::Idle);
            }
            match step {
                Step::Turn => {}
                Step::Sleep => return Poll::Pending,
                Step::End(end) => return Poll::Ready(end),
            }
        }
    })
    .await
}

/// The decisions of one connection's task.
struct Drive<'a, 'c> {
    context: &'c Context,
    activity: &'a Activity,
    limits: &'a mut Limits,
    probe: Probe,
    rest: Rest,
    candidate: Candidate<'c>,
    alarm: Alarm<'a>,
    changed: Pin<&'a mut Notified<'c>>,
    seen: Option<Stamp>,
    /// A request was in flight when this turn began.
    was_in_flight: bool,
}

impl Drive<'_, '_> {
    /// hyper has had a turn. The task is woken when another step may be due.
    fn step(&mut self, cx: &mut TaskContext<'_>) -> Step {
        if let Some(end) = self.ended() {
            return Step::End(end);
        }
        if self.activity.poll_discard(cx) == Discard::Ended {
            return Step::Turn;
        }
        let phase = self.phase(cx);
        if self.look_is_near() && phase == Phase::Serving && self.limits.only_answered(self.activity) {
            return Step::Sleep;
        }
        let now = Instant::now();
        let end = self
            .look(now)
            .or_else(|| self.end_by_phase(phase, now))
            .or_else(|| self.end_by_limit(now))
            .or_else(|| self.end_for_others(phase, cx));
        match end {
            Some(end) => Step::End(end),
            None => self.sleep(phase, now, cx),
        }
    }

    /// The phase of the process. The task is woken when it changes.
    fn phase(&mut self, cx: &mut TaskContext<'_>) -> Phase {
        let before = self.seen;
        let phase = self.context.drain.poll_phase(self.changed.as_mut(), &mut self.seen, cx);
        if self.seen != before {
            let is_in_flight = self.was_in_flight || !self.activity.is_between_requests();
            self.activity.note_phase(phase, is_in_flight);
        }
        phase
    }

    /// Whether the exchange of requests and responses has come to an end.
    fn ended(&self) -> Option<End> {
        let activity = self.activity;
        if activity.is_broken() && !activity.traffic().is_unflushed() {
            return Some(End::Broken);
        }
        if !activity.is_idle() {
            return None;
        }
        match activity.inbound().refused_request() {
            Some(refusal) => Some(End::Refused(refusal)),
            None => activity.is_half_closed().then_some(End::Finished),
        }
    }

    /// Whether the next look comes soon, so that everything due can wait for it. A connection that should rest at once
    /// can't wait: its task has to check whether it may rest.
    fn look_is_near(&self) -> bool {
        self.rest == Rest::WhenIdle && self.alarm.is_pending()
    }

    /// Takes note of what the connection does, and looks at a client at which hyper does not look now.
    fn look(&mut self, now: Instant) -> Option<End> {
        self.limits.observe(self.activity, now);
        if self.limits.next_look(self.activity).is_some_and(|at| now >= at) {
            if self.limits.waiting() == Waiting::Write {
                self.limits.note_download(self.probe.unacknowledged(), self.activity, now);
            } else {
                let presence = self.probe.presence();
                self.limits.note_half_closed(presence == Presence::HalfClosed, now);
                if presence == Presence::Gone {
                    return Some(End::Gone);
                }
            }
            self.limits.observe(self.activity, now);
        }
        None
    }

    fn end_by_phase(&mut self, phase: Phase, now: Instant) -> Option<End> {
        let is_idle = self.activity.is_idle();
        let is_waiting = self.limits.waiting() == Waiting::Request;
        match phase {
            Phase::Cutting => Some(End::Cut),
            // With half a head, too: what was read travels along.
            // Without a successor it would come back at once where the kernel can't watch it for the parking lot. The next
            // phase is about to begin.
            Phase::HandingOver => {
                let may_move = is_idle && self.rest != Rest::Never && self.context.has_successor();
                may_move.then_some(End::Rest)
            }
            Phase::ClosingIdle => (is_idle && is_waiting).then_some(End::Close),
            Phase::Serving | Phase::SuccessorFull | Phase::Stopping => {
                (is_idle && is_waiting && self.is_to_rest(now)).then_some(End::Rest)
            }
        }
    }

    /// Whether an idle connection has been awake for long enough to rest, or has answered and rests at once. While much
    /// of the last response lies in the kernel, it has not: a parked connection has only the limit of an idle one, and
    /// its close leaves those bytes in the kernel.
    fn is_to_rest(&mut self, now: Instant) -> bool {
        let has_waited = now >= self.limits.idle_since() + PATIENCE;
        let rests = match self.rest {
            Rest::Never | Rest::ToMove => return false,
            Rest::AtOnce => has_waited || self.activity.traffic().begun() > 0,
            Rest::WhenIdle => has_waited,
        };
        let still_takes = rests && self.has_much_untaken();
        if still_takes {
            self.limits.put_off_rest(now);
        }
        rests && !still_takes
    }

    /// Whether the client has yet to take much. Most connections have written little since the kernel was last asked.
    fn has_much_untaken(&mut self) -> bool {
        if self.limits.untaken(self.activity).at_most() <= LITTLE {
            return false;
        }
        let untaken = self.probe.unacknowledged();
        self.limits.note_counted(untaken, self.activity);
        untaken > LITTLE
    }

    fn end_by_limit(&self, now: Instant) -> Option<End> {
        let deadline = self.limits.deadline(&self.context.options)?;
        (now >= deadline).then(|| End::TimedOut(self.limits.waiting()))
    }

    fn end_for_others(&mut self, phase: Phase, cx: &TaskContext<'_>) -> Option<End> {
        let (activity, limits) = (self.activity, &*self.limits);
        match self.candidate.reason_to_close(phase, cx, || doing(activity, limits))? {
            Reason::FullServer => Some(End::MakeRoom),
            Reason::Restart => Some(End::Close),
        }
    }

    /// Sleeps until the first of all looks that are due.
    fn sleep(&mut self, phase: Phase, now: Instant, cx: &mut TaskContext<'_>) -> Step {
        if self.activity.is_to_wait() {
            return Step::Turn;
        }
        let limits = &*self.limits;
        self.alarm.note_found(now < limits.idle_since() + PATIENCE / 2);
        let may_rest = matches!(self.rest, Rest::WhenIdle | Rest::AtOnce) && phase < Phase::ClosingIdle;
        let rest_at =
            (may_rest && limits.waiting() == Waiting::Request).then(|| limits.idle_since() + self.alarm.look);
        let looks_at = [
            rest_at,
            self.candidate.look_at(),
            limits.next_look(self.activity),
            limits.deadline(&self.context.options),
        ];
        match self.alarm.poll(looks_at.into_iter().flatten().min(), cx) {
            Poll::Ready(()) => Step::Turn,
            Poll::Pending => Step::Sleep,
        }
    }
}

/// What the connection does. This decides whether it could make room for others.
fn doing(activity: &Activity, limits: &Limits) -> Doing {
    match (limits.waiting(), limits.stage()) {
        (Waiting::Head, _) | (Waiting::Request, Stage::Fresh) => Doing::New(limits.since()),
        (Waiting::Request, Stage::Idle) if activity.is_idle() => Doing::Idle(limits.idle_since()),
        _ => Doing::Busy,
    }
}

/// The longest time between two looks at a connection that each look finds busy.
const LONGEST_LOOK: Duration = PATIENCE.saturating_mul(8);

/// Wakes the task for its next look.
///
/// It is one timer. It is set again only after it has fired, or if something is due earlier: a busy connection touches
/// it a few times a second, not once a request. Firing may wake a thread that has nothing else to do, so the timer of a
/// busy connection fires less and less often.
struct Alarm<'a> {
    timer: Pin<&'a mut Sleep>,
    /// The time from the connection's last request to the next look.
    look: Duration,
    /// It will wake the task.
    is_set: bool,
}

impl Alarm<'_> {
    fn is_pending(&self) -> bool {
        self.is_set && !self.timer.is_elapsed()
    }

    /// The connection was looked at, and found busy or not.
    fn note_found(&mut self, is_busy: bool) {
        if is_busy && self.timer.is_elapsed() {
            self.look = (self.look * 2).min(LONGEST_LOOK);
        }
    }

    /// Makes the alarm fire at `at` or earlier. Ready when it has fired.
    fn poll(&mut self, at: Option<Instant>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if let Some(at) = at
            && (at < self.timer.deadline() || self.timer.is_elapsed())
        {
            self.timer.as_mut().reset(at);
        }
        if !self.timer.is_elapsed() && self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.is_set = true;
        Poll::Pending
    }
}
