//! The connections that handlers have taken over for another protocol, such as WebSocket, or as a tunnel.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::conn::info::ConnectionInfo;
use crate::lifecycle::{Cut, CutWhile, MAX_CUTS};

/// The upgraded connections of one server. No deadline ends them, so the receipt of a process that ends gets them from
/// here.
#[derive(Debug, Default)]
pub(super) struct Upgraded(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By a number that counts up, so the oldest comes first.
    connections: BTreeMap<u64, (Arc<ConnectionInfo>, Instant)>,
}

impl Upgraded {
    /// Adds a connection. It counts as open until the result is dropped.
    pub(super) fn enter(&self, info: Arc<ConnectionInfo>) -> Entry<'_> {
        let mut open = self.0.lock();
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, (info, Instant::now()));
        Entry { upgraded: self, number }
    }

    /// The oldest open ones, as many as a receipt names.
    pub(super) fn cuts(&self) -> Vec<Cut> {
        let open = self.0.lock();
        let first = open.connections.values().take(MAX_CUTS);
        first
            .map(|(info, since)| Cut {
                peer: info.peer.address(),
                doing: CutWhile::Upgraded,
                age: since.elapsed(),
                request: Arc::new(info.left_by().unwrap_or("a request").to_owned()),
            })
            .collect()
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    upgraded: &'a Upgraded,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.upgraded.0.lock().connections.remove(&self.number);
    }
}
