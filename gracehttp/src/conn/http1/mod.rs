//! An HTTP/1 connection while it is awake.

mod activity;
mod drive;
mod exchange;
mod inbound;
mod intake;
mod limits;
#[cfg(test)]
mod mark_tests;
pub(super) mod strict;

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot::Receiver;

use crate::conn::cause::Cause;
use crate::conn::close::{LITTLE, Linger, close, close_now, close_now_with, close_with, cut, reset};
use crate::conn::context::Context;
use crate::conn::exchange::ConnectionService;
use crate::conn::exchange::answer::{closing_response, note_refused_by_hyper};
use crate::conn::http1::activity::Activity;
use crate::conn::http1::drive::{End, Rest, drive};
use crate::conn::http1::intake::Intake;
use crate::conn::http1::limits::{Limits, Waiting};
use crate::conn::http1::strict::Bounds;
use crate::conn::info::ConnectionInfo;
use crate::conn::limits::STALLED;
use crate::conn::transport::{Transport, return_on_drop};
use crate::conn::{Ahead, Pace};
use crate::lifecycle::{ConnectionEnd, CutReason, start};
use crate::server::{Asked, Permit};
use crate::socket::{Stage, Stream, Unread};
use crate::sys::Probe;

/// What is left of a connection when its task ends.
pub(super) enum Left {
    /// It is closed, or a handler has it.
    Nothing,
    /// It is to rest. `has_answered`: a request was in flight in the restart that is under way, and it has answered it.
    AtRest { idle: Idle, has_answered: bool },
    /// It was about to close when its next request came.
    Busy(Idle),
}

/// A connection between two requests.
pub(super) struct Idle {
    pub(super) stream: Stream,
    /// What was read of its next request.
    pub(super) ahead: Bytes,
    pub(super) stage: Stage,
    pub(super) permit: Permit,
}

