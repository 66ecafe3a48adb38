//! Checks in tests that no sequence number is used twice under one key: it notes every record that is sealed.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::record::aead::Nonce;
use crate::record::keys::KeyAndIv;

/// Key and IV.
type Identity = (Vec<u8>, Nonce);

/// What was sealed in this process, by all tests.
static SEALED: Mutex<Option<HashSet<(Identity, Nonce)>>> = Mutex::new(None);

pub(super) fn identity(material: &KeyAndIv) -> Identity {
    (material.key().to_vec(), *material.iv())
}

/// Notes that a record is sealed. Panics if the key has sealed another one with this nonce.
pub(super) fn record(identity: &Identity, nonce: Nonce) {
    let first = SEALED.lock().get_or_insert_default().insert((identity.clone(), nonce));
    assert!(first, "a sequence number is used twice under one key");
}
