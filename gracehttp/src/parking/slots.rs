//! The slab of a parking lot: descriptors in the order in which they were parked.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use slab::Slab;

use crate::parking::sessions::{SessionKey, Sessions};
use crate::socket::{Family, ListenerNumber, Origin, ProxyHeader, Socket, Stage, Untaken};

/// The end of a list. No slab grows that large.
const NONE: u32 = u32::MAX;

/// A connection at rest. Its permit is a bare count of its server.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) socket: Socket,
    pub(crate) stage: Stage,
}

/// All that is kept of a parked connection, beside its TLS session.
#[derive(Debug)]
struct Slot {
    /// None while the connection is awake, and its slot only keeps its key.
    fd: Option<OwnedFd>,
    family: Family,
    stage: Stage,
    listener: Option<ListenerNumber>,
    session: Option<SessionKey>,
    origin: Option<Origin>,
    untaken: Untaken,
    /// When it was parked, in ticks of the lot. While it is awake, [`MAY_HAVE_UNREAD`] if it may have something unread, or else 0.
    since: u32,
    older: u32,
    newer: u32,
}

/// For a connection that is awake: something was reported that it may not have read.
const MAY_HAVE_UNREAD: u32 = 1;

impl Slot {
    /// That of a connection that is awake.
    const AWAKE: Self = Self {
        fd: None,
        family: Family::Tcp,
        stage: Stage::Fresh,
        listener: None,
        session: None,
        origin: None,
        untaken: Untaken::NOTHING,
        since: 0,
        older: NONE,
        newer: NONE,
    };
}

/// The two ends of one stage's list. Each stage has one time limit, so each list is in order of expiry.
#[derive(Clone, Copy, Debug)]
struct Ends {
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
pub(super) struct Slots {
    slab: Slab<Slot>,
    sessions: Sessions,
    /// The PROXY headers of those connections for which the list does not say everything, by their keys. So the others need no
    /// room for one.
    proxy_headers: HashMap<u32, ProxyHeader>,
    ends: [Ends; 2],
    /// How many there are of each stage.
    counts: [usize; 2],
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(),
            sessions: Sessions::default(),
            proxy_headers: HashMap::new(),
            ends: [Ends { oldest: NONE, newest: NONE }; 2],
            counts: [0; 2],
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Puts a connection at the newest end of its stage's list, and returns its key.
    pub(super) fn insert(&mut self, parked: Parked, now: u32) -> u32 {
        let key = self.slab.insert(Slot::AWAKE) as u32;
        self.put_back(key, parked, now);
        key
    }

    /// Puts a connection that was awake at the newest end of its stage's list, with the key that it has kept.
    pub(super) fn put_back(&mut self, key: u32, parked: Parked, now: u32) {
        let Parked { socket, stage } = parked;
        let Socket { fd, family, origin, listener, session, proxy_header, untaken } = socket;
        let session = session.map(|session| self.sessions.insert(session));
        let older = self.ends[stage as usize].newest;
        let Some(slot) = self.slab.get_mut(key as usize) else { return };
        let fd = Some(fd);
        *slot =
            Slot { fd, family, stage, listener, session, origin, untaken, since: now, older, newer: NONE };
        if !matches!(proxy_header, ProxyHeader::AsListed) {
            self.proxy_headers.insert(key, proxy_header);
        }
        match self.slab.get_mut(older as usize) {
            Some(neighbour) => neighbour.newer = key,
            None => self.ends[stage as usize].oldest = key,
        }
        self.ends[stage as usize].newest = key;
        self.counts[stage as usize] += 1;
    }

    /// Takes a connection out, from any place in the list, and tells since when it was parked. Its key is free.
    pub(super) fn remove(&mut self, key: u32) -> Option<(Parked, u32)> {
        let taken = self.take(key)?;
        self.slab.try_remove(key as usize);
        Some(taken)
    }

    /// Takes out a connection for which an event has come. Its key stays its own, until it is [put back](Self::put_back) or
    /// [given up](Self::give_up). None if it is awake already; the event is noted.
    ///
    /// `tells_end`: the event tells of an end, perhaps behind bytes. To read those bytes does not show the end, which is not
    /// reported again.
    pub(super) fn wake(&mut self, key: u32, tells_end: bool) -> Option<(Parked, u32)> {
        let taken = self.take(key);
        if let Some(slot) = self.slab.get_mut(key as usize) {
            slot.since = if taken.is_some() && !tells_end { 0 } else { MAY_HAVE_UNREAD };
        }
        taken
    }

    /// Whether an awake connection may have something unread that is not reported again. The answer stays until it is put back.
    pub(super) fn may_have_unread(&self, key: u32) -> bool {
        self.slab.get(key as usize).is_some_and(|slot| slot.since == MAY_HAVE_UNREAD)
    }

