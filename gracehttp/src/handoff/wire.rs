//! The messages between predecessor and successor, as they are written to the channel.
//!
//! Each message is one datagram: bounded, whole or not at all, and with its descriptors attached. The first
//! one of each side is a [`Hello`], whose layout never changes; all that follows is of the version on which
//! the two hellos agree.
//!
//! These types are for the wire alone, and are converted field by field from those of other rooms: a change there
//! changes no byte here. A released message never changes. A later version that needs another one adds a variant at
//! the end of the enum, since the place of a variant is its number.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::conn::{MOVES_WITH, Report};
use crate::handoff::session::Session;
use crate::handoff::version::Version;
use crate::tls::TicketKey;

/// The largest message. Below what a Unix socket's send buffer takes by default (208 KiB).
pub(crate) const MAX_MESSAGE: usize = 128 << 10;

/// How many listeners go in one message, with one descriptor each. Version 1 has no room for more.
pub(crate) const MAX_LISTENERS: usize = 64;

const _: () = assert!(MOVES_WITH <= Version::NEWEST.max_ahead(), "no message has room for such a connection");

/// How many bytes a hello takes at most.
pub(super) const LARGEST_HELLO: usize = 64;

/// What a hello begins with.
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
            oldest: Version::OLDEST.number(),
            newest: Version::NEWEST.number(),
            generation,
            pid: std::process::id().cast_signed(),
        }
    }

    /// What a successor says to the predecessor that has sent this one.
    pub(super) fn answer(&self) -> Self {
        Self::new(self.generation.saturating_add(1))
    }

    /// The newest version that both sides speak, or why there is none.
    pub(crate) fn agree(&self) -> Result<Version, String> {
        if self.magic != MAGIC {
            return Err("it does not speak the handoff protocol".to_owned());
        }
        let newest = Version::newest_up_to(self.newest).filter(|version| version.number() >= self.oldest);
        newest.ok_or_else(|| {
            format!(
                "it speaks versions {} to {} of the handoff protocol and this process {} to {}: stop the service and \
                 start it again instead of restarting it",
                self.oldest,
                self.newest,
                Version::OLDEST.number(),
                Version::NEWEST.number()
            )
        })
    }
}

/// The key of TLS session tickets. Its memory is wiped when it is dropped.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    name: [u8; 16],
    secret: [u8; 32],
    made_at: u64,
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Not derived: a secret must not get into a log.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("made_at", &self.made_at).finish_non_exhaustive()
    }
}

impl From<&TicketKey> for Key {
    fn from(key: &TicketKey) -> Self {
        Self { name: key.name, secret: key.secret, made_at: key.made_at }
    }
}

impl From<&Key> for TicketKey {
    fn from(key: &Key) -> Self {
        Self { name: key.name, secret: key.secret, made_at: key.made_at }
    }
}

/// A listener, as version 1 offers it; its descriptor is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerV1 {
    pub(crate) server: String,
    /// The endpoint as it was configured.
    pub(crate) endpoint: String,
}

/// A listener, as version 2 offers it; its descriptor is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerV2 {
    pub(crate) server: String,
    /// The endpoint as it was configured.
    pub(crate) endpoint: String,
    /// Its connections speak TLS.
    pub(crate) secure: bool,
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

/// A connection, as version 1 sends it; its descriptor is attached.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionV1 {
    pub(crate) server: String,
    pub(crate) family: Family,
    pub(crate) stage: Stage,
    /// The bytes of its next request that were already read.
    pub(crate) ahead: Vec<u8>,
}

/// Not derived: the bytes may hold a cookie or a password, which must not get into a log.
impl std::fmt::Debug for ConnectionV1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server, family, stage, ahead } = self;
        let (family, stage, ahead) = (family, stage, ahead.len());
        f.debug_struct("ConnectionV1")
            .field("server", server)
            .field("family", family)
            .field("stage", stage)
            .field("ahead", &ahead)
            .finish()
    }
}

/// A connection, as version 2 sends it: with the listener that accepted it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionV2 {
    /// The number of the listener, counted from 1 in the order in which they were offered. None if only an earlier
    /// generation had the listener.
    pub(crate) listener: Option<NonZeroU16>,
    pub(crate) connection: ConnectionV1,
}

/// A connection, as version 3 sends it: with its TLS session, if it has one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionV3 {
    pub(crate) connection: ConnectionV2,
    pub(crate) session: Option<Session>,
}

impl From<ConnectionV1> for ConnectionV3 {
    fn from(connection: ConnectionV1) -> Self {
        ConnectionV2 { listener: None, connection }.into()
    }
}

impl From<ConnectionV2> for ConnectionV3 {
    fn from(connection: ConnectionV2) -> Self {
        Self { connection, session: None }
    }
}

/// A connection, as version 7 sends it: with its PROXY header.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionV7 {
    pub(crate) connection: ConnectionV3,
    pub(crate) proxy_header: ProxyHeader,
}

