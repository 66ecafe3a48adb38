//! A session that is not in use: it can be kept for long, and sent to another process.

use std::sync::Arc;

use crate::record::client_chain::ClientChain;
use crate::record::keys::Secret;
use crate::record::message::CutMessage;
use crate::record::session::Session;
use crate::record::suite::Suite;

/// An application protocol that was agreed on (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    Http11,
    H2,
}

/// What the handshake found out and handlers may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The server name that the client asked for (RFC 6066 section 3).
    pub(crate) sni: Option<Arc<str>>,
    pub(crate) alpn: Option<Alpn>,
    /// Who the client is, if it has shown a certificate.
    pub(crate) client: Option<Arc<ClientChain>>,
}

/// One direction of a session.
#[derive(Debug)]
pub(crate) struct DirectionParts {
    pub(crate) secret: Secret,
    /// The number of the next record under this secret.
    pub(crate) sequence: u64,
}

/// Everything that a session is made of, and all that travels to another process. Deliberately not `Clone`.
#[derive(Debug)]
pub(crate) struct SessionParts {
    pub(crate) suite: Suite,
    /// Of the records that the client sends.
    pub(crate) client: DirectionParts,
    /// Of the records that we send.
    pub(crate) server: DirectionParts,
    /// The client has asked us to renew our key (RFC 8446 section 4.6.3), and we have not yet.
    pub(crate) owes_key_update: bool,
    /// How many records in a row held no data of the application.
    pub(crate) without_data: u8,
    /// How many warning alerts came.
    pub(crate) warnings: u8,
    /// The client was told that there is no renegotiation.
    pub(crate) refused_renegotiation: bool,
    /// A handshake message that has not come whole.
    pub(crate) message: CutMessage,
    pub(crate) facts: Facts,
    /// The beginning of a record that has not come whole.
    pub(crate) cut: Box<[u8]>,
}

/// What a parked connection keeps of its session, beside the server name and the chain of its client.
const _: () = assert!(size_of::<PackedSession>() <= 192);

/// A session at rest. Deliberately not `Clone`: waking and sending consume it.
#[derive(Debug)]
pub(crate) struct SessionAtRest {
    parts: Box<SessionParts>,
}

/// A session at rest without a place of its own on the heap, so that many can lie together. Deliberately not `Clone`.
#[derive(Debug)]
pub(crate) struct PackedSession(SessionParts);

/// A session that was sent to another process, which may or may not have taken it. It seals and opens nothing. It is
/// dropped, or becomes a session at rest again if the other process has not taken it.
#[derive(Debug)]
pub(crate) struct SentSession {
    session: SessionAtRest,
}

/// The secrets are not of the length that the suite has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongSecret;

impl SessionParts {
    /// The parts of a session right after its handshake.
    pub(super) fn new(suite: Suite, client: DirectionParts, server: DirectionParts, facts: Facts) -> Self {
        Self {
            suite,
            client,
            server,
            owes_key_update: false,
            without_data: 0,
            warnings: 0,
            refused_renegotiation: false,
            message: CutMessage::default(),
            facts,
            cut: Box::default(),
        }
    }

    /// The same parts in other memory. These here are wiped: a plain move would leave the secrets in what it moves from.
    fn moved(&mut self) -> Self {
        let moved = Self {
            message: std::mem::take(&mut self.message),
            facts: std::mem::take(&mut self.facts),
            cut: std::mem::take(&mut self.cut),
            ..self.secrets_copied()
        };
        self.client.secret.wipe();
        self.server.secret.wipe();
        moved
    }

    /// A copy without what has a default.
    fn secrets_copied(&self) -> Self {
        Self {
            client: self.client.copied(),
            server: self.server.copied(),
            message: CutMessage::default(),
            facts: Facts::default(),
            cut: Box::default(),
            ..*self
        }
    }
}

impl DirectionParts {
    /// The number for one record. It is taken before the record is sealed or opened, and stays taken if that fails, so
    /// no other record can get it. None if all numbers are taken.
    pub(super) fn take_sequence(&mut self) -> Option<u64> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1)?;
        Some(sequence)
    }

    /// Replaces the secret by the next one (RFC 8446 section 7.2).
    pub(super) fn renew(&mut self, suite: Suite) {
        self.secret.advance(suite);
        self.sequence = 0;
    }

    fn copied(&self) -> Self {
        Self { secret: self.secret.copied(), sequence: self.sequence }
    }
}

impl SessionAtRest {
    pub(super) fn new(parts: Box<SessionParts>) -> Self {
        Self { parts }
    }

    /// The session in use again, and the beginning of a record that it had read.
    pub(crate) fn wake(mut self) -> (Session, Vec<u8>) {
        let cut = std::mem::take(&mut self.parts.cut);
        (Session::of(self.parts), cut.into_vec())
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.parts.facts
    }

    /// From now on it is the session of an unknown client.
    pub(crate) fn forget_client(&mut self) {
        self.parts.facts.client = None;
    }

    /// The bytes of a record that has not come whole.
    pub(crate) fn cut(&self) -> &[u8] {
        &self.parts.cut
    }

    /// The one copy, for the process that the session is sent to.
    pub(crate) fn send(self) -> (SentSession, SessionParts) {
        let parts = &self.parts;
        let copy = SessionParts {
            message: parts.message.clone(),
            facts: parts.facts.clone(),
            cut: parts.cut.clone(),
            ..parts.secrets_copied()
        };
        (SentSession { session: self }, copy)
    }

    /// The same session for a place among others. `share` may replace facts by equal ones.
    pub(crate) fn pack(mut self, share: impl FnOnce(&mut Facts)) -> PackedSession {
        share(&mut self.parts.facts);
        PackedSession(self.parts.moved())
    }

    /// A session that came from another process.
    pub(crate) fn received(parts: SessionParts) -> Result<Self, WrongSecret> {
        let fits = |direction: &DirectionParts| direction.secret.fits(parts.suite);
        if !fits(&parts.client) || !fits(&parts.server) {
            return Err(WrongSecret);
        }
        Ok(Self::new(Box::new(parts)))
    }
}

impl PackedSession {
    /// Moves the session out. What remains holds no secret and is to be dropped.
    pub(crate) fn take(&mut self) -> SessionAtRest {
        SessionAtRest::new(Box::new(self.0.moved()))
    }
}

impl SentSession {
    /// The other process has not taken it, and never will.
    pub(crate) fn not_taken(self) -> SessionAtRest {
        self.session
    }
}
