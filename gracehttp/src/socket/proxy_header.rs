//! What is known of the PROXY header of a connection, in whichever process it is.

use std::sync::Arc;

use crate::proxy::{Header, Networks, Peer};

/// The PROXY header of a connection. A moved connection keeps what its first process has decided, although the list of
/// the successor may say otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) enum ProxyHeader {
    /// It has to come if the peer is listed, and was not read.
    #[default]
    AsListed,
    /// It has to come, although the peer is not listed here.
    Owed,
    /// None has to come, although the peer is listed here.
    NotOwed,
    Read(Arc<Header>),
}

impl ProxyHeader {
    /// That of a connection from this peer, which owes one or not whatever the list says. The list is named wherever it
    /// says the same: that needs no memory in a parking lot.
    pub(crate) fn decided(is_owed: bool, listed: &Networks, peer: impl FnOnce() -> Peer) -> Self {
        match (is_owed, Self::AsListed.is_owed(listed, peer)) {
            (true, true) | (false, false) => Self::AsListed,
            (true, false) => Self::Owed,
            (false, true) => Self::NotOwed,
        }
    }

    /// One that another process has read; none if these bytes are no header.
    pub(crate) fn received(bytes: &[u8]) -> Option<Self> {
        let (header, length) = Header::read(bytes).ok().flatten()?;
        (length == bytes.len()).then(|| Self::Read(Arc::new(header)))
    }

    /// Whether a new connection from this peer has to begin with a header that was not read yet.
    pub(crate) fn is_owed(&self, listed: &Networks, peer: impl FnOnce() -> Peer) -> bool {
        match self {
            Self::AsListed => !listed.is_empty() && listed.contains(peer()),
            Self::Owed => true,
            Self::NotOwed | Self::Read(_) => false,
        }
    }

    /// The header, if it was read.
    pub(crate) fn read(&self) -> Option<&Arc<Header>> {
        match self {
            Self::Read(header) => Some(header),
            Self::AsListed | Self::Owed | Self::NotOwed => None,
        }
    }
    /// The client of a connection from this peer: the one that the header names, or the peer itself.
    pub(crate) fn client(&self, peer: Peer) -> Peer {
        let named = self.read().and_then(|header| header.addresses);
        named.map_or(peer, |addresses| Peer::Tcp(addresses.source))
    }
}