    /// Frees the key of an awake connection.
    pub(super) fn give_up(&mut self, key: u32) {
        self.slab.try_remove(key as usize);
    }

    fn take(&mut self, key: u32) -> Option<(Parked, u32)> {
        let slot = self.slab.get_mut(key as usize)?;
        let fd = slot.fd.take()?;
        let Slot { family, stage, listener, session, origin, untaken, older, newer, since, .. } = *slot;
        match self.slab.get_mut(older as usize) {
            Some(neighbour) => neighbour.newer = newer,
            None => self.ends[stage as usize].oldest = newer,
        }
        match self.slab.get_mut(newer as usize) {
            Some(neighbour) => neighbour.older = older,
            None => self.ends[stage as usize].newest = older,
        }
        self.counts[stage as usize] -= 1;
        let session = session.and_then(|key| self.sessions.remove(key));
        let proxy_header = match self.proxy_headers.is_empty() {
            true => ProxyHeader::AsListed,
            false => self.proxy_headers.remove(&key).unwrap_or_default(),
        };
        let socket = Socket { fd, family, origin, listener, session, proxy_header, untaken };
        Some((Parked { socket, stage }, since))
    }

    /// How many connections of a stage are parked.
    pub(super) fn count(&self, stage: Stage) -> usize {
        self.counts[stage as usize]
    }

    /// The connection of a stage that has been parked the longest, and since when.
    pub(super) fn oldest(&self, stage: Stage) -> Option<(u32, u32)> {
        let key = self.ends[stage as usize].oldest;
        self.slab.get(key as usize).map(|slot| (key, slot.since))
    }

    /// The connections of a stage and since when each has been parked, the oldest first.
    pub(super) fn oldest_first(&self, stage: Stage) -> impl Iterator<Item = (u32, u32)> {
        let slot = |key: u32| self.slab.get(key as usize).map(|slot| (key, slot.since));
        let newer = move |(key, _): &(u32, u32)| slot(self.slab.get(*key as usize)?.newer);
        std::iter::successors(self.oldest(stage), newer)
    }

    /// Any connection.
    pub(super) fn any(&self) -> Option<u32> {
        self.oldest(Stage::Idle).or_else(|| self.oldest(Stage::Fresh)).map(|(key, _)| key)
    }

    /// The descriptor of a parked connection.
    pub(super) fn fd(&self, key: u32) -> Option<BorrowedFd<'_>> {
        self.slab.get(key as usize)?.fd.as_ref().map(OwnedFd::as_fd)
    }

    /// Frees the memory of a slab that has become empty.
    pub(super) fn shrink(&mut self) {
        if self.slab.is_empty() {
            *self = Self::new();
        }
    }
}

/// The slab aligns its entries to 8 bytes.
const _: () = assert!(size_of::<Slot>() <= 32);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn parked(stage: Stage) -> Parked {
        let (socket, _) = UnixStream::pair().unwrap();
        Parked {
            socket: Socket {
                fd: socket.into(),
                family: Family::Unix,
                origin: None,
                listener: None,
                session: None,
                proxy_header: ProxyHeader::AsListed,
                untaken: Untaken::NOTHING,
            },
            stage,
        }
    }

    #[test]
    fn the_order_of_each_stage_survives_removals() {
        let mut slots = Slots::new();
        let keys: Vec<u32> = (0..5).map(|now| slots.insert(parked(Stage::Idle), now)).collect();
        let fresh = slots.insert(parked(Stage::Fresh), 9);
        assert_eq!(slots.oldest(Stage::Idle), Some((keys[0], 0)));
        assert_eq!(slots.oldest(Stage::Fresh), Some((fresh, 9)));
        slots.remove(keys[2]).unwrap();
        slots.remove(keys[0]).unwrap();
        slots.remove(keys[4]).unwrap();
        assert_eq!(slots.oldest(Stage::Idle), Some((keys[1], 1)));
        let keys_left: Vec<u32> = slots.oldest_first(Stage::Idle).map(|(key, _)| key).collect();
        assert_eq!(keys_left, [keys[1], keys[3]]);
        assert_eq!((slots.count(Stage::Idle), slots.count(Stage::Fresh)), (2, 1));
        slots.remove(keys[1]).unwrap();
        assert_eq!(slots.oldest(Stage::Idle), Some((keys[3], 3)));
        slots.remove(keys[3]).unwrap();
        assert_eq!(slots.oldest(Stage::Idle), None);
        assert_eq!(slots.any(), Some(fresh));
        assert!(slots.remove(keys[3]).is_none());
        let again = slots.insert(parked(Stage::Idle), 11);
        assert_eq!(slots.oldest(Stage::Idle), Some((again, 11)));
        assert_eq!(slots.len(), 2);
    }
}
