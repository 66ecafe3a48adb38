//! One AEAD key. No other file calls the cipher.

use zeroize::Zeroizing;

use crate::record::keys::{IV_LENGTH, KeyAndIv, Secret};
use crate::record::provider::aead;
#[cfg(test)]
use crate::record::recorder;
use crate::record::suite::Suite;

pub(super) const TAG_LENGTH: usize = 16;

pub(super) type Nonce = [u8; IV_LENGTH];

/// The authenticity of a record could not be confirmed.
#[derive(Debug)]
pub(super) struct NotAuthentic;

/// A key for one direction of a session.
///
/// The provider keeps the expanded key. aws-lc wipes it when it is dropped, ring does not.
pub(super) struct Key {
    key: aead::LessSafeKey,
    iv: Zeroizing<[u8; IV_LENGTH]>,
    #[cfg(test)]
    identity: (Vec<u8>, Nonce),
}

impl Key {
    /// The key that follows from a secret that fits the suite.
    pub(super) fn new(suite: Suite, secret: &Secret) -> Self {
        Self::of(suite, &KeyAndIv::of(suite, secret))
    }

    /// The key of this suite with this material.
    pub(super) fn of(suite: Suite, material: &KeyAndIv) -> Self {
        let key = aead::UnboundKey::new(suite.cipher().algorithm(), material.key());
        Self {
            key: aead::LessSafeKey::new(key.expect("the key has the length of its algorithm")),
            iv: Zeroizing::new(*material.iv()),
            #[cfg(test)]
            identity: recorder::identity(material),
        }
    }

    /// The nonce of a record: its sequence number, padded to the length of the IV, in exclusive or with the IV (RFC 8446
    /// section 5.3, RFC 7905 section 2). AES-GCM in TLS 1.2 leaves the last 8 bytes to the sender (RFC 5288 section
    /// 3), which makes them in the same way here.
    pub(super) fn nonce(&self, sequence: u64) -> Nonce {
        let mut nonce = *self.iv;
        for (byte, number) in nonce[IV_LENGTH - 8..].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// The nonce of a record that brings the last 8 bytes of its nonce (RFC 5288 section 3).
    pub(super) fn nonce_with(&self, explicit: &[u8; 8]) -> Nonce {
        let mut nonce = *self.iv;
        nonce[IV_LENGTH - 8..].copy_from_slice(explicit);
        nonce
    }

    /// Seals in place and returns the tag. A nonce must never be used for two calls.
    pub(super) fn seal(
        &self,
        nonce: Nonce,
        additional_data: &[u8],
        plain: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], NotAuthentic> {
        #[cfg(test)]
        recorder::record(&self.identity, nonce);
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_separate_tag(nonce, aead::Aad::from(additional_data), plain);
        sealed.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(NotAuthentic)
    }

    /// Opens in place what is followed by its tag.
    pub(super) fn open(
        &self,
        nonce: Nonce,
        additional_data: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, aead::Aad::from(additional_data), sealed);
        opened.map(|_| ()).map_err(|_| NotAuthentic)
    }
}
