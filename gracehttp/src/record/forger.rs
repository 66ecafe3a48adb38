//! A client that seals any content. For tests, and for the fuzz target.

use crate::record::aead::{Key, TAG_LENGTH};
use crate::record::at_rest::{DirectionParts, SessionParts};
use crate::record::header::{Header, content_type};
use crate::record::suite::{Suite, Version};

/// A suite of each version and cipher.
pub(super) const SUITES: [Suite; 6] = [
    Suite::Tls13Aes128Gcm,
    Suite::Tls13Aes256Gcm,
    Suite::Tls13ChaCha20Poly1305,
    Suite::Tls12EcdsaAes128Gcm,
    Suite::Tls12EcdsaAes256Gcm,
    Suite::Tls12EcdsaChaCha20Poly1305,
];

/// The client's end of a session.
pub(super) struct Forger {
    suite: Suite,
    key: Key,
    pub(super) client: DirectionParts,
}

impl Forger {
    /// The client of the session that these are the parts of.
    pub(super) fn new(parts: &SessionParts) -> Self {
        let client = DirectionParts { secret: parts.client.secret.copied(), sequence: parts.client.sequence };
        Self { suite: parts.suite, key: Key::new(parts.suite, &client.secret), client }
    }

    /// A record with this content, at most 2^16 bytes of it.
    pub(super) fn record(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        match self.suite.version() {
            Version::Tls13 => self.inner(&[content, &[content_type]].concat()),
            Version::Tls12 => self.sealed(content_type, content),
        }
    }

    /// A record of TLS 1.3 with this TLSInnerPlaintext (RFC 8446 section 5.2).
    pub(super) fn inner(&mut self, inner: &[u8]) -> Vec<u8> {
        self.sealed(content_type::APPLICATION_DATA, inner)
    }

    fn sealed(&mut self, content_type: u8, plain: &[u8]) -> Vec<u8> {
        let sequence = self.client.take_sequence().expect("a number is left");
        let nonce = self.key.nonce(sequence);
        let explicit = &nonce[12 - self.suite.explicit_nonce_length()..];
        let header = Header::new(content_type, explicit.len() + plain.len() + TAG_LENGTH);
        let mut sealed = plain.to_vec();
        let tag = match self.suite.version() {
            Version::Tls13 => self.key.seal(nonce, &header.0, &mut sealed),
            Version::Tls12 => {
                self.key.seal(nonce, &header.tls12_additional_data(sequence, plain.len()), &mut sealed)
            }
        };
        [&header.0[..], explicit, &sealed, &tag.expect("a record is short")].concat()
    }

    /// A KeyUpdate, after which the client uses its next key.
    pub(super) fn key_update(&mut self, request: u8) -> Vec<u8> {
        let record = self.record(content_type::HANDSHAKE, &[24, 0, 0, 1, request]);
        self.renew();
        record
    }

    pub(super) fn renew(&mut self) {
        self.client.renew(self.suite);
        self.key = Key::new(self.suite, &self.client.secret);
    }
}
