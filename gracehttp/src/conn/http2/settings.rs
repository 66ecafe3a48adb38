//! The settings of hyper and h2 for a connection.

use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;

use crate::conn::http2::room::Shares;
use crate::conn::http2::task::StreamTasks;
use crate::server::ServerOptions;

/// The window of a stream that h2 believes in (RFC 9113 section 6.9.1). The client sees a smaller one: see
/// [`credit`](super::credit). h2 would open a window of any other size too late: it reads on and on before it does.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// How often a silent client gets a PING.
const PING: Duration = Duration::from_secs(20);

/// How long its answer may take. A client that takes a download slowly reads the PING only after some megabytes. A
/// client that is gone is noticed earlier: it acknowledges nothing.
const PONG: Duration = Duration::from_secs(300);

/// How many streams h2 may have to reset for the client's errors, over the life of a connection (CVE-2025-8671).
const RESETS_FOR_ERRORS: usize = 1024;

pub(super) fn builder(options: &ServerOptions, shares: Shares, tasks: StreamTasks) -> Builder<StreamTasks> {
    let mut builder = Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(shares.streams)
        .initial_connection_window_size(shares.window())
        .initial_stream_window_size(LARGEST_WINDOW)
        .max_send_buf_size(shares.unsent)
        .max_header_list_size(header_list(options))
        // A page that is left at once: all of its requests come and are given up before hyper has seen one. A client that
        // does it again and again (CVE-2023-44487) uses up its allowance of frames.
        .max_pending_accept_reset_streams(shares.streams as usize)
        .max_local_error_reset_streams(RESETS_FOR_ERRORS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}

/// The limit of a head's size for h2, which adds 32 bytes for each field. Twice as much as the server allows, so that
/// the server answers, and not h2.
fn header_list(options: &ServerOptions) -> u32 {
    let fields = options.max_headers.saturating_mul(32);
    let size = options.max_header_size.saturating_mul(2).saturating_add(fields);
    u32::try_from(size).unwrap_or(u32::MAX)
}
