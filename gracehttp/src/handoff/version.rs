//! The versions of the handoff protocol, and what each of them can do.
//!
//! A new version is one more variant, and a question here about what it adds. The other files ask these questions, and
//! compare no versions.

use crate::handoff::wire::MAX_MESSAGE;
use crate::sys::MAX_FDS;

/// The version of the protocol that the two sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Version {
    /// That of the first release. It waits without end for a process that does not respond.
    One = 1,
    /// The predecessor pings and asks for permits, batches can be withdrawn, and connections name their listener.
    Two,
    /// Connections take their TLS sessions along.
    Three,
    /// Parcels: named messages between other rooms of the two processes.
    Four,
    /// Large batches: as many connections as one message carries descriptors.
    Five,
    /// A batch is sent before the one before it is confirmed.
    Six,
    /// Connections take their PROXY headers along.
    Seven,
    /// Connections take the certificates of their clients along.
    Eight,
}

/// The versions that this release speaks, oldest first.
const SPOKEN: [Version; 8] = [
    Version::One,
    Version::Two,
    Version::Three,
    Version::Four,
    Version::Five,
    Version::Six,
    Version::Seven,
    Version::Eight,
];

impl Version {
    pub(crate) const OLDEST: Self = SPOKEN[0];
    pub(crate) const NEWEST: Self = SPOKEN[SPOKEN.len() - 1];

    /// As it is written to the channel.
    pub(crate) const fn number(self) -> u16 {
        self as u16
    }

    /// The newest one up to this number, which may be that of a later release.
    pub(crate) fn newest_up_to(number: u16) -> Option<Self> {
        SPOKEN.into_iter().rfind(|version| version.number() <= number)
    }

    const fn has_what_came_with(self, other: Self) -> bool {
        self.number() >= other.number()
    }

    /// The predecessor pings, and the successor answers.
    pub(crate) const fn pings(self) -> bool {
        self.has_what_came_with(Self::Two)
    }

    /// The predecessor asks for permits, and the successor grants them.
    pub(crate) const fn grants_permits(self) -> bool {
        self.has_what_came_with(Self::Two)
    }

    /// A listener is offered with what is spoken on it, and a connection names the listener that accepted it.
    pub(crate) const fn describes_listeners(self) -> bool {
        self.has_what_came_with(Self::Two)
    }

    /// Batches have numbers, and tokens by which the predecessor can withdraw them.
    pub(crate) const fn withdraws_batches(self) -> bool {
        self.has_what_came_with(Self::Two)
    }

    /// Connections take their TLS sessions along.
    pub(crate) const fn moves_sessions(self) -> bool {
        self.has_what_came_with(Self::Three)
    }

    /// Parcels come and go.
    pub(crate) const fn has_parcels(self) -> bool {
        self.has_what_came_with(Self::Four)
    }

    /// Connections take their PROXY headers along.
    pub(crate) const fn moves_proxy_headers(self) -> bool {
        self.has_what_came_with(Self::Seven)
    }

    /// Connections take the certificates of their clients along, and the successor says which of its servers require one.
    pub(crate) const fn moves_client_certs(self) -> bool {
        self.has_what_came_with(Self::Eight)
    }

    /// How many bytes of its next request a connection may take along.
    pub(crate) const fn max_ahead(self) -> usize {
        if self.has_what_came_with(Self::Two) { 64 << 10 } else { 32 << 10 }
    }

    /// The largest message that the other side receives, in bytes.
    pub(crate) const fn max_message(self) -> usize {
        if self.has_what_came_with(Self::Two) { MAX_MESSAGE } else { 64 << 10 }
    }

    /// How many connections go in one batch, with one descriptor each beside that of the token.
    ///
    /// Both processes sleep once for each batch, so large ones save most of the time of a hand-over.
    pub(crate) const fn max_batch(self) -> usize {
        if self.has_what_came_with(Self::Five) { MAX_FDS - 1 } else { 64 }
    }

    /// How many batches may be sent and not confirmed yet.
    ///
    /// While the successor takes one in, the next one comes: so neither process sleeps between two of them. An earlier
    /// successor drops the TLS sessions of a batch if the next one comes before it could confirm it.
    pub(crate) const fn max_unconfirmed(self) -> usize {
        if self.has_what_came_with(Self::Six) { 2 } else { 1 }
    }
}
