//! The accept loop: one task a listener, which does nothing but take connections that have a permit.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::conn::{self, Context};
use crate::listen::listener::{Listener, Local};
use crate::listen::queue::Queue;
use crate::listen::trouble::{Remedy, Trouble};
use crate::server::{Permit, Turn};
use crate::socket::{Family, Socket, Unread};
use crate::sys;

/// How long to wait before a listener that can't be watched is tried again.
const UNWATCHED: Duration = Duration::from_secs(1);

/// Whether a listener's connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptState {
    Accepting,
    /// They stay in the kernel's queue, for the successor or for us to come back to.
    Paused,
    /// Those that are in the queue now, and no more.
    EmptyingQueue,
}

/// Accepts from one listener until the last call is over.
pub(crate) async fn accept_loop(
    context: Arc<Context>,
    listener: Arc<Listener>,
    mut state: watch::Receiver<AcceptState>,
) {
    let mut trouble = Trouble::new(&context.options.name, &listener.local);
    loop {
        let now = *state.borrow_and_update();
        match now {
            AcceptState::Accepting => {
                tokio::select! {
                    biased;
                    changed = state.changed() => if changed.is_err() { return },
                    () = accept_all(&context, &listener, &mut trouble) => {}
                }
            }
            AcceptState::Paused => {
                if state.changed().await.is_err() {
                    return;
                }
            }
            AcceptState::EmptyingQueue => return empty_queue(&context, &listener, &mut trouble).await,
        }
    }
}

/// Accepts for as long as it is let.
async fn accept_all(context: &Arc<Context>, listener: &Arc<Listener>, trouble: &mut Trouble) {
    // Registered for just this time: a listener that is only kept must not wake us for the successor's
    // connections.
    let registered = match sys::watch(listener.clone(), Interest::READABLE) {
        Ok(registered) => registered,
        Err(error) => {
            trouble.is_unwatched(&error, Instant::now());
            return tokio::time::sleep(UNWATCHED).await;
        }
    };
    let mut queue = Queue::of(context, listener);
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
            Ok(Ok(fd)) => {
                trouble.pass();
                spare = admit(context, listener, fd, permit);
                tokio::task::consume_budget().await;
            }
            Ok(Err(error)) => match trouble.meet(&error, Instant::now()) {
                Remedy::Next => tokio::task::consume_budget().await,
                Remedy::Wait(pause) | Remedy::GiveUp(pause) => {
                    drop(permit);
                    tokio::time::sleep(pause).await;
                }
            },
            Err(_would_block) => queue.is_empty(),
        }
    }
}

/// Accepts what is in the queue; over the limit, as connections end.
async fn empty_queue(context: &Arc<Context>, listener: &Arc<Listener>, trouble: &mut Trouble) {
    let _asking = context.permits.ask();
    // No more than fit into the queue were in it, however many still come.
    let mut left = u64::from(context.options.backlog) + 1;
    let mut queue = Queue::of(context, listener);
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
            Ok(fd) => spare = admit(context, listener, fd, permit),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => match trouble.meet(&error, Instant::now()) {
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
fn admit(context: &Arc<Context>, listener: &Listener, fd: OwnedFd, permit: Permit) -> Option<Permit> {
    if context.recycling.is_listing() && Unread::of(fd.as_fd()) == Unread::End {
        return Some(permit);
    }
    let family = match listener.local {
        Local::Tcp(_) => Family::Tcp,
        Local::Unix(_) => Family::Unix,
    };
    // A socket that the runtime can't take is closed, and its permit goes back.
    let Ok(stream) = (Socket { fd, family, origin: None, listener: listener.number }).wake() else {
        return None;
    };
    conn::spawn(context, stream, permit);
    None
}
