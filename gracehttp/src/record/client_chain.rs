//! The certificates that a client has shown.

use std::fmt;

use tokio_rustls::rustls::pki_types::CertificateDer;

/// The longest chain that rests and moves with its session. A usual one has some KiB.
const LONGEST_AT_REST: usize = 16 << 10;

/// What a certificate takes in memory and in a message beside its bytes, at most.
const OVERHEAD: usize = 32;

/// The certificate of a client, and those that lead from it to an authority. The handshake has verified them.
#[derive(PartialEq, Eq)]
pub(crate) struct ClientChain(Box<[CertificateDer<'static>]>);

impl ClientChain {
    /// The client's own certificate is the first; without one there is no chain.
    pub(crate) fn new(certificates: Vec<CertificateDer<'static>>) -> Option<Self> {
        (!certificates.is_empty()).then(|| Self(certificates.into()))
    }

    /// The client's own certificate, in DER.
    pub(crate) fn own(&self) -> &[u8] {
        self.0.first().map_or(&[], |own| own)
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// How many bytes it takes in memory and in a message, at most.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|certificate| certificate.len() + OVERHEAD).sum()
    }

    /// Whether it is short enough to rest and to move.
    pub(crate) fn can_rest(&self) -> bool {
        self.size() <= LONGEST_AT_REST
    }
}

/// Not derived: the bytes tell a reader nothing.
impl fmt::Debug for ClientChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientChain").field(&self.0.len()).finish()
    }
}
