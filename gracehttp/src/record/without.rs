//! Without the feature `tls` there are no sessions.

/// No session.
#[derive(Debug)]
pub(crate) enum SessionAtRest {}

/// No session.
#[derive(Debug)]
pub(crate) enum SentSession {}
