//! The running servers of a process.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::conn::Context;
use crate::lifecycle::Phase;
use crate::listen::{Acceptor, Running};

/// The servers of a process, and the news that one of their connections has ended.
pub(super) struct Servers {
    all: Vec<Running>,
    /// Notified whenever a permit of any server comes free.
    released: Arc<Notify>,
}

impl Servers {
    pub(super) fn new(all: Vec<Running>, released: Arc<Notify>) -> Self {
        Self { all, released }
    }

    pub(super) fn released(&self) -> Arc<Notify> {
        self.released.clone()
    }

    pub(super) fn contexts(&self) -> Vec<Arc<Context>> {
        self.iter().map(|server| server.context.clone()).collect()
    }

    /// Every listener, with its server.
    pub(super) fn acceptors(&self) -> impl Iterator<Item = (&Running, &Acceptor)> {
        self.iter().flat_map(|server| server.acceptors.iter().map(move |acceptor| (server, acceptor)))
    }

    /// Takes out all listeners.
    pub(super) fn take_acceptors(&mut self) -> impl Iterator<Item = Acceptor> {
        self.all.iter_mut().flat_map(|server| server.acceptors.drain(..))
    }

    /// Enters a phase in all servers.
    pub(super) fn enter(&self, phase: Phase) {
        self.iter().for_each(|server| server.enter(phase));
    }

    /// Connections that this process holds.
    pub(super) fn held(&self) -> usize {
        self.iter().map(|server| server.context.permits.held()).sum()
    }

    /// Connections that an earlier generation still holds.
    pub(super) fn foreign(&self) -> usize {
        self.iter().map(|server| server.context.permits.foreign()).sum()
    }

    /// Resolves once a condition on the counts of connections holds.
    pub(super) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            // Made before the counts are read, so that no release between the two is missed.
            let released = self.released.notified();
            if condition(self) {
                return;
            }
            released.await;
        }
    }
}

impl Deref for Servers {
    type Target = [Running];

    fn deref(&self) -> &[Running] {
        &self.all
    }
}

impl DerefMut for Servers {
    fn deref_mut(&mut self) -> &mut [Running] {
        &mut self.all
    }
}
