//! The certificate of one handshake.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::tls::challenges::{Challenges, is_challenge};
use crate::tls::clients::Clients;
use crate::tls::presented::Current;

/// Chooses the certificate of one handshake, and notes if there is none for the client.
#[derive(Debug)]
pub(super) struct HandshakeResolver {
    current: Arc<Current>,
    challenges: Challenges,
    refused: OnceLock<Refused>,
}

/// What a client has asked for, if there is no certificate for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A name.
    Name,
    /// The certificate of a challenge that is not under way.
    Challenge,
}

impl HandshakeResolver {
    pub(super) fn new(current: Arc<Current>, challenges: Challenges) -> Self {
        Self { current, challenges, refused: OnceLock::new() }
    }

    /// Who may be a client, as this handshake has found it.
    pub(super) fn clients(&self) -> Option<&Clients> {
        self.current.clients.as_ref()
    }

    /// Why the client was refused, if it was.
    pub(super) fn refused(&self) -> Option<Refused> {
        self.refused.get().copied()
    }
}

impl ResolvesServerCert for HandshakeResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (chosen, refused) = match is_challenge(&hello) {
            true => (hello.server_name().and_then(|name| self.challenges.answer(name)), Refused::Challenge),
            false => {
                let set = &self.current.set;
                (set.choose(hello.server_name(), hello.signature_schemes()).cloned(), Refused::Name)
            }
        };
        if chosen.is_none() {
            self.refused.get_or_init(|| refused);
        }
        chosen
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
