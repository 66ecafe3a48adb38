//! One AEAD key. No other file calls the cipher.

#[cfg(not(feature = "aws-lc-rs"))]
use std::sync::LazyLock;

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

/// A key for one direction of a session. Wiped when it is dropped.
///
/// The provider's expanded key is on the heap, where it is wiped: a value that moves leaves a copy behind.
pub(super) struct Key {
    key: Box<aead::LessSafeKey>,
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
            key: Box::new(aead::LessSafeKey::new(key.expect("the key has the length of its algorithm"))),
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

/// aws-lc wipes a key itself. ring does not, so another key is written over it.
#[cfg(not(feature = "aws-lc-rs"))]
impl Drop for Key {
    fn drop(&mut self) {
        *self.key = blank(self.key.algorithm()).clone();
        // Without this, the compiler may leave out a write that nothing reads.
        std::hint::black_box(&self.key);
    }
}

/// A key that is no secret.
#[cfg(not(feature = "aws-lc-rs"))]
fn blank(algorithm: &'static aead::Algorithm) -> &'static aead::LessSafeKey {
    static BLANKS: LazyLock<[aead::LessSafeKey; 3]> = LazyLock::new(|| {
        [&aead::AES_128_GCM, &aead::AES_256_GCM, &aead::CHACHA20_POLY1305].map(|algorithm| {
            let key = aead::UnboundKey::new(algorithm, &[0; 32][..algorithm.key_len()]);
            aead::LessSafeKey::new(key.expect("the key has the length of its algorithm"))
        })
    });
    let [aes_128, aes_256, chacha20] = &*BLANKS;
    match algorithm {
        _ if *algorithm == aead::AES_128_GCM => aes_128,
        _ if *algorithm == aead::AES_256_GCM => aes_256,
        _ => chacha20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::forger::SUITES;
    use crate::record::keys::secret_length;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    /// The bytes of a provider's key at this address, whoever uses them now, without the first ones, which an allocator
    /// writes to.
    fn memory(address: usize) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<aead::LessSafeKey>() - 16];
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, address as u64 + 16).unwrap();
        bytes
    }

    /// The providers keep the key itself before what they have expanded it to.
    #[test]
    fn a_key_is_not_in_memory_after_it_was_dropped() {
        for suite in SUITES {
            let secret: Vec<u8> = (101..101 + secret_length(suite) as u8).collect();
            let secret = Secret::new(&secret).unwrap();
            let material = KeyAndIv::of(suite, &secret);
            let (_, end) = material.key().split_at(material.key().len() - 8);
            let is_in = |memory: &[u8]| memory.windows(end.len()).any(|bytes| bytes == end);

            let key = Key::new(suite, &secret);
            let address = (&raw const *key.key).addr();
            #[cfg(not(feature = "aws-lc-rs"))]
            assert!(is_in(&memory(address)), "{suite:?}");
            drop(key);
            assert!(!is_in(&memory(address)), "{suite:?}");
        }
    }
}
