//! `axum::serve` with its graceful shutdown, on an inherited listener.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::bench::security::acceptor;
use axum::routing::{get, post};
use axum::serve::Listener;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::bench::peers::hyper_graceful::{DRAIN, run};
use crate::bench::peers::inherit::Inheritance;
use crate::bench::peers::secure::Stream;

pub(super) fn serve(threads: usize) -> ExitCode {
    run(threads, serve_until_replaced())
}

async fn serve_until_replaced() -> io::Result<()> {
    let inheritance = Inheritance::take()?;
    let listener = Accepting { listener: inheritance.listener()?, acceptor: acceptor() };
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

/// The listener, and the TLS side of its connections.
struct Accepting {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
}

impl Listener for Accepting {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Stream::new(stream, self.acceptor.as_ref()), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
