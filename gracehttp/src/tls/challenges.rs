//! Handshakes by which an authority finds out whether a name leads here (TLS-ALPN-01, RFC 8737).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::rustls::server::ClientHello;
use tokio_rustls::rustls::sign::CertifiedKey;

/// The protocol of such a handshake.
pub(super) const PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates that answer challenges, by the name that is asked for. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges(Arc<RwLock<HashMap<String, Arc<CertifiedKey>>>>);

impl Challenges {
    /// Answers challenges of this name until it is removed again.
    #[cfg_attr(not(any(test, feature = "acme")), expect(dead_code, reason = "an authority sets them"))]
    pub(crate) fn set(&self, name: &str, certificate: Arc<CertifiedKey>) {
        self.0.write().insert(name.to_ascii_lowercase(), certificate);
    }

    #[cfg_attr(not(any(test, feature = "acme")), expect(dead_code, reason = "an authority removes them"))]
    pub(crate) fn remove(&self, name: &str) {
        self.0.write().remove(&name.to_ascii_lowercase());
    }

    pub(super) fn answer(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.read().get(&name.to_ascii_lowercase()).cloned()
    }

    /// Only while a challenge is expected does the server offer their protocol.
    pub(super) fn are_expected(&self) -> bool {
        !self.0.read().is_empty()
    }
}

/// Whether a client offers the protocol of challenges, and nothing else (RFC 8737 section 3).
pub(super) fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| offered.next() == Some(PROTOCOL) && offered.next().is_none())
}
