//! The faults that a client can find in a server.

/// The kinds of failure, each with its own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The connection was not accepted.
    Refused,
    /// The TLS or HTTP/2 handshake failed.
    Handshake,
    /// The connection was reset, at any moment.
    Reset,
    /// The connection closed after the client wrote a request, before the first byte of an answer.
    Unanswered,
    /// The answer stopped in its middle.
    HalfAnswered,
    /// TLS ended without `close_notify`, so the client can't tell an end from an attack.
    Truncated,
    /// An unexpected answer came.
    Unexpected,
    /// An answer promised `Connection: close`, but the server kept the connection.
    KeptOpen,
    /// No answer came.
    TimedOut,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// The client's explanation.
    pub detail: String,
}

impl Failure {
    /// Creates a failure with its explanation.
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
