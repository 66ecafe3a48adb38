//! How many records a key may seal, and what happens then: TLS 1.3 renews the key, TLS 1.2 can't.

#[cfg(feature = "test-kit")]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::suite::Cipher;

/// Tests can't seal millions of records, so they lower the limit.
#[cfg(feature = "test-kit")]
static LOWERED: AtomicU64 = AtomicU64::new(u64::MAX);

/// How many records a key of this cipher may seal.
pub(super) fn of(cipher: Cipher) -> u64 {
    let limit = cipher.confidentiality_limit();
    #[cfg(feature = "test-kit")]
    let limit = limit.min(LOWERED.load(Ordering::Relaxed));
    limit
}

/// How many records make a key nearly worn out. The records that are left are enough for a large response.
pub(super) fn nearly(limit: u64) -> u64 {
    limit - limit / 16
}

/// Lowers the limit of all keys of this process to so many records.
#[cfg(feature = "test-kit")]
pub(crate) fn lower_limit(records: u64) {
    LOWERED.store(records, Ordering::Relaxed);
}
