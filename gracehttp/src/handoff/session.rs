//! A TLS session on its way to the successor.
//!
//! While a session travels, its secrets are also in these types and in the buffers of the channel. Both are wiped.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::record::{SentSession, SessionAtRest};

/// A session, as version 3 of the protocol carries it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The number of the suite.
    pub(super) suite: u16,
    /// Of the records that the client sends.
    pub(super) client: Direction,
    /// Of the records that go to the client.
    pub(super) server: Direction,
    pub(super) owes_key_update: bool,
    pub(super) without_data: u8,
    pub(super) warnings: u8,
    pub(super) refused_renegotiation: bool,
    pub(super) message: CutMessage,
    pub(super) sni: Option<String>,
    pub(super) alpn: Option<Alpn>,
    /// The beginning of a record that has not come whole.
    pub(super) cut: Vec<u8>,
}

/// One direction of a session.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Direction {
    pub(super) secret: Secret,
    /// The number of the next record.
    pub(super) sequence: u64,
}

/// The key material of a direction. It is on the heap, where it can be wiped: an array that moves leaves copies on the
/// stack.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secret(pub(super) Vec<u8>);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Not derived: a secret must not get into a log.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A handshake message that has not come whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CutMessage {
    /// What has come of its header.
    pub(super) header: Vec<u8>,
    /// How many bytes of its body have not come.
    pub(super) missing: u16,
}

/// The protocol that the client agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Alpn {
    Http11,
    H2,
}

/// Why a session that has arrived can't go on here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// A later release may know more suites.
    #[cfg(feature = "tls")]
    UnknownSuite(u16),
    /// No session has such secrets, or such a cut message.
    #[cfg(feature = "tls")]
    Invalid(&'static str),
    #[cfg(not(feature = "tls"))]
    WithoutTls,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            #[cfg(feature = "tls")]
            Self::UnknownSuite(number) => {
                write!(f, "this release does not know their cipher suite {number:#06x}")
            }
            #[cfg(feature = "tls")]
            Self::Invalid(what) => write!(f, "{what} makes no sense"),
            #[cfg(not(feature = "tls"))]
            Self::WithoutTls => f.write_str("this program was built without the feature `tls`"),
        }
    }
}

#[cfg(feature = "tls")]
mod conversion {
    use std::sync::Arc;

    use super::{Alpn, CutMessage, Direction, Secret, SentSession, Session, SessionAtRest, Unusable};
    use crate::record::{self, ClientChain, DirectionParts, Facts, SessionParts, Suite, WrongSecret};

    const WRONG_SECRET: Unusable = Unusable::Invalid("the length of a secret");

    impl Session {
        /// Turns a session into what remains here and the one copy that is sent.
        pub(in crate::handoff) fn of(session: SessionAtRest) -> (SentSession, Self) {
            let (sent, parts) = session.send();
            (sent, parts.into())
        }

        /// The session of a client that has shown these certificates, ready to go on here.
        pub(in crate::handoff) fn receive(
            self,
            client_chain: Vec<Vec<u8>>,
        ) -> Result<SessionAtRest, Unusable> {
            let mut parts = SessionParts::try_from(self)?;
            parts.facts.client = received(client_chain)?;
            SessionAtRest::received(parts).map_err(|WrongSecret| WRONG_SECRET)
        }
    }

    /// The certificates that the client of a session has shown, for a message beside that of the session.
    pub(in crate::handoff) fn client_chain(session: &SessionAtRest) -> Vec<Vec<u8>> {
        let client = session.facts().client.as_deref();
        let certificates = client.map_or(&[][..], ClientChain::certificates);
        certificates.iter().map(|certificate| certificate.to_vec()).collect()
    }

    fn received(client_chain: Vec<Vec<u8>>) -> Result<Option<Arc<ClientChain>>, Unusable> {
        let chain = ClientChain::new(client_chain.into_iter().map(Into::into).collect());
        match chain {
            Some(chain) if !chain.can_rest() => {
                Err(Unusable::Invalid("the length of a client's certificates"))
            }
            chain => Ok(chain.map(Arc::new)),
        }
    }

