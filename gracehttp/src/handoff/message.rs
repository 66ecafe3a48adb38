//! What predecessor and successor say to each other.
//!
//! Each message is one datagram: bounded, whole or not at all, and with its descriptors attached. The first
//! one of each side is a [`Hello`], whose layout never changes; all that follows is of the version on which
//! the two hellos agree.

use serde::{Deserialize, Serialize};

use crate::conn::{Family, Told};
use crate::listen::TicketKey;
use crate::parking::Stage;

/// The largest message. Well below what a Unix socket's send buffer takes by default (208 KiB).
pub(crate) const MAX_MESSAGE: usize = 64 << 10;

/// The versions that this release speaks.
pub(crate) const OLDEST_VERSION: u16 = 1;
pub(crate) const NEWEST_VERSION: u16 = 1;

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
    pub(crate) fn agree(&self) -> Result<u16, String> {
        if self.magic != MAGIC {
            return Err("it does not speak the handoff protocol".to_owned());
        }
        let newest = self.newest.min(NEWEST_VERSION);
        if newest >= self.oldest.max(OLDEST_VERSION) {
            return Ok(newest);
        }
        Err(format!(
            "it speaks versions {} to {} of the handoff protocol and this process {OLDEST_VERSION} to \
             {NEWEST_VERSION}: stop the service and start it again instead of restarting it",
            self.oldest, self.newest
        ))
    }
}

/// Which listener a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerName {
    pub(crate) server: String,
    /// The endpoint as it was configured.
    pub(crate) endpoint: String,
}

/// A number of connections of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerCount {
    pub(crate) server: String,
    pub(crate) count: u64,
}

/// A connection that moves; its descriptor is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moving {
    pub(crate) server: String,
    pub(crate) family: Family,
    pub(crate) stage: Stage,
    /// What was read of its next request.
    pub(crate) ahead: Vec<u8>,
}

/// From the predecessor to the successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bequest {
    /// The keys of TLS session tickets.
    TicketKeys { keys: Vec<TicketKey> },
    /// Listeners, their descriptors attached. After the `last` one nothing is missing.
    Listeners { names: Vec<ListenerName>, last: bool },
    /// The predecessor has stopped accepting: it is the successor's turn. So many connections of each
    /// server still count against its limit.
    Commit { held: Vec<ServerCount> },
    /// Live connections. Each is known by its place in the order of all that were sent, counted from 1.
    Connections { moving: Vec<Moving> },
    /// Connections of each server that still count against its limit.
    Held { held: Vec<ServerCount> },
    /// The predecessor keeps no duplicates any more: nothing goes back.
    StandbyOver,
    /// Nothing more will come.
    Farewell,
}

/// From the successor to the predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It can serve: these servers, through the listeners with these places in the order of all that
    /// were sent.
    Ready { servers: Vec<String>, claimed: Vec<u32> },
    /// It can't, and why.
    Failed { reason: String },
    /// So many connections of the last [`Bequest::Connections`] were taken; the others found no room.
    Taken { count: u32 },
    /// A connection that moved has a request under way: it can't go back.
    Busy { id: u32 },
    /// It has none any more.
    Idle { id: u32 },
    /// The successor has a successor: nothing can go back from now on.
    Succeeded,
    /// The successor ends of its own will.
    Farewell,
}

impl From<Told> for Reply {
    fn from(told: Told) -> Self {
        match told {
            Told::Busy(origin) => Reply::Busy { id: origin.get() },
            Told::Idle(origin) => Reply::Idle { id: origin.get() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_agree_on_the_newest_that_both_speak() {
        let ours = Hello::new(1);
        assert_eq!(ours.agree(), Ok(NEWEST_VERSION));
        let newer = Hello { newest: 9, ..ours.clone() };
        assert_eq!(newer.agree(), Ok(NEWEST_VERSION));
    }

    #[test]
    fn strangers_are_refused_with_a_reason() {
        let ours = Hello::new(1);
        let too_new = Hello { oldest: 8, newest: 9, ..ours.clone() };
        assert!(too_new.agree().unwrap_err().contains("versions 8 to 9"));
        let stranger = Hello { magic: *b"GET / HT", ..ours };
        assert!(stranger.agree().is_err());
    }

    #[test]
    fn the_hello_is_frozen() {
        let hello = Hello { generation: 300, pid: 7, ..Hello::new(0) };
        let bytes = postcard::to_allocvec(&hello).unwrap();
        assert_eq!(bytes, [b"gracehdf".as_slice(), &[1, 1, 0xac, 2, 14]].concat());
    }
}
