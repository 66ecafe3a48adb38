//! A session in use.

use crate::record::aead::Key;
use crate::record::at_rest::{Facts, SessionAtRest, SessionParts};
use crate::record::established::Established;
use crate::record::limit;
use crate::record::suite::Suite;

/// A session in use: it opens the client's records and seals ours. Deliberately not `Clone`.
pub(crate) struct Session {
    pub(super) parts: Box<SessionParts>,
    /// The key of the client's secret.
    pub(super) opening: Key,
    /// The key of our secret.
    pub(super) sealing: Key,
    /// How many records a key of ours may seal.
    pub(super) limit: u64,
}

impl Session {
    pub(crate) fn new(established: Established) -> Self {
        let Established { parts, opening, sealing } = established;
        Self::with_keys(parts, opening, sealing)
    }

    /// The secrets have to fit the suite.
    pub(super) fn of(parts: Box<SessionParts>) -> Self {
        let suite = parts.suite;
        let opening = Key::new(suite, &parts.client.secret);
        let sealing = Key::new(suite, &parts.server.secret);
        Self::with_keys(parts, opening, sealing)
    }

    fn with_keys(parts: Box<SessionParts>, opening: Key, sealing: Key) -> Self {
        let limit = limit::of(parts.suite.cipher());
        Self { parts, opening, sealing, limit }
    }

    pub(crate) fn suite(&self) -> Suite {
        self.parts.suite
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.parts.facts
    }

    /// Lowers the limit to so many records.
    #[cfg(test)]
    pub(crate) fn lower_limit(&mut self, records: u64) {
        self.limit = records;
    }

    /// Ends the use. `cut` is the input that is not opened yet: the beginning of a record.
    pub(crate) fn rest(self, cut: &[u8]) -> SessionAtRest {
        let mut parts = self.parts;
        parts.cut = cut.into();
        SessionAtRest::new(parts)
    }
}

/// Not derived: keys must not get into a log.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("suite", &self.suite()).finish_non_exhaustive()
    }
}
