//! hyper with hyper-util's `GracefulShutdown`, on an inherited listener.

use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use crate::bench::bare;
use crate::bench::security::acceptor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};

use crate::bench::peers::inherit::Inheritance;
use crate::bench::peers::secure::Stream;

/// How long connections may take to end, gracehttp's default.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

pub(super) fn serve(threads: usize) -> ExitCode {
    run(threads, accept_until_replaced())
}

/// Runs a contestant on a separate runtime.
pub(super) fn run(threads: usize, serve: impl Future<Output = io::Result<()>> + Send + 'static) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(async { tokio::spawn(serve).await? }));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn accept_until_replaced() -> io::Result<()> {
    let inheritance = Inheritance::take()?;
    let listener = inheritance.listener()?;
    inheritance.announce()?;

    let (graceful, acceptor) = (GracefulShutdown::new(), acceptor());
    let mut replaced = pin!(inheritance.replaced());
    loop {
        tokio::select! {
            () = &mut replaced => break,
            Ok((stream, _)) = listener.accept() => {
                serve_connection(Stream::new(stream, acceptor.as_ref()), graceful.watcher());
            }
        }
    }
    drop(listener);
    drain(graceful).await;
    Ok(())
}

/// Serves a connection until it ends or is shut down.
pub(super) fn serve_connection(stream: Stream, watcher: Watcher) {
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(bare::answer));
    tokio::spawn(watcher.watch(connection));
}

/// Shuts all connections down, and waits for them.
pub(super) async fn drain(graceful: GracefulShutdown) {
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        eprintln!("connections were left after {DRAIN:?}");
    }
}
