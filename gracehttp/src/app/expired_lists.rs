//! Revocation lists that have expired.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::lifecycle::{Event, Events, ExpiredList};
use crate::tls::TlsAcceptor;

/// The shortest time until the next look: a process in standby does not look, and must not try again and again.
const SOON: Duration = Duration::from_secs(1);

/// Tells of each list that has expired, once.
pub(super) struct ExpiredLists {
    /// With the names of their servers.
    acceptors: Vec<(String, TlsAcceptor)>,
    told: HashSet<(String, PathBuf, SystemTime)>,
}

impl ExpiredLists {
    pub(super) fn new(acceptors: Vec<(String, TlsAcceptor)>) -> Self {
        Self { acceptors, told: HashSet::new() }
    }

    /// The time until the next list expires; [`SOON`] if one has expired and is not told yet.
    pub(super) fn until_next(&self, now: SystemTime) -> Option<Duration> {
        let untold = self.lists().filter(|list| !self.told.contains(list));
        untold.map(|(_, _, end)| end.duration_since(now).unwrap_or_default().max(SOON)).min()
    }

    pub(super) fn look(&mut self, now: SystemTime, events: &Events) {
        let expired: Vec<_> =
            self.lists().filter(|list @ (_, _, end)| *end <= now && !self.told.contains(list)).collect();
        for (server, path, expired_at) in expired {
            self.told.insert((server.clone(), path.clone(), expired_at));
            events.emit(&Event::RevocationListExpired(ExpiredList { server, path, expired_at }));
        }
    }

    /// All lists, with the times when they expire.
    fn lists(&self) -> impl Iterator<Item = (String, PathBuf, SystemTime)> {
        self.acceptors.iter().flat_map(|(server, acceptor)| {
            let lists = acceptor.revocation_lists().into_iter();
            lists.filter_map(|list| Some((server.clone(), list.path, list.next_update?)))
        })
    }
}
