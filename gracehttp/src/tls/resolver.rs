//! The certificate of one handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    has_refused: AtomicBool,
}

impl HandshakeResolver {
    pub(super) fn new(current: Arc<Current>, challenges: Challenges) -> Self {
        Self { current, challenges, has_refused: AtomicBool::new(false) }
    }

    /// Who may be a client, as this handshake has found it.
    pub(super) fn clients(&self) -> Option<&Clients> {
        self.current.clients.as_ref()
    }

    /// Whether the client has asked for a name of which there is no certificate.
    pub(super) fn has_refused(&self) -> bool {
        self.has_refused.load(Ordering::Relaxed)
    }
}

impl ResolvesServerCert for HandshakeResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = match is_challenge(&hello) {
            true => hello.server_name().and_then(|name| self.challenges.answer(name)),
            false => self.current.set.choose(hello.server_name(), hello.signature_schemes()).cloned(),
        };
        self.has_refused.store(chosen.is_none(), Ordering::Relaxed);
        chosen
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
