//! What predecessor and successor say to each other, as it is written to the channel.
//!
//! Each message is one datagram: bounded, whole or not at all, and with its descriptors attached. The first
//! one of each side is a [`Hello`], whose layout never changes; all that follows is of the version on which
//! the two hellos agree.
//!
//! These types are for the wire alone, and are converted field by field from those of other rooms: a change there
//! changes no byte here. A released message never changes. A later version that needs another one adds a variant at
//! the end of the enum, since the place of a variant is its number.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::conn::{MOVES_WITH, Report};
use crate::listen::TicketKey;
use crate::socket::ListenerNumber;

/// The largest message. Below what a Unix socket's send buffer takes by default (208 KiB).
pub(crate) const MAX_MESSAGE: usize = 128 << 10;

/// How many listeners or connections go in one message, with one descriptor each. Version 1 has no room for more.
pub(crate) const MAX_BATCH: usize = 64;
const _: () = assert!(MAX_BATCH < crate::sys::MAX_FDS, "a batch has a token, too");

/// The version of the protocol that the two sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub(crate) enum Version {
    /// That of the first release. It waits for a mute partner without end.
    One = 1,
    /// The predecessor asks for signs of life and for permits, batches can be withdrawn, and connections name their
    /// listener.
    Two = 2,
}

impl Version {
    /// How much of a message the connections' own bytes may fill; the rest is for their description. The first release
    /// receives half as much.
    pub(crate) fn max_ahead(self) -> usize {
        match self {
            Self::One => MOVES_WITH / 2,
            Self::Two => MOVES_WITH,
        }
    }
}

const _: () = assert!(MOVES_WITH <= MAX_MESSAGE / 2);

/// The versions that this release speaks.
pub(crate) const OLDEST_VERSION: u16 = Version::One as u16;
pub(crate) const NEWEST_VERSION: u16 = Version::Two as u16;

const MAGIC: [u8; 8] = *b"gracehdf";

/// Opens the conversation in both directions. **Frozen**: every release reads every other's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    magic: [u8; 8],
    oldest: u16,
    newest: u16,
    pub(crate) generation: u64,
    pub(crate) pid: i32,
}

impl Hello {
    pub(crate) fn new(generation: u64) -> Self {
        Self {
            magic: MAGIC,
            oldest: OLDEST_VERSION,
            newest: NEWEST_VERSION,
            generation,
            pid: std::process::id().cast_signed(),
        }
    }

    /// The newest version that both sides speak, or why there is none.
    pub(crate) fn agree(&self) -> Result<Version, String> {
        if self.magic != MAGIC {
            return Err("it does not speak the handoff protocol".to_owned());
        }
        match self.newest.min(NEWEST_VERSION) {
            1 if self.oldest <= 1 => Ok(Version::One),
            2 if self.oldest <= 2 => Ok(Version::Two),
            _ => Err(format!(
                "it speaks versions {} to {} of the handoff protocol and this process {OLDEST_VERSION} to \
                 {NEWEST_VERSION}: stop the service and start it again instead of restarting it",
                self.oldest, self.newest
            )),
        }
    }
}

/// The key of TLS session tickets. Its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    name: [u8; 16],
    secret: [u8; 32],
    born: u64,
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Not derived: a secret must not get into a log.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("born", &self.born).finish_non_exhaustive()
    }
}

impl From<&TicketKey> for Key {
    fn from(key: &TicketKey) -> Self {
        Self { name: key.name, secret: key.secret, born: key.born }
    }
}

impl From<&Key> for TicketKey {
    fn from(key: &Key) -> Self {
        Self { name: key.name, secret: key.secret, born: key.born }
    }
}

/// Which listener a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerName {
    pub(crate) server: String,
    /// The endpoint as it was configured.
    pub(crate) endpoint: String,
}

/// The same, and whether its connections speak TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) server: String,
    /// The endpoint as it was configured.
    pub(crate) endpoint: String,
    /// They speak TLS.
    pub(crate) secure: bool,
}

impl From<Offer> for ListenerName {
    fn from(offer: Offer) -> Self {
        Self { server: offer.server, endpoint: offer.endpoint }
    }
}

