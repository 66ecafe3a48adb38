//! The accept loop: one task a listener, which does nothing but take connections that have a permit.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::sync::watch;

use crate::conn::{Context, Family, Socket};
use crate::listen::bind::{Listener, Local};
use crate::log;
use crate::server::Permit;
use crate::sys;

/// The pauses of an accept loop that the system gives no descriptor: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Whether a listener's connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// They stay in the kernel's queue, for the successor or for us to come back to.
    Shut,
    /// Those that are in the queue now, and no more.
    LastCall,
}

/// How the connections of a server are taken in.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) context: Arc<Context>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<tokio_rustls::TlsAcceptor>,
}

/// Accepts from one listener until the last call is over.
pub(crate) async fn accept_loop(
    entrance: Entrance,
    listener: Arc<Listener>,
    mut gate: watch::Receiver<Gate>,
) {
    loop {
        let position = *gate.borrow_and_update();
        match position {
            Gate::Open => {
                tokio::select! {
                    biased;
                    changed = gate.changed() => if changed.is_err() { return },
                    () = accept_all(&entrance, &listener) => {}
                }
            }
            Gate::Shut => {
                if gate.changed().await.is_err() {
                    return;
                }
            }
            Gate::LastCall => return empty_queue(&entrance, &listener).await,
        }
    }
}

/// Accepts for as long as it is let.
async fn accept_all(entrance: &Entrance, listener: &Arc<Listener>) {
    let name = &entrance.context.options.name;
    // Registered for just this time: a listener that is only kept must not wake us for the successor's
    // connections.
    let registered = match sys::watch(listener.clone(), Interest::READABLE) {
        Ok(registered) => registered,
        Err(error) => {
            log::error(format_args!("server `{name}`: its listener can't be watched: {error}"));
            return tokio::time::sleep(BACK_OFF.1).await;
        }
    };
    let mut back_off = BACK_OFF.0;
    loop {
        let Ok(mut ready) = registered.readable().await else { return };
        // The permit comes before the connection: over the limit, clients wait in the kernel's queue.
        let permit = entrance.context.permits.acquire().await;
        match ready.try_io(|listener| sys::accept(listener.get_ref().0.as_fd())) {
            Ok(Ok(fd)) => {
                back_off = BACK_OFF.0;
                admit(entrance, listener, fd, permit);
                tokio::task::consume_budget().await;
            }
            Ok(Err(error)) if is_exhaustion(&error) => {
                drop(permit);
                if back_off == BACK_OFF.0 {
                    log::notice(format_args!(
                        "server `{name}` can't accept at the moment: {error}; clients wait in the queue until \
                         a connection ends (`ulimit -n`, LimitNOFILE and max_conns set the limits)"
                    ));
                }
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF.1);
            }
            // That one connection's own trouble (accept(2): aborted, unreachable): on to the next.
            Ok(Err(_)) => tokio::task::consume_budget().await,
            Err(_would_block) => {}
        }
    }
}

/// Accepts what is in the queue; over the limit, as connections end.
async fn empty_queue(entrance: &Entrance, listener: &Arc<Listener>) {
    let _asking = entrance.context.permits.ask();
    // No more than fit into the queue were in it, however many still come.
    let mut left = u64::from(entrance.context.options.backlog) + 1;
    while left > 0 {
        let permit = entrance.context.permits.acquire_last().await;
        match sys::accept(listener.as_fd()) {
            Ok(fd) => admit(entrance, listener, fd, permit),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if is_exhaustion(&error) => {
                drop(permit);
                tokio::time::sleep(BACK_OFF.0).await;
                continue;
            }
            // It has left the queue, too.
            Err(_) => {}
        }
        left -= 1;
    }
}

/// Gives a connection its task. Handshakes and sniffing run there, never here.
fn admit(entrance: &Entrance, listener: &Listener, fd: OwnedFd, permit: Permit) {
    let family = match listener.local {
        Local::Tcp(_) => Family::Tcp,
        Local::Unix(_) => Family::Unix,
    };
    // A socket that the runtime can't take is closed, and its permit goes back.
    let Ok(stream) = (Socket { fd, family, origin: None, listener: listener.number }).wake() else { return };
    let context = entrance.context.clone();
    #[cfg(feature = "tls")]
    if let Some(acceptor) = &entrance.tls {
        tokio::spawn(crate::conn::serve_tls(context, acceptor.clone(), stream, permit));
        return;
    }
    tokio::spawn(crate::conn::serve(context, stream, Bytes::new(), permit));
}

/// The process or the system has no room for one more connection; trying again at once would spin.
fn is_exhaustion(error: &io::Error) -> bool {
    let exhausted = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.contains(&Errno::from_raw(code)))
}