/// A connection, as version 8 sends it: with the certificates that its client has shown.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionV8 {
    pub(crate) connection: ConnectionV7,
    /// In DER, its own first; none if it has shown none.
    pub(crate) client_chain: Vec<Vec<u8>>,
}

/// Not derived: the bytes tell a reader nothing.
impl std::fmt::Debug for ConnectionV8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { connection, client_chain } = self;
        f.debug_struct("ConnectionV8")
            .field("connection", connection)
            .field("client_chain", &client_chain.len())
            .finish()
    }
}

/// The PROXY header of a connection.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProxyHeader {
    /// It has none.
    None,
    /// It has not come whole. What has come of it is among the bytes that were read ahead.
    Owed,
    /// As it was read.
    Read(Vec<u8>),
}

/// Not derived: a header has up to 8 KiB of whatever a proxy says.
impl std::fmt::Debug for ProxyHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Owed => f.write_str("Owed"),
            Self::Read(bytes) => f.debug_tuple("Read").field(&bytes.len()).finish(),
        }
    }
}

/// From the predecessor to the successor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToSuccessor {
    /// The keys of TLS session tickets.
    TicketKeys { keys: Vec<Key> },
    /// Version 1: listeners, their descriptors attached. After the `last` one nothing is missing.
    Listeners { listeners: Vec<ListenerV1>, last: bool },
    /// The predecessor has stopped accepting, and the successor begins. So many connections of each server still count
    /// against its limit.
    Commit { held: Vec<ServerCount> },
    /// Version 1: live connections. Each is known by its place in the order of all that were sent, counted from 1.
    Connections { connections: Vec<ConnectionV1> },
    /// Version 1: connections of each server that still count against its limit.
    Held { held: Vec<ServerCount> },
    /// The predecessor keeps no duplicates any more: nothing goes back.
    StandbyOver,
    /// The last message of the predecessor.
    Done,
    /// Version 2: listeners, their descriptors attached. After the `last` one nothing is missing.
    Offers { listeners: Vec<ListenerV2>, last: bool },
    /// Version 2: live connections; the first descriptor is their ownership token. Each is known by its place in the
    /// order of all that were sent, counted from 1.
    Batch { number: u32, connections: Vec<ConnectionV2> },
    /// Version 2: asks for a [`ToPredecessor::Pong`] with this number.
    Ping { number: u32 },
    /// Version 2: connections of each server that still count against its limit. They include the permits in `asked`,
    /// which the predecessor may use only once they are granted.
    Counts { number: u32, held: Vec<ServerCount>, asked: Vec<ServerCount> },
    /// Version 3: the same as [`Batch`](Self::Batch), for connections that may have TLS sessions.
    BatchV3 { number: u32, connections: Vec<ConnectionV3> },
    /// Version 4: what a room has to tell, by name; its descriptors are attached. Before the listeners, or after the
    /// commit. A name that is not known is ignored.
    Parcel { name: String, data: Vec<u8> },
    /// Version 7: the same as [`Batch`](Self::Batch), for connections that may have TLS sessions and PROXY headers.
    BatchV7 { number: u32, connections: Vec<ConnectionV7> },
    /// Version 8: the same as [`Batch`](Self::Batch), for connections whose clients may have shown certificates, too.
    BatchV8 { number: u32, connections: Vec<ConnectionV8> },
}

/// From the successor to the predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToPredecessor {
    /// The successor can serve. It takes the connections of these servers, and has the listeners with these indices in
    /// the order of all that were sent.
    Ready { servers: Vec<String>, claimed: Vec<u32> },
    /// The successor can't serve, and why.
    Failed { reason: String },
    /// Version 1: so many connections of the last [`ToSuccessor::Connections`] were taken; the others found no room.
    Taken { count: u32 },
    /// A connection that moved has a request under way: it can't go back.
    Busy { id: u32 },
    /// A connection that moved is idle again.
    Idle { id: u32 },
    /// The successor has a successor: nothing can go back from now on.
    HasSuccessor,
    /// The successor ends by its own decision.
    Exiting,
    /// Version 2: so many connections of the batch with this number were taken; the others found no room, or had been
    /// withdrawn.
    TakenOf { number: u32, count: u32 },
    /// Version 2: answers the [`ToSuccessor::Ping`] with this number.
    Pong { number: u32 },
    /// Version 2: grants so many of the permits that [`ToSuccessor::Counts`] with this number asked for.
    Granted { number: u32, granted: ServerCount },
    /// Version 4: the same as [`ToSuccessor::Parcel`], after the commit.
    Parcel { name: String, data: Vec<u8> },
    /// Version 8: the same as [`Ready`](Self::Ready). Of the servers in `with_client_certs` it takes connections over TLS only if
    /// their clients have shown certificates.
    ReadyV8 { servers: Vec<String>, claimed: Vec<u32>, with_client_certs: Vec<String> },
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