/// A number of connections of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerCount {
    pub(crate) server: String,
    pub(crate) count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

impl From<crate::socket::Family> for Family {
    fn from(family: crate::socket::Family) -> Self {
        match family {
            crate::socket::Family::Tcp => Self::Tcp,
            crate::socket::Family::Unix => Self::Unix,
        }
    }
}

impl From<Family> for crate::socket::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Tcp => Self::Tcp,
            Family::Unix => Self::Unix,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    Fresh,
    Idle,
}

impl From<crate::socket::Stage> for Stage {
    fn from(stage: crate::socket::Stage) -> Self {
        match stage {
            crate::socket::Stage::Fresh => Self::Fresh,
            crate::socket::Stage::Idle => Self::Idle,
        }
    }
}

impl From<Stage> for crate::socket::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Fresh => Self::Fresh,
            Stage::Idle => Self::Idle,
        }
    }
}

/// A connection that moves; its descriptor is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moving {
    pub(crate) server: String,
    pub(crate) family: Family,
    pub(crate) stage: Stage,
    /// The bytes of its next request that were already read.
    pub(crate) ahead: Vec<u8>,
}

/// The same, with the listener that accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mover {
    /// The place of the listener in the order of all that were offered, counted from 1; none if only an earlier
    /// generation had it.
    pub(crate) listener: Option<ListenerNumber>,
    pub(crate) moving: Moving,
}

/// From the predecessor to the successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToSuccessor {
    /// The keys of TLS session tickets.
    TicketKeys { keys: Vec<Key> },
    /// Version 1: listeners, their descriptors attached. After the `last` one nothing is missing.
    Listeners { names: Vec<ListenerName>, last: bool },
    /// The predecessor has stopped accepting: it is the successor's turn. So many connections of each
    /// server still count against its limit.
    Commit { held: Vec<ServerCount> },
    /// Version 1: live connections. Each is known by its place in the order of all that were sent, counted from 1.
    Connections { moving: Vec<Moving> },
    /// Version 1: connections of each server that still count against its limit.
    Held { held: Vec<ServerCount> },
    /// The predecessor keeps no duplicates any more: nothing goes back.
    StandbyOver,
    /// Nothing more will come.
    Done,
    /// Version 2: listeners, their descriptors attached. After the `last` one nothing is missing.
    Offers { offers: Vec<Offer>, last: bool },
    /// Version 2: live connections; the first descriptor is the token that decides who owns them. Each is known by
    /// its place in the order of all that were sent, counted from 1.
    Batch { number: u32, moving: Vec<Mover> },
    /// Version 2: are you there?
    Ping { number: u32 },
    /// Version 2: connections of each server that still count against its limit. They include the permits in `asked`,
    /// which the predecessor may use only once they are granted.
    Counts { number: u32, held: Vec<ServerCount>, asked: Vec<ServerCount> },
}

/// From the successor to the predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToPredecessor {
    /// It can serve: it takes the connections of these servers, and has the listeners with these places in the order
    /// of all that were sent, counted from 0.
    Ready { servers: Vec<String>, claimed: Vec<u32> },
    /// It can't, and why.
    Failed { reason: String },
    /// Version 1: so many connections of the last [`ToSuccessor::Connections`] were taken; the others found no room.
    Taken { count: u32 },
    /// A connection that moved has a request under way: it can't go back.
    Busy { id: u32 },
    /// It has none any more.
    Idle { id: u32 },
    /// The successor has a successor: nothing can go back from now on.
    Succeeded,
    /// The successor ends by its own decision.
    Exiting,
    /// Version 2: so many connections of the [`ToSuccessor::Batch`] with this number were taken; the others found no
    /// room, or had been withdrawn.
    TakenOf { number: u32, count: u32 },
    /// Version 2: here I am.
    Pong { number: u32 },
    /// Version 2: grants so many of the permits that [`ToSuccessor::Counts`] with this number asked for.
    Granted { number: u32, granted: ServerCount },
}

impl From<Report> for ToPredecessor {
    fn from(report: Report) -> Self {
        match report {
            Report::Busy(origin) => ToPredecessor::Busy { id: origin.get() },
            Report::Idle(origin) => ToPredecessor::Idle { id: origin.get() },
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
