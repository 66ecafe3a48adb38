//! What becomes of connections when this process ends them or gives them away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lifecycle::{Event, Events};

/// What became of a connection that this process ended or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// It had no request in flight in a restart. The successor has it.
    Moved,
    /// It had a request in flight. That was answered here, then the successor got the connection.
    AnsweredAndMoved,
    /// Its client read `Connection: close` or GOAWAY.
    ToldToClose,
    /// It was closed without such a notice.
    Cut(CutReason),
}

/// Why a connection was closed although its client did not expect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutReason {
    /// The drain has used up its time.
    Deadline,
    /// It had no request when the process stopped, or could not move in a restart.
    Idle,
    /// Its client was silent or slow for longer than a limit of the server allows.
    TimedOut,
    /// The server was full, and it made room for others.
    FullServer,
}

impl ConnectionEnd {
    const ALL: [Self; 7] = [
        Self::Moved,
        Self::AnsweredAndMoved,
        Self::ToldToClose,
        Self::Cut(CutReason::Deadline),
        Self::Cut(CutReason::Idle),
        Self::Cut(CutReason::TimedOut),
        Self::Cut(CutReason::FullServer),
    ];

    /// Its place in [`ALL`](Self::ALL).
    fn index(self) -> usize {
        match self {
            Self::Moved => 0,
            Self::AnsweredAndMoved => 1,
            Self::ToldToClose => 2,
            Self::Cut(CutReason::Deadline) => 3,
            Self::Cut(CutReason::Idle) => 4,
            Self::Cut(CutReason::TimedOut) => 5,
            Self::Cut(CutReason::FullServer) => 6,
        }
    }
}

/// How the connections of one server end. Each that ends so is counted and emitted as an event.
#[derive(Debug)]
pub(crate) struct ConnectionEnds {
    server: Arc<str>,
    counts: [AtomicU64; ConnectionEnd::ALL.len()],
    events: Events,
}

impl ConnectionEnds {
    pub(crate) fn new(server: &str, events: Events) -> Self {
        Self { server: server.into(), counts: Default::default(), events }
    }

    /// Notes what has become of one connection.
    pub(crate) fn note(&self, end: ConnectionEnd) {
        self.counts[end.index()].fetch_add(1, Ordering::Relaxed);
        self.events.emit(&Event::Connection { server: self.server.clone(), end });
    }

    /// The name of the server.
    pub(crate) fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// What has become of its connections so far.
    pub(crate) fn receipt(&self) -> Receipt {
        Receipt { counts: self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)) }
    }
}

/// How many connections of one server ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    counts: [u64; ConnectionEnd::ALL.len()],
}

impl Receipt {
    /// How many ended in this way.
    pub(crate) fn count(&self, end: ConnectionEnd) -> u64 {
        self.counts[end.index()]
    }

    /// The ways in which connections ended, and how many did.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (ConnectionEnd, u64)> {
        ConnectionEnd::ALL.into_iter().map(|end| (end, self.count(end))).filter(|(_, count)| *count > 0)
    }

    /// What was added since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        counts.iter_mut().zip(&earlier.counts).for_each(|(count, earlier)| *count -= earlier);
        Self { counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_by_itself() {
        let ends = ConnectionEnds::new("web", Events::default());
        ends.note(ConnectionEnd::Moved);
        let before = ends.receipt();
        ends.note(ConnectionEnd::Moved);
        ends.note(ConnectionEnd::Cut(CutReason::Idle));
        let receipt = ends.receipt().since(&before);
        assert_eq!(receipt.count(ConnectionEnd::Moved), 1);
        assert_eq!(receipt.count(ConnectionEnd::Cut(CutReason::Idle)), 1);
        assert_eq!(receipt.count(ConnectionEnd::Cut(CutReason::Deadline)), 0);
        assert_eq!(ends.receipt().count(ConnectionEnd::Moved), 2);
    }

    #[test]
    fn every_end_has_its_place() {
        for (place, end) in ConnectionEnd::ALL.into_iter().enumerate() {
            assert_eq!(end.index(), place);
        }
    }
}
