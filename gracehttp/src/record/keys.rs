//! Secrets, and the keys that follow from them.

use zeroize::{Zeroize as _, Zeroizing};

use crate::record::provider::hkdf;
use crate::record::suite::{Suite, Version};

pub(super) const IV_LENGTH: usize = 12;
const MAX_KEY_LENGTH: usize = 32;

/// Up to 48 bytes of key material. In TLS 1.3 it is a traffic secret; in TLS 1.2 it is the key, then the IV of 12 bytes
/// as rustls extracts it. Wiped when it is dropped.
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

    /// Whether keys of this suite can follow from it.
    pub(super) fn fits(&self, suite: Suite) -> bool {
        self.bytes().len() == secret_length(suite)
    }

    /// A copy for the process that the session is sent to.
    pub(super) fn copied(&self) -> Self {
        Self { ..*self }
    }

    pub(super) fn wipe(&mut self) {
        self.bytes.zeroize();
    }

    /// Becomes the next traffic secret (RFC 8446 section 7.2).
    pub(super) fn advance(&mut self, suite: Suite) {
        let mut next = Zeroizing::new([0; 48]);
        expand_label(&self.prk(suite), b"traffic upd", &mut next[..self.length.into()]);
        self.bytes = *next;
    }

    /// The traffic secret as a pseudorandom key of HKDF (RFC 5869 section 2.3).
    fn prk(&self, suite: Suite) -> hkdf::Prk {
        hkdf::Prk::new_less_safe(suite.hkdf(), self.bytes())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Not derived: a secret must not get into a log.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// An AEAD key and the IV of its nonces. Wiped when it is dropped.
pub(super) struct KeyAndIv {
    key: Zeroizing<[u8; MAX_KEY_LENGTH]>,
    key_length: usize,
    iv: Zeroizing<[u8; IV_LENGTH]>,
}

impl KeyAndIv {
    /// The key and IV of a secret that fits the suite: expanded from it in TLS 1.3 (RFC 8446 section 7.3), parts of it
    /// in TLS 1.2.
    pub(super) fn of(suite: Suite, secret: &Secret) -> Self {
        let key_length = suite.cipher().key_length();
        let mut key = Zeroizing::new([0; MAX_KEY_LENGTH]);
        let mut iv = Zeroizing::new([0; IV_LENGTH]);
        match suite.version() {
            Version::Tls13 => {
                let prk = secret.prk(suite);
                expand_label(&prk, b"key", &mut key[..key_length]);
                expand_label(&prk, b"iv", &mut iv[..]);
            }
            Version::Tls12 => {
                key[..key_length].copy_from_slice(&secret.bytes()[..key_length]);
                iv.copy_from_slice(&secret.bytes()[key_length..]);
            }
        }
        Self { key, key_length, iv }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key[..self.key_length]
    }

    pub(super) fn iv(&self) -> &[u8; IV_LENGTH] {
        &self.iv
    }
}

/// How long the secrets of a suite are.
pub(super) fn secret_length(suite: Suite) -> usize {
    match suite.version() {
        Version::Tls13 => suite.hash_length(),
        Version::Tls12 => suite.cipher().key_length() + IV_LENGTH,
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand_label(prk: &hkdf::Prk, label: &[u8], output: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let output_length = (output.len() as u16).to_be_bytes();
    let label_length = [(PREFIX.len() + label.len()) as u8];
    let info = [&output_length[..], &label_length, PREFIX, label, &[0]];
    prk.expand(&info, Length(output.len()))
        .and_then(|expanded| expanded.fill(output))
        .expect("an output is shorter than 255 hashes");
}

/// The length of an output of HKDF, in bytes.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
