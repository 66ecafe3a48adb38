//! The PROXY header of a connection: read before TLS, and before a byte of HTTP.
//!
//! A connection owes a header if its peer is one of `proxy_protocol`. One that moves takes along whether it owes a header,
//! or the header itself: the list of the successor may be another one.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, sleep};

use crate::conn::close::close_now;
use crate::conn::context::Context;
use crate::conn::info::name_in_messages;
use crate::conn::recycling::newcomer_is_to_close;
use crate::conn::rest::rest;
use crate::conn::{PATIENCE, Pace};
use crate::lifecycle::{ConnectionEnd, CutReason, Phase};
use crate::log;
use crate::proxy::{Header, Peer};
use crate::server::Permit;
use crate::socket::{BareStream, Stage, Stream};
use crate::sync::Ordering;

/// The first read takes most headers.
const FIRST_READ: usize = 512;

/// How the wait for a header has ended.
pub(super) enum Introduction {
    /// The connection knows its client, and the bytes behind the header remain.
    Read,
    /// No byte came in time: the connection can be parked.
    Quiet,
    /// The process leaves, and the header is not whole.
    PhaseChanged,
    TimedOut,
    /// Something else came, or the end.
    Refused,
}

/// Whether this connection has to begin with a header that was not read yet.
pub(super) fn is_owed(context: &Context, bare: &BareStream) -> bool {
    bare.owes_header(&context.options.proxy_protocol)
}

/// Reads the header of a plain connection that owes one. None if the connection goes another way.
pub(super) async fn of_plain(
    context: &Arc<Context>,
    stream: Stream,
    ahead: Bytes,
    pace: Pace,
    permit: Permit,
) -> Option<(Stream, Bytes, Permit)> {
    match stream {
        Stream::Plain(bare) if is_owed(context, &bare) => {
            // Boxed, since hardly any connection needs the room.
            Box::pin(of_owing(context, bare, ahead, pace, permit)).await
        }
        stream => Some((stream, ahead, permit)),
    }
}

async fn of_owing(
    context: &Arc<Context>,
    mut bare: BareStream,
    ahead: Bytes,
    pace: Pace,
    mut permit: Permit,
) -> Option<(Stream, Bytes, Permit)> {
    let mut seen = BytesMut::from(ahead);
    let outcome = tokio::select! {
        biased;
        outcome = introduce(context, &mut bare, &mut seen, pace) => Some(outcome),
        () = newcomer_is_to_close(context, &mut permit, false) => None,
    };
    let stream = Stream::Plain(bare);
    match outcome {
        Some(Introduction::Read) => return Some((stream, seen.freeze(), permit)),
        Some(Introduction::Quiet | Introduction::PhaseChanged) => {
            rest(context.clone(), stream, seen.freeze(), Stage::Fresh, permit, false).await;
        }
        Some(Introduction::TimedOut) => {
            permit.note_end(ConnectionEnd::Cut(CutReason::TimedOut));
            if !seen.is_empty() {
                note_timed_out(context, stream.peer());
            }
            close_now(stream).await;
        }
        // A byte in answer would only help a stranger.
        Some(Introduction::Refused) | None => close_now(stream).await,
    }
    None
}

/// Reads the header of a connection, of which these bytes were already read.
pub(super) async fn introduce(
    context: &Context,
    bare: &mut BareStream,
    seen: &mut BytesMut,
    pace: Pace,
) -> Introduction {
    let (begun, begun_in) = (Instant::now(), context.drain.phase());
    let limit = context.options.handshake_timeout;
    loop {
        let is_brief = seen.is_empty() && pace != Pace::Awake;
        let patience = if is_brief { PATIENCE } else { limit.saturating_sub(begun.elapsed()) };
        let changed = context.drain.changed();
        let phase = context.drain.phase();
        if phase != begun_in && phase != Phase::Stopping {
            return Introduction::PhaseChanged;
        }
        tokio::select! {
            biased;
            read = read(context, bare, seen) => {
                return if read.is_ok() { Introduction::Read } else { Introduction::Refused };
            }
            () = changed => {}
            () = sleep(patience), if is_brief => if seen.is_empty() { return Introduction::Quiet },
            () = sleep(patience), if !is_brief => return Introduction::TimedOut,
        }
    }
}

/// Reads the header, for as long as it takes. What is behind it stays in the buffer. Cancel safe.
pub(super) async fn read(context: &Context, bare: &mut BareStream, seen: &mut BytesMut) -> io::Result<()> {
    let (header, length) = whole(bare, seen).await.inspect_err(|why| {
        match why.kind() {
            io::ErrorKind::InvalidData => note_failure(context, bare.peer(), "refused", why),
            // The peer has only looked whether the server is up.
            _ if seen.is_empty() => {}
            _ => note_quietly(context, bare.peer(), "closed", why),
        }
    })?;
    seen.advance(length);
    bare.introduce(Arc::new(header));
    Ok(())
}

/// The header of a listed peer has not come in time.
pub(super) fn note_timed_out(context: &Context, peer: Peer) {
    note_failure(context, peer, "timed_out", &"it took longer than `handshake_timeout`");
}

/// A listed peer has not begun with a header. Its clients get no answer, so the first of such peers is a notice. Later ones are
/// messages of level debug, as failed handshakes are.
fn note_failure(context: &Context, peer: Peer, reason: &'static str, why: &dyn Display) {
    if context.has_told_of_header.swap(true, Ordering::Relaxed) {
        return note_quietly(context, peer, reason, why);
    }
    count(context, reason);
    let (server, peer) = (&context.options.name, name_in_messages(peer));
    log::notice_once(format_args!(
        "server `{server}`: no PROXY header from {peer}: {why}; the connection is closed without an answer. Peers in \
         `proxy_protocol` have to send one (HAProxy: `send-proxy-v2`, nginx: `proxy_protocol on`): have it do so, or take it \
         off the list. Further ones are logged at level debug"
    ));
}

fn note_quietly(context: &Context, peer: Peer, reason: &'static str, why: &dyn Display) {
    count(context, reason);
    let (server, peer) = (&context.options.name, name_in_messages(peer));
    tracing::debug!(target: "gracehttp", "server `{server}`: no PROXY header from {peer}: {why}");
}

fn count(context: &Context, reason: &'static str) {
    if let Some(metrics) = context.metrics {
        metrics.note_failed_proxy_header(reason);
    }
}

async fn whole<T: AsyncRead + Unpin>(stream: &mut T, seen: &mut BytesMut) -> io::Result<(Header, usize)> {
    loop {
        match Header::read(seen) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        }
        seen.reserve(FIRST_READ);
        if stream.read_buf(seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
