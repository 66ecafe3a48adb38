//! Without the feature `tls` there are no sessions.

use crate::record::SessionAtRest;

/// The place of no session.
#[derive(Clone, Copy, Debug)]
pub(super) enum SessionKey {}

/// No sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {}

#[expect(clippy::needless_pass_by_value, reason = "the functions are those of the feature")]
impl Sessions {
    pub(super) fn insert(&mut self, session: SessionAtRest) -> SessionKey {
        match session {}
    }

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<SessionAtRest> {
        match key {}
    }
}