/// Serves a connection until it ends or is to rest.
pub(super) async fn serve(
    context: Arc<Context>,
    stream: Stream,
    ahead: Ahead,
    stage: Stage,
    pace: Pace,
    mut permit: Permit,
) -> Left {
    permit.is_seen();
    let mut limits = Limits::new(stage, ahead.since, stream.untaken());
    let info = Arc::new(ConnectionInfo::new(context.clone(), &stream, stage == Stage::Fresh));
    let can_rest = stream.can_rest() && context.can_move_with(&ahead.bytes) && !info.stays_behind();
    let activity = Arc::new(Activity::new(can_rest));
    let entry = context.moved.entry(stream.origin());
    let rest = match can_rest {
        // Only an idle connection can go back to the predecessor: not a moment is lost until it is told of one.
        true if context.moved.is_reported(stream.origin()) => Rest::AtOnce,
        true => match pace {
            Pace::Rare => Rest::AtOnce,
            Pace::Busy => Rest::WhenIdle,
            Pace::Awake => Rest::ToMove,
        },
        false => Rest::Never,
    };
    if rest == Rest::AtOnce {
        activity.defer_waiting();
    }
    let probe = Probe::of(stream.socket());
    let bounds = Bounds::new(&context.options, stream.is_secure());
    let intake = Intake::new(activity.clone(), bounds, ahead);
    let transport = Transport::new(stream, intake, permit, context.metrics);
    let (transport, mut back) = return_on_drop(transport);
    let service = ConnectionService::new(activity.clone(), info.clone());
    // hyper gives an upgraded connection to the handler that asked for it. Any other returns when hyper drops it.
    let connection = context.http1.serve_connection(TokioIo::new(transport), service).with_upgrades();
    // hyper has closed our side of the connection.
    let mut is_shut_down = false;
    let end = {
        let mut connection = pin!(connection);
        let poll = |cx: &mut TaskContext<'_>| {
            activity.note_task(cx.waker());
            let polled = connection.as_mut().poll(cx);
            match &polled {
                Poll::Ready(Ok(())) => is_shut_down = true,
                Poll::Ready(Err(error)) => note_refused_by_hyper(&info, error),
                Poll::Pending => {}
            }
            polled
        };
        let end = drive(&context, &activity, &mut limits, probe, rest, entry, poll).await;
        info.note_cut_by(end.cuts_by(limits.is_answering(&activity)));
        end
    };
    let Ok(mut transport) = back.try_recv() else {
        // The stream, with its permit, is the handler's.
        start(close_after_upgrade(context, info, back));
        return Left::Nothing;
    };

    if end == End::Finished {
        finish_writing(&mut transport).await;
    }
    let (mut stream, ahead, mut permit) = transport.into_parts();
    stream.note_untaken(limits.untaken(&activity));
    let linger = match activity.has_given_up_body() {
        true => Linger::for_upload(&context.options),
        false if context.recycling.is_listing() => Linger::HURRIED,
        false => Linger::BRIEF,
    };
    // Its next request may just have come.
    let goes_on = matches!(end, End::MakeRoom | End::Close | End::TimedOut(Waiting::Request))
        && limits.waiting() != Waiting::Head
        && Unread::of(stream.socket()) == Unread::Bytes;
    if goes_on {
        return Left::Busy(Idle { stream, ahead, stage: limits.stage(), permit });
    }
    if end == End::Rest {
        let has_answered = activity.has_answered_in_restart();
        let idle = Idle { stream, ahead, stage: limits.stage(), permit };
        return Left::AtRest { idle, has_answered };
    }
    let is_interrupted = info.is_interrupted() || activity.traffic().is_unflushed();
    let ends_as = end.of_connection(activity.is_told_to_close(), is_interrupted);
    permit.note_end(ends_as);
    if ends_as == ConnectionEnd::Cut(CutReason::Deadline) {
        let doing = limits.waiting().when_cut(activity.is_answering());
        info.note_cut(doing, limits.since());
    }
    match end {
        End::Refused(refusal) => {
            let words = closing_response(&info, &Asked::UNREAD, Cause::Refused(refusal));
            close_with(&context, stream, &words, Linger::for_upload(&context.options)).await;
        }
        End::MakeRoom if limits.waiting() == Waiting::Head => {
            close_now_with(stream, &closing_response(&info, &Asked::UNREAD, Cause::RequestTimedOut)).await;
        }
        End::Close if limits.waiting() == Waiting::Head => {
            let words = closing_response(&info, &Asked::UNREAD, Cause::RequestTimedOut);
            close_with(&context, stream, &words, linger).await;
        }
        End::MakeRoom => close_now(stream).await,
        End::TimedOut(Waiting::Head | Waiting::Body) if !limits.is_answering(&activity) => {
            let words = closing_response(&info, &Asked::UNREAD, Cause::RequestTimedOut);
            close_with(&context, stream, &words, linger).await;
        }
        End::Broken | End::Cut | End::TimedOut(_) if activity.ends_unnoticed() => reset(stream),
        End::TimedOut(Waiting::Write) => reset(stream),
        End::Cut if activity.traffic().open() > 0 || activity.traffic().is_unflushed() => {
            cut(&context, stream).await;
        }
        End::Finished if is_shut_down && needs_no_wait(&activity, &stream, &ahead) => drop(stream),
        // No client is left to answer. Its handler was dropped with hyper's connection.
        End::Gone | End::Rest => drop(stream),
        End::Finished | End::Broken | End::Close | End::Cut | End::TimedOut(_) => {
            close(&context, stream, linger).await;
        }
    }
    Left::Nothing
}

/// Whether a connection can be closed without waiting for its client, which has said that it sends no more: it has got
/// its answer, the kernel holds no unread byte, which would make the close a reset, and not so much of the answer that
/// the client could be slower than a client may be.
///
/// Over TLS the client sends its own close_notify, for which the connection waits.
fn needs_no_wait(activity: &Activity, stream: &Stream, ahead: &Bytes) -> bool {
    !stream.is_secure()
        && activity.has_answered_all()
        && activity.traffic().bytes_out() <= LITTLE
        && ahead.is_empty()
        && Unread::of(stream.socket()) != Unread::Bytes
}

/// Sends the bytes that hyper has left in the transport, and stops if the client does not take them.
async fn finish_writing(transport: &mut Transport<Intake>) {
    let mut flush = pin!(transport.flush_gathered());
    // Nearly always all of them fit into the socket: then no timer is needed.
    if poll_fn(|cx| Poll::Ready(flush.as_mut().poll(cx).is_ready())).await {
        return;
    }
    let _ = tokio::time::timeout(STALLED, flush).await;
}

/// Awaits the end of what has come of an upgraded connection. Its handler may just have let it go, and another
/// process may hold a duplicate, which would keep the connection open.
async fn close_after_upgrade(
    context: Arc<Context>,
    info: Arc<ConnectionInfo>,
    back: Receiver<Box<Transport<Intake>>>,
) {
    let back = {
        let _open = context.upgraded.enter(info);
        back.await
    };
    if let Ok(mut transport) = back {
        finish_writing(&mut transport).await;
        let (stream, _, mut permit) = transport.into_parts();
        permit.note_end(ConnectionEnd::Upgraded);
        close(&context, stream, Linger::BRIEF).await;
    }
}
