//! `axum::serve` with its graceful shutdown, on an inherited listener.

use std::io;
use std::process::ExitCode;

use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::hyper_graceful::{DRAIN, run};
use crate::inherit::Inheritance;

pub(crate) fn serve(threads: usize) -> ExitCode {
    run(threads, serve_until_replaced())
}

async fn serve_until_replaced() -> io::Result<()> {
    let inheritance = Inheritance::take()?;
    let listener = inheritance.listener()?.tap_io(|stream| {
        // `set_nodelay` fails on a stream whose client is already gone, which does no harm.
        _ = stream.set_nodelay(true);
    });
    let router = axum::Router::new()
        .route("/ping", get(async || format!("pong by pid:{}", std::process::id())))
        .route("/echo", post(async |body: Bytes| body));
    inheritance.announce()?;

    let (draining, drains) = oneshot::channel();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        inheritance.replaced().await;
        _ = draining.send(());
    });
    let deadline = async {
        _ = drains.await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => served,
        () = deadline => {
            eprintln!("connections were left after {DRAIN:?}");
            Ok(())
        }
    }
}
