//! Without the feature `tls` there are no sessions.

use std::sync::Arc;

/// No session.
#[derive(Debug)]
pub(crate) enum SessionAtRest {}

impl SessionAtRest {
    pub(crate) fn pack(self, _: impl FnOnce(&mut Arc<str>)) -> PackedSession {
        match self {}
    }
}

/// No session.
#[derive(Debug)]
pub(crate) enum PackedSession {}

impl PackedSession {
    pub(crate) fn take(&mut self) -> SessionAtRest {
        match *self {}
    }
}

/// No session.
#[derive(Debug)]
pub(crate) enum SentSession {}
