//! The task of a connection: hyper's turns, and between them the questions of time, rest and resting.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::conn::PATIENCE;
use crate::conn::close::LITTLE;
use crate::conn::context::Context;
use crate::conn::exchange::answer::Refusal;
use crate::conn::http1::activity::{Activity, Discard};
use crate::conn::http1::limits::{Limits, Waiting};
use crate::conn::panics::poll_contained;
use crate::conn::recycling::{Candidate, Doing, Reason};
use crate::lifecycle::{ConnectionEnd, CutReason, Phase};
use crate::socket::Stage;
use crate::sys::{Presence, Probe};

/// Why a connection's task stopped turning.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// HTTP says that the connection is done; hyper has closed our side.
    Finished,
    /// A response broke off.
    Broken,
    /// It is between two requests, everything is flushed, and it may rest or move.
    Rest,
    /// What follows the last request is refused; all that came before it is answered.
    Refused(Refusal),
    /// It has no whole request, and its server is going.
    Close,
    /// It is to be closed for clients that wait.
    MakeRoom,
    /// It waited too long.
    TimedOut(Waiting),
    /// The client is gone, and nothing can be said to it.
    Gone,
    /// The drain's deadline has come.
    Cut,
}

impl End {
    /// How the connection ends, if that is not its client's will.
    pub(super) fn of_connection(&self) -> Option<ConnectionEnd> {
        let reason = match self {
            Self::Cut => CutReason::Deadline,
            Self::Close => CutReason::Idle,
            Self::MakeRoom => CutReason::FullServer,
            Self::TimedOut(_) => CutReason::TimedOut,
            Self::Finished | Self::Broken | Self::Rest | Self::Refused(_) | Self::Gone => return None,
        };
        Some(ConnectionEnd::Cut(reason))
    }
}

/// What a connection may do besides serving.
#[derive(Clone, Copy, Debug)]
pub(super) struct May {
    /// Be parked and handed over.
    pub(super) rest: bool,
    /// Rest after each response, without waiting for the next request.
    pub(super) rest_at_once: bool,
}

/// How long a connection that is busy whenever it is looked at goes without another look.
const LONGEST_LOOK: Duration = PATIENCE.saturating_mul(8);

