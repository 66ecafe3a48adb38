//! What hyper and h2 are told about a connection.

use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;

use crate::conn::http2::room::Shares;
use crate::conn::http2::task::StreamTasks;
use crate::server::ServerOptions;

/// How often a silent client is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);

/// How long its answer may take. Before a client that takes a download slowly lie some megabytes, and it reads the PING
/// after them. One that is gone does not acknowledge it, which is seen before.
const PONG: Duration = Duration::from_secs(300);

/// Requests that the client has given up before hyper has seen them (CVE-2023-44487).
const UNSEEN_RESETS: usize = 20;

/// Streams that h2 has to reset for their client's errors, over the life of a connection (CVE-2025-8671).
const RESETS_FOR_ERRORS: usize = 1024;

pub(super) fn builder(options: &ServerOptions, shares: Shares, tasks: StreamTasks) -> Builder<StreamTasks> {
    let mut builder = Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(shares.streams)
        .initial_connection_window_size(shares.window)
        .initial_stream_window_size(shares.window)
        .max_send_buf_size(shares.unsent)
        .max_header_list_size(header_list(options))
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(RESETS_FOR_ERRORS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}

/// The size of a head for h2, which counts 32 bytes for each field. Twice as much as the server allows, so that it is
/// the server that answers, and not h2.
fn header_list(options: &ServerOptions) -> u32 {
    let fields = options.max_headers.saturating_mul(32);
    let size = options.max_header_size.saturating_mul(2).saturating_add(fields);
    u32::try_from(size).unwrap_or(u32::MAX)
}
