//! hyper on a listener that ecdysis passes on, after its example.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::bench::security::acceptor;
use ecdysis::tokio_ecdysis::{SignalKind, StopOnShutdown, TokioEcdysisBuilder};
use hyper_util::server::graceful::GracefulShutdown;
use tokio_stream::StreamExt as _;

use crate::bench::peers::hyper_graceful::{drain, run, serve_connection};
use crate::bench::peers::inherit::{BACKLOG, banner};
use crate::bench::peers::secure::Stream;

/// Gives all processes their address: ecdysis finds a predecessor's listener by it.
const ADDRESS: &str = "RESTARTS_ADDRESS";

pub(super) fn serve(threads: usize) -> ExitCode {
    let address = std::env::var(ADDRESS).ok().and_then(|address| address.parse().ok());
    match address {
        Some(address) => run(threads, serve_until_replaced(address)),
        None => {
            eprintln!("{}", start_at_free_port());
            ExitCode::FAILURE
        }
    }
}

/// Executes this program again in the same process, with the address of a free port. It returns only if that fails.
fn start_at_free_port() -> io::Error {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    match (free, std::env::current_exe()) {
        (Ok(address), Ok(program)) => {
            Command::new(program).args(std::env::args_os().skip(1)).env(ADDRESS, address.to_string()).exec()
        }
        (Err(error), _) | (_, Err(error)) => error,
    }
}

async fn serve_until_replaced(address: SocketAddr) -> io::Result<()> {
    let builder = TokioEcdysisBuilder::new(SignalKind::user_defined2())?;
    let is_successor = builder.is_child();
    let mut streams = builder.build_listen_tcp(StopOnShutdown::Yes, address, |socket, address| {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG as i32)?;
        Ok(socket.into())
    })?;
    let (_ecdysis, replaced) = builder.ready()?;
    eprintln!("{}", banner(address));
    if is_successor {
        eprintln!("start new process success, pid {}.", std::process::id());
    }

    let (graceful, acceptor) = (GracefulShutdown::new(), acceptor());
    let accepting = tokio::spawn(async move {
        // The stream ends when ecdysis has a successor that is ready.
        while let Some(accepted) = streams.next().await {
            if let Ok(stream) = accepted {
                serve_connection(Stream::new(stream, acceptor.as_ref()), graceful.watcher());
            }
        }
        graceful
    });
    replaced.await.map_err(io::Error::other)?;
    drain(accepting.await?).await;
    Ok(())
}
