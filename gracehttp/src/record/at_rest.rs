//! A session that is not in use: it can be kept for long, and sent to another process.

use zeroize::Zeroize as _;

use crate::record::session::{Facts, Session};
use crate::record::suite::Suite;

/// Up to 48 bytes of key material: a traffic secret of TLS 1.3; of TLS 1.2 the key, then the IV of 12 bytes as rustls
/// extracts it. Wiped when it is dropped.
pub(crate) struct Secret {
    bytes: [u8; 48],
    length: u8,
}

impl Secret {
    /// None if these are more than 48 bytes.
    pub(crate) fn new(material: &[u8]) -> Option<Self> {
        let mut bytes = [0; 48];
        bytes.get_mut(..material.len())?.copy_from_slice(material);
        Some(Self { bytes, length: material.len() as u8 })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length.into()]
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Not derived: a secret must not get into a log.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// One direction of a session.
#[derive(Debug)]
pub(crate) struct DirectionParts {
    pub(crate) secret: Secret,
    /// The number of the next record under this secret.
    pub(crate) sequence: u64,
}

impl DirectionParts {
    /// Whether this key and this IV belong to the secret: those of TLS 1.3 are derived from it (RFC 8446 section 7.3).
    pub(crate) fn has(&self, suite: Suite, key: &[u8], iv: &[u8]) -> bool {
        let _ = (suite, key, iv);
        unimplemented!()
    }
}

/// A session at rest. Purposefully not `Clone`: waking and sending consume it.
#[derive(Debug)]
pub(crate) struct SessionAtRest {
    parts: Box<SessionParts>,
}

/// Everything that travels to another process.
#[derive(Debug)]
pub(crate) struct SessionParts {
    /// The number of the suite.
    pub(crate) suite: u16,
    pub(crate) client: DirectionParts,
    pub(crate) server: DirectionParts,
    /// The client has asked us to renew our key (RFC 8446 section 4.6.3), and we have not yet.
    pub(crate) owes_key_update: bool,
    /// How many records without use came in a row.
    pub(crate) fruitless: u8,
    /// The client was told that there is no renegotiation.
    pub(crate) refused_renegotiation: bool,
    pub(crate) facts: Facts,
    /// The beginning of a record that has not come whole.
    pub(crate) cut: Vec<u8>,
}

/// A session that was sent to another process, which may or may not have taken it. It is dropped, or comes back to life
/// if the other process did not take it; it can't be used meanwhile.
#[derive(Debug)]
pub(crate) struct SentSession {
    session: SessionAtRest,
}

/// The suite of a session is not known to this program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownSuite(pub(crate) u16);

impl SessionAtRest {
    /// The session in use again, and the beginning of a record that it had read.
    pub(crate) fn wake(self) -> (Session, Vec<u8>) {
        let _ = self.parts;
        unimplemented!()
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.parts.facts
    }

    /// The bytes of a record that has not come whole.
    pub(crate) fn cut(&self) -> &[u8] {
        &self.parts.cut
    }

    /// The one copy for the process that the session is sent to.
    pub(crate) fn send(self) -> (SentSession, SessionParts) {
        unimplemented!()
    }

    /// A session that came from another process.
    pub(crate) fn received(parts: SessionParts) -> Result<Self, UnknownSuite> {
        Ok(Self { parts: Box::new(parts) })
    }
}

impl SentSession {
    /// The other process has not taken it, and never will.
    pub(crate) fn not_taken(self) -> SessionAtRest {
        self.session
    }
}