/// Turns `poll` (hyper's connection) until something ends it.
pub(super) async fn drive(
    context: &Context,
    activity: &Activity,
    limits: &mut Limits,
    probe: Probe,
    may: May,
    mut poll: impl FnMut(&mut TaskContext<'_>) -> Poll<hyper::Result<()>>,
) -> End {
    // One timer, set anew only when it fires or when something is due before it: a busy connection
    // touches it a few times a second, not once a request. When it fires, a thread may be woken for nothing
    // else, so it fires ever more rarely on a connection that is found busy.
    let mut look = PATIENCE;
    let mut due = Instant::now() + look;
    let mut timer = pin!(tokio::time::sleep_until(due));
    let mut is_timed = false;
    let mut seen = None;
    let mut changed = pin!(context.drain.changed());
    let mut candidate = Candidate::new(context, !may.rest);

    poll_fn(|cx| {
        loop {
            // After a failure no client is left to answer: hyper has sent what it could.
            if poll_contained(context, || poll(cx)).is_ready() {
                return Poll::Ready(End::Finished);
            }
            // Only once the part before the break has gone out.
            if activity.is_broken() && !activity.traffic().is_unflushed() {
                return Poll::Ready(End::Broken);
            }
            if activity.is_idle()
                && let Some(refusal) = activity.inbound().refused_request()
            {
                return Poll::Ready(End::Refused(refusal));
            }
            if activity.is_half_closed() && activity.is_idle() {
                return Poll::Ready(End::Finished);
            }
            if activity.poll_discard(cx) == Discard::Ended {
                continue;
            }

            let phase = context.drain.poll_phase(changed.as_mut(), &mut seen, cx);
            // The next look at a connection that may rest is near: whatever is due can wait for it. One that is
            // to rest at once has to come to the question whether it may.
            let look_is_set = is_timed && may.rest && !may.rest_at_once && !timer.is_elapsed();
            if look_is_set && phase == Phase::Serving && limits.only_answered(activity) {
                return Poll::Pending;
            }
            let now = Instant::now();
            limits.observe(activity, now);
            if limits.next_look(activity).is_some_and(|at| now >= at) {
                if look_at_client(activity, limits, probe, now) == Presence::Gone {
                    return Poll::Ready(End::Gone);
                }
                limits.observe(activity, now);
            }
            if let Some(end) = due_end(context, activity, limits, probe, may, phase, now) {
                return Poll::Ready(end);
            }

            match candidate.reason_to_close(phase, cx, || doing(activity, limits)) {
                Some(Reason::FullServer) => return Poll::Ready(End::MakeRoom),
                Some(Reason::Restart) => return Poll::Ready(End::Close),
                None => {}
            }

            if timer.is_elapsed() && now < limits.idle_since() + PATIENCE / 2 {
                look = (look * 2).min(LONGEST_LOOK);
            }
            let rest_at = (may.rest && limits.waiting() == Waiting::Request)
                .then(|| limits.idle_since() + look)
                .filter(|_| phase < Phase::ClosingIdle);
            let looks_at =
                [candidate.look_at(), limits.next_look(activity), limits.deadline(&context.options)];
            let wanted = rest_at.into_iter().chain(looks_at.into_iter().flatten()).min();
            if let Some(wanted) = wanted
                && (wanted < due || timer.is_elapsed())
            {
                due = wanted;
                timer.as_mut().reset(due);
            }
            if !timer.is_elapsed() && timer.as_mut().poll(cx).is_ready() {
                continue;
            }
            is_timed = true;
            return Poll::Pending;
        }
    })
    .await
}

fn due_end(
    context: &Context,
    activity: &Activity,
    limits: &mut Limits,
    probe: Probe,
    may: May,
    phase: Phase,
    now: Instant,
) -> Option<End> {
    if phase == Phase::Cutting {
        return Some(End::Cut);
    }
    if activity.is_idle() {
        let waits_for_request = limits.waiting() == Waiting::Request;
        match phase {
            // With half a head, too: what was read travels along.
            Phase::HandingOver if may.rest => return Some(End::Rest),
            Phase::ClosingIdle if waits_for_request => return Some(End::Close),
            Phase::Serving | Phase::SuccessorFull | Phase::Stopping
                if may.rest && waits_for_request && has_waited(activity, limits, may, now) =>
            {
                if !still_takes(probe, may) {
                    return Some(End::Rest);
                }
                limits.put_off_rest(now);
            }
            _ => {}
        }
    }
    let deadline = limits.deadline(&context.options)?;
    (now >= deadline).then(|| End::TimedOut(limits.waiting()))
}

/// What the connection does: whether it could make room for others depends on it.
fn doing(activity: &Activity, limits: &Limits) -> Doing {
    match (limits.waiting(), limits.stage()) {
        (Waiting::Head, _) | (Waiting::Request, Stage::Fresh) => Doing::New(limits.since()),
        (Waiting::Request, Stage::Idle) if activity.is_idle() => Doing::Idle(limits.idle_since()),
        _ => Doing::Busy,
    }
}

/// Whether an idle connection has been awake for long enough.
fn has_waited(activity: &Activity, limits: &Limits, may: May, now: Instant) -> bool {
    let has_answered = activity.traffic().begun() > 0;
    (may.rest_at_once && has_answered) || now >= limits.idle_since() + PATIENCE
}

/// Looks at a client at which hyper does not look now.
fn look_at_client(activity: &Activity, limits: &mut Limits, probe: Probe, now: Instant) -> Presence {
    if limits.waiting() == Waiting::Write {
        limits.note_untaken(probe.unacknowledged(), activity, now);
        return Presence::There;
    }
    let presence = probe.presence();
    limits.note_half_closed(presence == Presence::HalfClosed, now);
    presence
}

/// Whether much of the last response still lies in the kernel. Parked, the connection would have only the limit of an
/// idle one, and its close leaves those bytes in the kernel.
fn still_takes(probe: Probe, may: May) -> bool {
    !may.rest_at_once && probe.unacknowledged() > LITTLE
}
