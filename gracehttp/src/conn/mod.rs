//! One connection: from its first byte until it closes, or rests and may move to the successor.

#[cfg(feature = "tls")]
mod admission;
mod cause;
mod client;
#[cfg(feature = "tls")]
mod client_cert;
mod close;
mod context;
mod exchange;
mod grammar;
mod http1;
#[cfg(feature = "http2")]
mod http2;
mod info;
mod introduction;
mod limits;
mod moved;
mod panics;
mod proxy_info;
#[cfg(feature = "self-signed")]
#[cfg(test)]
mod queue_tests;
mod recycling;
mod redirect;
mod request_id;
mod rest;
#[cfg(all(test, gracehttp_model))]
mod rest_model;
#[cfg(feature = "self-signed")]
#[cfg(test)]
mod rest_tests;
#[cfg(feature = "http2")]
mod sniff;
#[cfg(feature = "tls")]
mod tls_info;
mod trace_context;
mod traffic;
mod transport;
mod upgraded;
mod visit;

#[cfg(feature = "tls")]
use std::fmt::Display;
#[cfg(feature = "tls")]
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

#[cfg(feature = "tls")]
pub(crate) use admission::admit;
pub use client::{ClientAddr, Host};
#[cfg(feature = "tls")]
pub use client_cert::ClientCert;
pub(crate) use context::{Capabilities, Context, Leaving, Resting};
pub(crate) use exchange::log_handlers_at_work;
#[cfg(feature = "test-kit")]
pub(crate) use http1::strict::read_heads;
pub use info::{Generation, PeerAddr};
pub(crate) use moved::{Moved, Report};
pub use proxy_info::{ProxyInfo, ProxySsl};
pub(crate) use recycling::Waiting;
pub(crate) use redirect::redirected;
pub use request_id::RequestId;
use rest::rest;
#[cfg(not(feature = "tls"))]
pub(crate) use rest::settle as admit;
pub(crate) use rest::{empty_lot, give_memory_back, settle, wake_parked};
#[cfg(feature = "tls")]
pub use tls_info::TlsInfo;
pub use trace_context::TraceContext;
pub(crate) use visit::note_exit;

#[cfg(feature = "tls")]
use crate::access_log::FailedHandshake;
#[cfg(feature = "http2")]
use crate::conn::close::Linger;
use crate::conn::exchange::handlers_at_work;
use crate::conn::http1::{Idle, Left};
#[cfg(any(feature = "http2", feature = "tls"))]
use crate::conn::recycling::newcomer_is_to_close;
#[cfg(feature = "http2")]
use crate::conn::sniff::{Seen, Sniffed, has_come, sniff};
use crate::lifecycle::Cut;
#[cfg(feature = "http2")]
use crate::lifecycle::Phase;
#[cfg(any(feature = "http2", feature = "tls"))]
use crate::lifecycle::{ConnectionEnd, CutReason};
#[cfg(feature = "tls")]
use crate::proxy::Peer;
#[cfg(all(feature = "http2", feature = "tls"))]
use crate::record::Alpn;
use crate::server::Permit;
#[cfg(feature = "http2")]
use crate::socket::Socket;
use crate::socket::{Stage, Stream};
#[cfg(feature = "tls")]
use crate::tls::{TlsAcceptor, handshake, is_challenge, kind_of};

/// The connections whose tasks do not end at a deadline, as a receipt tells of them: a handler blocks their threads, or has
/// them for another protocol.
pub(crate) fn without_deadline(context: &Arc<Context>) -> Vec<Cut> {
    let mut cuts = handlers_at_work(context);
    cuts.extend(context.upgraded.cuts());
    cuts
}

/// How long a connection waits awake for its next byte before it is parked.
///
/// Long enough that a busy client's connection never parks, short enough that the buffers of a burst of
/// connections are used again instead of growing the heap.
const PATIENCE: Duration = Duration::from_millis(20);

/// The kind of a handshake that could not begin, since the PROXY header before it was missing.
#[cfg(feature = "tls")]
const NO_PROXY_HEADER: &str = "no_proxy_header";

/// How often a connection has requests, as far as is known, and how long it stays awake for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It is new, or has rested for long: it rests right after its answer, and needs no registration with the runtime.
    Rare,
    /// Its next request may come soon: it stays awake for as long as [`PATIENCE`].
    Busy,
    /// Not known: the kernel can't watch it for the parking lot. It stays awake until it moves or ends, so that its limits
    /// run on.
    Awake,
}

/// How many bytes of its next request a connection may have sent to be handed over: the largest head of a server that
/// sets no other `max_header_size`. A connection with a longer beginning of a head is answered here.
pub(crate) const MOVES_WITH: usize = 64 << 10;

/// What was read of a connection before it is served.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) bytes: BytesMut,
    /// When the first of them came: from then on the time of a request head runs.
    pub(crate) since: Option<Instant>,
}

impl Ahead {
    /// Bytes that came just now, if any did.
    pub(crate) fn now(bytes: Bytes) -> Self {
        let since = (!bytes.is_empty()).then(Instant::now);
        Self { bytes: bytes.into(), since }
    }
}

