//! Without the feature `tls` there are no sessions.

/// No session.
#[derive(Debug)]
pub(crate) enum SessionAtRest {}

impl SessionAtRest {
    pub(crate) fn relocated(self) -> Self {
        self
    }
}

/// No session.
#[derive(Debug)]
pub(crate) enum SentSession {}
