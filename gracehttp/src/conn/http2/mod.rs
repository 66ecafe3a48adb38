//! An HTTP/2 connection. It is never parked and never moves: it ends as the protocol provides.

mod credit;
mod discard;
mod frames;
mod inspection;
mod interim;
mod outbound;
mod progress;
mod request;
mod response;
mod room;
mod settings;
mod streams;
mod task;
mod turn;
mod watch;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

pub(super) use discard::discard;
pub(super) use progress::Progress;
pub(super) use response::{Outgoing, Piece};
pub(super) use streams::{Body, Streams};
pub(super) use turn::Turn;

use crate::conn::activity::Activity;
use crate::conn::close::{Linger, close, close_now_with, close_with, has_much_untaken, reset};
use crate::conn::context::Context;
use crate::conn::exchange::ConnectionService;
use crate::conn::http2::inspection::Inspection;
use crate::conn::http2::room::Shares;
use crate::conn::http2::task::StreamTasks;
use crate::conn::http2::watch::{LOOK, Verdict, Watch};
use crate::conn::info::ConnectionInfo;
use crate::conn::panics::poll_contained;
use crate::conn::recycling::{Candidate, Reason};
use crate::conn::transport::{Transport, return_on_drop};
use crate::conn::wire::Wire;
use crate::lifecycle::{ConnectionEnd, CutReason, Phase};
use crate::server::Permit;
use crate::sys::Probe;

/// How long after the first GOAWAY a client may still send requests that it had begun by then.
const ROOM: Duration = Duration::from_millis(500);

/// Serves a connection until it ends. In a drain it sends GOAWAY in two steps (RFC 9113 section 6.8): first that it
/// is going, later which stream was the last. Every stream up to that one is answered.
///
/// hyper's own first step brings a PING, whose answer begins the second one. Some clients, hyper's own among them,
/// answer that PING before they send the requests that they have already accepted, and these would be refused. So we
/// take the first step some time before hyper does.
pub(super) async fn serve<T: Wire>(context: Arc<Context>, stream: T, ahead: Bytes, mut permit: Permit) {
    permit.is_seen();
    let activity = Arc::new(Activity::default());
    let shares = Shares::of(&context.options);
    let streams = Arc::new(Streams::new(shares));
    let info = Arc::new(ConnectionInfo { is_new: true, peer: stream.peer(), context: context.clone() });
    let probe = Probe::of(stream.socket());
    let inspection = Inspection::new(activity.clone(), ahead, streams.clone());
    let (transport, back) = return_on_drop(Transport::new(stream, inspection, permit));
    let service = ConnectionService::new(activity.clone(), info, false).of_streams(streams.clone());
    let builder = settings::builder(&context.options, shares, StreamTasks::new(streams.clone()));
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(transport), service));

    let mut announced = false;
    let mut room = pin!(tokio::time::sleep(ROOM));
    let mut watch = Watch::new(&activity, probe);
    let mut look = tokio::time::interval(LOOK);
    let mut seen = None;
    let mut changed = pin!(context.drain.changed());
    let mut candidate = Candidate::new(&context, true);
    let end = poll_fn(|cx| {
        loop {
            if poll_contained(&context, || connection.as_mut().poll(cx)).is_ready() {
                return Poll::Ready(End::Finished);
            }
            if let Some(code) = streams.fault() {
                return Poll::Ready(End::Refused(code));
            }
            if streams.settle(cx.waker()) {
                continue;
            }
            let phase = context.drain.poll_phase(changed.as_mut(), &mut seen, cx);
            let looked = look.poll_tick(cx).is_ready();
            let verdict =
                if looked { watch.look(&activity, &streams, &context.options) } else { Verdict::Stay };
            if phase == Phase::Cutting {
                return Poll::Ready(End::Cut);
            }
            if verdict == Verdict::Cut {
                return Poll::Ready(End::TooSlow);
            }
            let reason = candidate.reason_to_close(phase, cx, || watch.doing(&activity, &streams));
            let is_unused = phase < Phase::Stopping && activity.begun() == 0 && streams.count() == 0;
            if let Some(reason) = reason.filter(|_| is_unused) {
                return Poll::Ready(End::Unused(reason));
            }
            let leaves = phase >= Phase::Stopping || reason.is_some() || verdict == Verdict::Leave;
            if leaves && !announced {
                announced = true;
                activity.announce_end();
                room.as_mut().reset(Instant::now() + ROOM);
                continue;
            }
            let had_room = announced && (phase >= Phase::ClosingIdle || room.as_mut().poll(cx).is_ready());
            if had_room && watch.leave(&activity) {
                connection.as_mut().graceful_shutdown();
            } else if !looked {
                return Poll::Pending;
            }
        }
    })
    .await;
    let is_answered = activity.open() == 0 && streams.count() == 0 && !activity.is_unflushed();
    drop(connection);
    context.answers.count_unseen(streams.unseen());
    if let Some(end) = end.of_connection(announced) {
        context.ends.note(end);
    }
    let Ok(transport) = back.await else { return };
    // In the middle of a frame of ours no other frame can be sent.
    let closing_frames = end.closing_frames(streams.last_stream()).filter(|_| transport.is_flushed());
    let (stream, _, _permit) = transport.into_parts();
    let still_takes = has_much_untaken(&stream);
    let is_useless = end == End::TooSlow || (end == End::Cut && !is_answered);
    match closing_frames {
        _ if still_takes && is_useless => reset(stream),
        Some(closing_frames) if end == End::Unused(Reason::FullServer) => {
            close_now_with(stream, &closing_frames).await;
        }
        // There might be no room for them behind what its client has yet to take.
        Some(closing_frames) if !still_takes => {
            close_with(&context, stream, &closing_frames, Linger::BRIEF).await;
        }
        // A client that reads still sends, if only WINDOW_UPDATE: a reset in answer to that would destroy what it
        // has not read yet.
        _ => close(&context, stream, Linger::BRIEF).await,
    }
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// h2 has sent all that there is to send.
    Finished,
    /// The drain's deadline has come.
    Cut,
    /// Its client was too slow.
    TooSlow,
    /// It is closed before its client has sent a request.
    Unused(Reason),
    /// Its client broke a rule, which ends the connection with this code.
    Refused(u8),
}

impl End {
    /// How the connection ends, if that is not its client's will. `is_announced`: it was told with GOAWAY.
    fn of_connection(self, is_announced: bool) -> Option<ConnectionEnd> {
        match self {
            Self::Finished => is_announced.then_some(ConnectionEnd::ToldToClose),
            Self::Unused(_) => Some(ConnectionEnd::ToldToClose),
            Self::Cut => Some(ConnectionEnd::Cut(CutReason::Deadline)),
            Self::TooSlow => Some(ConnectionEnd::Cut(CutReason::TimedOut)),
            Self::Refused(_) => None,
        }
    }

    /// GOAWAY (RFC 9113 section 6.8), with the code for this end (section 7).
    fn closing_frames(self, last_stream: u32) -> Option<[u8; 17]> {
        let code = match self {
            Self::Finished => return None,
            Self::Cut | Self::TooSlow | Self::Unused(_) => 0,
            Self::Refused(code) => code,
        };
        let mut frame = [0; 17];
        frame[..9].copy_from_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0]);
        frame[9..13].copy_from_slice(&last_stream.to_be_bytes());
        frame[16] = code;
        Some(frame)
    }
}