/// Serves a connection that was just accepted, in a task on the runtime of the caller. A secure one begins with a TLS
/// handshake. A plain one that is still silent needs no task: it is parked.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "none is secure"))]
pub(crate) fn spawn(context: &Arc<Context>, stream: Stream, is_secure: bool, permit: Permit) {
    let context = context.clone();
    // Tasks are boxed, since the runtime moves one many times before its first turn and when it ends. TLS has a kind of its
    // own: a common one would always take the memory of the larger.
    #[cfg(feature = "tls")]
    if let Some(acceptor) = context.tls.clone().filter(|_| is_secure) {
        tokio::spawn(Box::pin(serve_tls(context, acceptor, stream, permit)));
        return;
    }
    #[cfg(feature = "http2")]
    match first_bytes(&context, stream) {
        Begun::Silent(socket) => settle(&context, Resting::quiet(socket, Stage::Fresh, permit)),
        Begun::Http1(stream, ahead) => {
            tokio::spawn(Box::pin(serve_http1(context, stream, ahead, Stage::Fresh, Pace::Rare, permit)));
        }
        Begun::Unknown(stream, ahead) => {
            tokio::spawn(Box::pin(serve_plain(context, stream, ahead, Pace::Rare, permit)));
        }
    }
    #[cfg(not(feature = "http2"))]
    tokio::spawn(Box::pin(serve_plain(context, stream, Bytes::new(), Pace::Rare, permit)));
}

/// What a new connection has begun with.
#[cfg(feature = "http2")]
enum Begun {
    /// No byte has come.
    Silent(Socket),
    Http1(Stream, Ahead),
    /// Its first bytes do not tell, or were not read.
    Unknown(Stream, Bytes),
}

/// Reads what the client of a new connection has sent. The socket of a client that has sent nothing comes back, to be parked
/// without a task and without a registration with the runtime. While the process leaves, nothing is read here: a silent
/// connection would then move or close at once instead of resting.
#[cfg(feature = "http2")]
fn first_bytes(context: &Context, mut stream: Stream) -> Begun {
    let is_sniffed = context.options.http1 && context.options.http2;
    if !is_sniffed || context.drain.phase() != Phase::Serving {
        return Begun::Unknown(stream, Bytes::new());
    }
    let mut seen = Seen::new(Bytes::new());
    let has_come = has_come(&mut stream, &mut seen);
    match stream {
        Stream::Plain(bare) if !has_come => Begun::Silent(bare.rest()),
        Stream::Plain(bare) if seen.is_http1() && !introduction::is_owed(context, &bare) => {
            Begun::Http1(Stream::Plain(bare), seen.ahead())
        }
        stream => Begun::Unknown(stream, seen.ahead().bytes.freeze()),
    }
}

/// Serves a plain-text connection of which only `ahead` was read so far.
#[cfg(not(feature = "http2"))]
async fn serve_plain(context: Arc<Context>, stream: Stream, ahead: Bytes, pace: Pace, permit: Permit) {
    let Some((stream, ahead, permit)) = introduction::of_plain(&context, stream, ahead, pace, permit).await
    else {
        return;
    };
    serve_http1(context, stream, Ahead::now(ahead), Stage::Fresh, pace, permit).await;
}

/// Serves a plain-text connection of which only `ahead` was read so far.
#[cfg(feature = "http2")]
async fn serve_plain(context: Arc<Context>, stream: Stream, ahead: Bytes, pace: Pace, permit: Permit) {
    let begun = introduction::of_plain(&context, stream, ahead, pace, permit).await;
    let Some((mut stream, ahead, mut permit)) = begun else { return };
    let options = &context.options;
    if !options.http2 {
        return serve_http1(context, stream, Ahead::now(ahead), Stage::Fresh, pace, permit).await;
    }
    if !options.http1 {
        return http2::serve(context, stream, ahead, permit).await;
    }
    let mut seen = Seen::new(ahead);
    // Nothing has come: something else has woken it.
    if pace != Pace::Awake && context.drain.phase() == Phase::Serving && !has_come(&mut stream, &mut seen) {
        return rest(context, stream, Bytes::new(), Stage::Fresh, permit, false).await;
    }
    let patience = if pace == Pace::Awake { options.header_read_timeout } else { PATIENCE };
    let sniffed = tokio::select! {
        biased;
        sniffed = sniff(&mut stream, &mut seen, &context.drain, patience, options.handshake_timeout) => sniffed,
        () = newcomer_is_to_close(&context, &mut permit, false) => return close::close_now(stream).await,
    };
    let seen = seen.ahead();
    match sniffed {
        Ok(Sniffed::Http1) => serve_http1(context, stream, seen, Stage::Fresh, pace, permit).await,
        Ok(Sniffed::Http2) => http2::serve(context, stream, seen.bytes.freeze(), permit).await,
        Ok(Sniffed::PhaseChanged) => {
            rest(context, stream, seen.bytes.freeze(), Stage::Fresh, permit, false).await;
        }
        Ok(Sniffed::Quiet) if pace != Pace::Awake => {
            rest(context, stream, seen.bytes.freeze(), Stage::Fresh, permit, false).await;
        }
        // An orderly close even if the client has closed its side: another process may hold a duplicate.
        Ok(Sniffed::Closed) => close::close(&context, stream, Linger::BRIEF).await,
        Ok(Sniffed::TimedOut | Sniffed::Quiet) => {
            permit.note_end(ConnectionEnd::Cut(CutReason::TimedOut));
            close::close(&context, stream, Linger::BRIEF).await;
        }
        // The socket is closed before its permit is free for another.
        Err(_) => drop(stream),
    }
}

