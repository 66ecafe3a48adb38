//! The accept loop: one task per listener, which only accepts connections that have a permit.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::conn::{self, Context};
use crate::lifecycle::Address;
use crate::listen::accept_errors::{AcceptErrors, Remedy};
use crate::listen::accept_queue::AcceptQueue;
use crate::listen::listener::Listener;
use crate::server::{Permit, Turn};
use crate::socket::{Family, Socket, Unread};
use crate::sys::{self, Accepted};

/// If a listener can't be watched, the next attempt comes after this time.
const UNWATCHED: Duration = Duration::from_secs(1);

/// Whether a listener's connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptState {
    Accepting,
    /// They stay in the kernel's queue, for the successor, or until this process accepts again.
    Paused,
    /// Those that are in the queue now are accepted, and no others.
    EmptyingQueue,
}

/// Accepts from one listener until its queue was emptied for the last time.
pub(crate) async fn accept_loop(
    context: Arc<Context>,
    listener: Arc<Listener>,
    mut state: watch::Receiver<AcceptState>,
) {
    let mut errors = AcceptErrors::new(&context.options.name, &listener.local);
    loop {
        let now = *state.borrow_and_update();
        match now {
            AcceptState::Accepting => {
                tokio::select! {
                    biased;
                    changed = state.changed() => if changed.is_err() { return },
                    () = accept_all(&context, &listener, &mut errors) => {}
                }
            }
            AcceptState::Paused => {
                if state.changed().await.is_err() {
                    return;
                }
            }
            AcceptState::EmptyingQueue => return empty_queue(&context, &listener, &mut errors).await,
        }
    }
}

/// Accepts until the caller drops it because the state has changed.
async fn accept_all(context: &Arc<Context>, listener: &Arc<Listener>, errors: &mut AcceptErrors) {
    // Registered only while this process accepts: otherwise it would wake for the successor's connections.
    let registered = match sys::watch(listener.clone(), Interest::READABLE) {
        Ok(registered) => registered,
        Err(error) => {
            errors.note_unwatched(&error, Instant::now());
            return tokio::time::sleep(UNWATCHED).await;
        }
    };
    let mut queue = AcceptQueue::of(context, listener);
    let mut spare = None;
    loop {
        let Ok(mut ready) = registered.readable().await else { return };
        // The permit comes before the connection: over the limit, clients wait in the kernel's queue.
        let permit = match spare.take() {
            Some(permit) => permit,
            None => match queue.permit(Turn::Usual).await {
                Some(permit) => permit,
                None => {
                    ready.clear_ready();
                    continue;
                }
            },
        };
        match ready.try_io(|listener| sys::accept(listener.get_ref().0.as_fd())) {
            Ok(Ok(accepted)) => {
                errors.note_accepted();
                spare = admit(context, listener, accepted, permit);
                tokio::task::consume_budget().await;
            }
            Ok(Err(error)) => match errors.note_error(&error, Instant::now()) {
                Remedy::Next => tokio::task::consume_budget().await,
                Remedy::Wait(pause) | Remedy::GiveUp(pause) => {
                    drop(permit);
                    tokio::time::sleep(pause).await;
                }
            },
            Err(_would_block) => queue.note_empty(),
        }
    }
}

/// Accepts the connections in the queue. Over the limit, each of them waits until another connection ends.
async fn empty_queue(context: &Arc<Context>, listener: &Arc<Listener>, errors: &mut AcceptErrors) {
    let _asking = context.permits.ask();
    // The queue held no more connections than fit into it. Others that come meanwhile are not accepted.
    let mut left = u64::from(context.options.backlog) + 1;
    let mut queue = AcceptQueue::of(context, listener);
    let mut spare = None;
    while left > 0 {
        let permit = match spare.take() {
            Some(permit) => permit,
            None => match queue.permit(Turn::Last).await {
                Some(permit) => permit,
                None => return,
            },
        };
        match sys::accept(listener.as_fd()) {
            Ok(accepted) => spare = admit(context, listener, accepted, permit),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => match errors.note_error(&error, Instant::now()) {
                // A failed connection has left the queue, too.
                Remedy::Next => {}
                Remedy::Wait(pause) => {
                    drop(permit);
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Remedy::GiveUp(_) => return,
            },
        }
        left -= 1;
    }
}

/// Gives a connection its task. Handshakes and sniffing run there, never here.
///
/// Gives the permit back if the client has left the queue meanwhile: then no other connection has to make room for
/// the next client.
fn admit(
    context: &Arc<Context>,
    listener: &Listener,
    Accepted { fd, peer }: Accepted,
    mut permit: Permit,
) -> Option<Permit> {
    if context.recycling.is_listing() && Unread::of(fd.as_fd()) == Unread::End {
        return Some(permit);
    }
    // Before its end can be counted.
    if let Some(metrics) = context.metrics {
        metrics.note_accepted();
    }
    permit.opens();
    let family = match listener.local {
        Address::Tcp(_) => Family::Tcp,
        Address::Unix(_) => Family::Unix,
    };
    let socket = Socket::accepted(fd, peer, family, listener.number);
    conn::spawn(context, socket, listener.is_secure, permit);
    None
}
