//! What a client can hold against a server.

/// The kinds of failure, each counted on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The connection was not accepted.
    Refused,
    /// The TLS or HTTP/2 handshake failed.
    Handshake,
    /// The connection was reset, at whatever moment.
    Reset,
    /// The connection was closed with a request written and not one byte of an answer.
    Unanswered,
    /// The answer stopped in its middle.
    HalfAnswered,
    /// TLS ended without `close_notify`: the client can't tell an end from an attack.
    Truncated,
    /// Something else than the expected answer came.
    Unexpected,
    /// `Connection: close` was promised, and the connection kept.
    KeptOpen,
    /// Nothing came at all.
    TimedOut,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// In the client's words.
    pub detail: String,
}

impl Failure {
    /// A failure with its explanation.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.detail)
    }
}

impl std::error::Error for Failure {}
