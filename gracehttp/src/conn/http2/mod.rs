//! An HTTP/2 connection. It is never parked and never moves: it ends as the protocol provides.

mod credit;
mod discard;
mod drive;
mod exchange;
mod frames;
mod inspection;
mod interim;
mod known_host;
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
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use hyper_util::rt::TokioIo;

use crate::conn::close::{Linger, close, close_now_with, close_with, has_much_untaken, reset};
use crate::conn::context::Context;
use crate::conn::exchange::ConnectionService;
use crate::conn::http2::drive::{Drive, End, Step};
use crate::conn::http2::inspection::Inspection;
use crate::conn::http2::room::Shares;
use crate::conn::http2::streams::Streams;
use crate::conn::http2::task::StreamTasks;
use crate::conn::info::ConnectionInfo;
use crate::conn::panics::poll_contained;
use crate::conn::transport::{Transport, return_on_drop};
use crate::conn::visit::CutBy;
use crate::lifecycle::{ConnectionEnd, CutReason, CutWhile};
use crate::server::Permit;
use crate::socket::Stream;
use crate::sys::Probe;

/// Serves a connection until it ends.
pub(super) async fn serve(context: Arc<Context>, stream: Stream, ahead: Bytes, mut permit: Permit) {
    permit.is_seen();
    let shares = Shares::of(&context.options);
    let streams = Arc::new(Streams::new(shares).over_tls(stream.is_secure()));
    let info = Arc::new(ConnectionInfo::new(context.clone(), &stream, true));
    let probe = Probe::of(stream.socket());
    let inspection = Inspection::new(ahead, streams.clone());
    let (transport, back) = return_on_drop(Transport::new(stream, inspection, permit, context.metrics));
    let service = ConnectionService::new(streams.clone(), info.clone());
    let builder = settings::builder(&context.options, shares, StreamTasks::new(streams.clone()));
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(transport), service));
    let mut drive = Drive::new(&context, &streams, probe);
    let end = poll_fn(|cx| {
        ready!(drive.poll_start(cx));
        loop {
            if poll_contained(&context, || connection.as_mut().poll(cx)).is_ready() {
                return Poll::Ready(End::Finished);
            }
            match drive.step(cx) {
                Step::Turn => {}
                Step::ShutDown => connection.as_mut().graceful_shutdown(),
                Step::Sleep => return Poll::Pending,
                Step::End(end) => return Poll::Ready(end),
            }
        }
    })
    .await;
    let is_answered =
        streams.traffic().open() == 0 && streams.count() == 0 && !streams.traffic().is_unflushed();
    info.note_cut_by(end.cuts_by());
    drop(connection);
    context.answers.count_unseen(streams.unseen());
    (0..streams.unseen()).for_each(|_| info.log_unread("protocol_error", None));
    let ends_as = end.of_connection(drive.is_leaving(), is_answered);
    if ends_as == ConnectionEnd::Cut(CutReason::Deadline) {
        info.note_cut(CutWhile::Streams, drive.opened_at());
    }
    let Ok(transport) = back.await else { return };
    // In the middle of a frame of ours no other frame can be sent.
    let closing_frames = end.closing_frames(streams.last_stream()).filter(|_| transport.is_flushed());
    let (stream, _, mut permit) = transport.into_parts();
    permit.note_end(ends_as);
    let still_takes = has_much_untaken(&stream);
    let is_useless = end == End::TooSlow || (end == End::Cut && !is_answered);
    match closing_frames {
        _ if still_takes && is_useless => reset(stream),
        Some(closing_frames) if end == End::Unused => {
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

impl End {
    /// How the connection ends. `is_announced`: the client was sent GOAWAY. `is_answered`: all its requests are.
    fn of_connection(self, is_announced: bool, is_answered: bool) -> ConnectionEnd {
        match self {
            Self::Finished if is_announced => ConnectionEnd::ToldToClose,
            Self::Unused => ConnectionEnd::ToldToClose,
            Self::Unheard if is_answered => ConnectionEnd::ToldToClose,
            // It is sent GOAWAY now.
            Self::Cut if is_answered => ConnectionEnd::ToldToClose,
            Self::Cut => ConnectionEnd::Cut(CutReason::Deadline),
            Self::TooSlow | Self::Unheard => ConnectionEnd::Cut(CutReason::TimedOut),
            Self::Finished | Self::Refused(_) => ConnectionEnd::Finished,
        }
    }

    /// What ends the requests that are in flight.
    fn cuts_by(self) -> CutBy {
        match self {
            Self::Cut => CutBy::Deadline,
            Self::TooSlow | Self::Unheard => CutBy::Timeout,
            Self::Finished | Self::Unused | Self::Refused(_) => CutBy::Client,
        }
    }

    /// GOAWAY (RFC 9113 section 6.8), with the code for this end (section 7).
    fn closing_frames(self, last_stream: u32) -> Option<[u8; 17]> {
        let code = match self {
            Self::Finished => return None,
            Self::Cut | Self::TooSlow | Self::Unheard | Self::Unused => 0,
            Self::Refused(code) => code,
        };
        let mut frame = [0; 17];
        frame[..9].copy_from_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0]);
        frame[9..13].copy_from_slice(&last_stream.to_be_bytes());
        frame[16] = code;
        Some(frame)
    }
}
