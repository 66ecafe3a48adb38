//! From the end of the handshake to the first record.

use tokio_rustls::rustls::{ConnectionTrafficSecrets, ExtractedSecrets, SupportedCipherSuite};
use zeroize::Zeroizing;

use crate::record::aead::Key;
use crate::record::at_rest::{DirectionParts, Facts, SessionParts};
use crate::record::keys::{KeyAndIv, Secret};
use crate::record::suite::{Cipher, Suite, Version};

/// What the handshake leaves: everything that the record layer needs.
pub(crate) struct Established {
    pub(super) parts: Box<SessionParts>,
    /// The keys of the two secrets. To derive them takes a large part of the time of this step, so they are kept.
    pub(super) opening: Key,
    pub(super) sealing: Key,
}

/// Not derived: keys must not get into a log.
impl std::fmt::Debug for Established {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Established").field("parts", &self.parts).finish_non_exhaustive()
    }
}

/// The first traffic secrets of TLS 1.3, which a handshake logs as `CLIENT_TRAFFIC_SECRET_0` and
/// `SERVER_TRAFFIC_SECRET_0`.
#[derive(Debug)]
pub(crate) struct TrafficSecrets {
    pub(crate) client: Secret,
    pub(crate) server: Secret,
}

/// The handshake's results do not make a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotEstablished {
    UnknownSuite(u16),
    /// A traffic secret is missing, or the keys that follow from it are not those of the handshake.
    WrongSecret,
    /// rustls has opened records that followed the handshake. Their data is lost.
    Late,
}

impl Established {
    /// `extracted` comes from the handshake as soon as it is complete. `traffic_secrets` are those of TLS 1.3; keys of
    /// TLS 1.2 never change, so key and IV are all that is needed. `after_change` is how many records of the client came
    /// in the handshake after its ChangeCipherSpec.
    pub(crate) fn new(
        suite: SupportedCipherSuite,
        extracted: &ExtractedSecrets,
        traffic_secrets: Option<TrafficSecrets>,
        after_change: u64,
        facts: Facts,
    ) -> Result<Self, NotEstablished> {
        let unknown = NotEstablished::UnknownSuite(suite.suite().into());
        let suite = Suite::negotiated(suite).ok_or(unknown)?;
        let (sent, ours) = &extracted.tx;
        let (received, theirs) = &extracted.rx;
        if *received != first_sequence(suite, after_change) {
            return Err(NotEstablished::Late);
        }
        let secrets = match suite.version() {
            Version::Tls13 => traffic_secrets,
            Version::Tls12 => key_and_iv(suite, theirs)
                .zip(key_and_iv(suite, ours))
                .map(|(client, server)| TrafficSecrets { client, server }),
        };
        let TrafficSecrets { client, server } = secrets.ok_or(NotEstablished::WrongSecret)?;
        let opening = checked_key(suite, &client, theirs).ok_or(NotEstablished::WrongSecret)?;
        let sealing = checked_key(suite, &server, ours).ok_or(NotEstablished::WrongSecret)?;
        let client = DirectionParts { secret: client, sequence: *received };
        let server = DirectionParts { secret: server, sequence: *sent };
        let parts = SessionParts::new(suite, client, server, facts);
        Ok(Self { parts: Box::new(parts), opening, sealing })
    }
}

/// The number of the client's first record after the handshake. In TLS 1.2 the records before, its Finished in one or
/// several parts (RFC 5246 section 6.2.1), were sealed under the same key.
fn first_sequence(suite: Suite, after_change: u64) -> u64 {
    match suite.version() {
        Version::Tls13 => 0,
        Version::Tls12 => after_change,
    }
}

/// The key that follows from the secret, if it is the one that rustls has derived, too.
fn checked_key(suite: Suite, secret: &Secret, extracted: &ConnectionTrafficSecrets) -> Option<Key> {
    let (key, iv) = bytes(suite, extracted).filter(|_| secret.fits(suite))?;
    let derived = KeyAndIv::of(suite, secret);
    (derived.key() == key && derived.iv() == iv).then(|| Key::of(suite, &derived))
}

/// Key and IV of TLS 1.2 in one. The IV of AES-GCM is 12 bytes here: the 4 of the key block, and 8 from which the explicit
/// part of each nonce is made.
fn key_and_iv(suite: Suite, extracted: &ConnectionTrafficSecrets) -> Option<Secret> {
    let (key, iv) = bytes(suite, extracted)?;
    let mut both = Zeroizing::new([0; 48]);
    let both = both.get_mut(..key.len() + iv.len())?;
    both[..key.len()].copy_from_slice(key);
    both[key.len()..].copy_from_slice(iv);
    Secret::new(both).filter(|secret| secret.fits(suite))
}

/// Key and IV, if they are for the cipher of the suite.
fn bytes(suite: Suite, extracted: &ConnectionTrafficSecrets) -> Option<(&[u8], &[u8])> {
    let (cipher, key, iv) = match extracted {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Cipher::ChaCha20Poly1305, key, iv),
        _ => return None,
    };
    (cipher == suite.cipher()).then_some((key.as_ref(), iv.as_ref()))
}
