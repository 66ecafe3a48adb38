//! The kernel's queue of a listener: the clients that wait in it, and the permit for the next one.

use std::os::fd::AsFd;
use std::pin::pin;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::conn::{Context, Waiting};
use crate::lifecycle::Address;
use crate::listen::listener::Listener;
use crate::server::{Permit, Turn, WhenFull};
use crate::sys;

/// How long a full server waits before it looks again for a connection that could make room: at first, and at most.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// The queue of one listener.
pub(super) struct AcceptQueue<'a> {
    context: &'a Context,
    listener: &'a Listener,
    waiting: Waiting<'a>,
}

impl<'a> AcceptQueue<'a> {
    pub(super) fn of(context: &'a Context, listener: &'a Listener) -> Self {
        Self { context, listener, waiting: Waiting::at(context) }
    }

    /// A permit for the next client of a readable listener. A full server closes a connection to make room. None if no
    /// client waits after all.
    pub(super) async fn permit(&mut self, turn: Turn) -> Option<Permit> {
        let Context { permits, recycling, options, .. } = self.context;
        if let Some(permit) = permits.try_acquire(turn) {
            recycling.calm_down();
            return Some(self.admit(permit));
        }
        if options.when_full == WhenFull::Wait {
            return Some(permits.acquire(turn).await);
        }
        let mut freed = pin!(permits.acquire(turn));
        let mut interval = INTERVAL.0;
        let mut at_most = 1;
        loop {
            match queue_length(self.listener, at_most) {
                0 => {
                    self.note_empty();
                    return None;
                }
                count => self.waiting.are(count),
            }
            tokio::select! {
                biased;
                permit = &mut freed => return Some(self.admit(permit)),
                () = tokio::time::sleep(interval) => {}
            }
            (interval, at_most) =
                ((interval * 2).min(INTERVAL.1), (at_most * 2).min(options.backlog as usize));
        }
    }

    /// Notes that no client waits.
    pub(super) fn note_empty(&mut self) {
        self.waiting.are_none();
    }

    fn admit(&mut self, mut permit: Permit) -> Permit {
        if self.context.recycling.is_listing() {
            permit.is_let_in();
            self.waiting.let_in();
        }
        permit
    }
}

/// How many clients wait. The listener of a Unix socket does not say it by itself: if any wait there, they count as
/// `at_most`, which grows with every look.
fn queue_length(listener: &Listener, at_most: usize) -> usize {
    let count = match listener.local {
        Address::Tcp(_) => sys::tcp_queue_length(listener.as_fd()).ok(),
        Address::Unix(_) => None,
    };
    count.unwrap_or_else(|| {
        let mut listeners = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut listeners, PollTimeout::ZERO) {
            Ok(1..) => at_most,
            _ => 0,
        }
    })
}