    /// How many bytes of a session depend on its client.
    pub(in crate::handoff) fn variable_size(session: &SessionAtRest) -> usize {
        let Facts { sni, client, .. } = session.facts();
        let client = client.as_ref().map_or(0, |client| client.size());
        sni.as_ref().map_or(0, |sni| sni.len()) + session.cut().len() + client
    }

    /// The session, which is ours again: the successor has not taken it, and never will.
    pub(in crate::handoff) fn not_taken(sent: SentSession) -> SessionAtRest {
        sent.not_taken()
    }

    impl From<SessionParts> for Session {
        fn from(parts: SessionParts) -> Self {
            let SessionParts {
                suite,
                client,
                server,
                owes_key_update,
                without_data,
                warnings,
                refused_renegotiation,
                message,
                // The client's certificates have a place of their own in the message.
                facts: Facts { sni, alpn, client: _ },
                cut,
            } = parts;
            Self {
                suite: suite.number(),
                client: client.into(),
                server: server.into(),
                owes_key_update,
                without_data,
                warnings,
                refused_renegotiation,
                message: CutMessage { header: message.header().to_vec(), missing: message.missing() },
                sni: sni.as_deref().map(str::to_owned),
                alpn: alpn.map(Into::into),
                cut: cut.into(),
            }
        }
    }

    impl TryFrom<Session> for SessionParts {
        type Error = Unusable;

        fn try_from(session: Session) -> Result<Self, Unusable> {
            let Session {
                suite,
                client,
                server,
                owes_key_update,
                without_data,
                warnings,
                refused_renegotiation,
                message: CutMessage { header, missing },
                sni,
                alpn,
                cut,
            } = session;
            let message = record::CutMessage::new(&header, missing);
            Ok(Self {
                suite: Suite::from_number(suite).ok_or(Unusable::UnknownSuite(suite))?,
                client: client.try_into()?,
                server: server.try_into()?,
                owes_key_update,
                without_data,
                warnings,
                refused_renegotiation,
                message: message.ok_or(Unusable::Invalid("a cut message"))?,
                facts: Facts { sni: sni.map(Into::into), alpn: alpn.map(Into::into), client: None },
                cut: cut.into(),
            })
        }
    }

    impl From<DirectionParts> for Direction {
        fn from(DirectionParts { secret, sequence }: DirectionParts) -> Self {
            Self { secret: Secret(secret.bytes().to_vec()), sequence }
        }
    }

    impl TryFrom<Direction> for DirectionParts {
        type Error = Unusable;

        fn try_from(Direction { secret, sequence }: Direction) -> Result<Self, Unusable> {
            let secret = record::Secret::new(&secret.0).ok_or(WRONG_SECRET)?;
            Ok(Self { secret, sequence })
        }
    }

    impl From<record::Alpn> for Alpn {
        fn from(alpn: record::Alpn) -> Self {
            match alpn {
                record::Alpn::Http11 => Self::Http11,
                record::Alpn::H2 => Self::H2,
            }
        }
    }

    impl From<Alpn> for record::Alpn {
        fn from(alpn: Alpn) -> Self {
            match alpn {
                Alpn::Http11 => Self::Http11,
                Alpn::H2 => Self::H2,
            }
        }
    }
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::needless_pass_by_value, reason = "the functions are those of the feature")]
mod conversion {
    use super::{SentSession, Session, SessionAtRest, Unusable};

    impl Session {
        pub(in crate::handoff) fn of(session: SessionAtRest) -> (SentSession, Self) {
            match session {}
        }

        pub(in crate::handoff) fn receive(self, _: Vec<Vec<u8>>) -> Result<SessionAtRest, Unusable> {
            Err(Unusable::WithoutTls)
        }
    }

    pub(in crate::handoff) fn client_chain(session: &SessionAtRest) -> Vec<Vec<u8>> {
        match *session {}
    }

    pub(in crate::handoff) fn variable_size(session: &SessionAtRest) -> usize {
        match *session {}
    }

    pub(in crate::handoff) fn not_taken(sent: SentSession) -> SessionAtRest {
        match sent {}
    }
}

pub(super) use conversion::{client_chain, not_taken, variable_size};