/// Serves an HTTP/1 connection, and settles what is left of it.
async fn serve_http1(
    context: Arc<Context>,
    stream: Stream,
    ahead: Ahead,
    stage: Stage,
    pace: Pace,
    permit: Permit,
) {
    match http1::serve(context.clone(), stream, ahead, stage, pace, permit).await {
        Left::Nothing => {}
        Left::AtRest { idle: Idle { stream, ahead, stage, permit }, has_answered } => {
            rest(context, stream, ahead, stage, permit, has_answered).await;
        }
        Left::Busy(idle) => serve_again(context, idle),
    }
}

/// Goes on with a connection that was about to close.
fn serve_again(context: Arc<Context>, idle: Idle) {
    let Idle { stream, ahead, stage, permit } = idle;
    tokio::spawn(serve_http1(context, stream, Ahead::now(ahead), stage, Pace::Busy, permit));
}

/// Serves a TLS connection from its handshake on. A handshake that is under way when the process goes is
/// finished, and its connection served.
#[cfg(feature = "tls")]
async fn serve_tls(context: Arc<Context>, acceptor: TlsAcceptor, stream: Stream, mut permit: Permit) {
    let Stream::Plain(mut bare) = stream else { return };
    let mut client = bare.peer();
    // Boxed, since a handshake is short: otherwise each connection would keep room for rustls.
    let mut owes_header = introduction::is_owed(&context, &bare);
    let mut seen = BytesMut::new();
    let handshake = Box::pin(async {
        if owes_header {
            introduction::read(&context, &mut bare, &mut seen).await?;
            client = bare.client(client);
            owes_header = false;
        }
        handshake(&acceptor, bare, &seen).await
    });
    let handshake = tokio::time::timeout(context.options.handshake_timeout, handshake);
    let handshake = tokio::select! {
        biased;
        handshake = handshake => handshake,
        () = newcomer_is_to_close(&context, &mut permit, true) => return,
    };
    // The client was sent the alert that says why.
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if is_challenge(&error) => return,
        // The notice is there already, and no handshake has begun.
        Ok(Err(error)) if owes_header => {
            let is_refused = error.kind() == ErrorKind::InvalidData;
            let kind = if is_refused { NO_PROXY_HEADER } else { kind_of(&error) };
            return count_failed_handshake(&context, client, kind, &error);
        }
        Ok(Err(error)) => return note_failed_handshake(&context, client, kind_of(&error), &error),
        Err(_) if owes_header && !seen.is_empty() => {
            permit.note_end(ConnectionEnd::Cut(CutReason::TimedOut));
            introduction::note_timed_out(&context, client);
            let why = "the PROXY header took longer than `handshake_timeout`";
            return count_failed_handshake(&context, client, NO_PROXY_HEADER, &why);
        }
        Err(_) => {
            permit.note_end(ConnectionEnd::Cut(CutReason::TimedOut));
            let why = "it took longer than `handshake_timeout`";
            return note_failed_handshake(&context, client, "timed_out", &why);
        }
    };
    if let Some(metrics) = context.metrics {
        metrics.note_handshake(stream.session().suite().version().name());
    }
    // A client that offers no protocol speaks HTTP/1.1, or HTTP/2 where the server has no HTTP/1.
    #[cfg(feature = "http2")]
    let is_http2 = stream.session().facts().alpn == Some(Alpn::H2) || !context.options.http1;
    let stream = Stream::Secure(Box::new(stream));
    #[cfg(feature = "http2")]
    if is_http2 {
        return http2::serve(context, stream, Bytes::new(), permit).await;
    }
    serve_http1(context, stream, Ahead::now(Bytes::new()), Stage::Fresh, Pace::Rare, permit).await;
}

/// Logged at level debug: any stranger can cause it.
#[cfg(feature = "tls")]
fn note_failed_handshake(context: &Context, client: Peer, kind: &'static str, why: &dyn Display) {
    count_failed_handshake(context, client, kind, why);
    let (server, from) = (&context.options.name, info::name_in_messages(client));
    tracing::debug!(target: "gracehttp", "server `{server}`: the TLS handshake with {from} failed: {why}");
}

/// Counts a failed handshake, and gives it its line in the access log.
#[cfg(feature = "tls")]
fn count_failed_handshake(context: &Context, client: Peer, kind: &'static str, why: &dyn Display) {
    if let Some(metrics) = context.metrics {
        metrics.note_failed_handshake(kind);
    }
    if let Some(log) = context.access_log.as_ref().filter(|log| log.has_handshakes()) {
        log.write_handshake(&info::name_in_log(client), &FailedHandshake { kind, why });
    }
}
