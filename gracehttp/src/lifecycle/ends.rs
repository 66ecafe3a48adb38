//! How connections end: each that a process held has exactly one end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What became of a connection that this process held.
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
    /// Its client closed it, or HTTP had come to its end: a request asked for that, or was refused.
    Finished,
    /// A handler had taken it over for another protocol, such as WebSocket, and has let it go.
    Upgraded,
    /// The successor had it, died, and this process has it again.
    TakenBack,
    /// The successor had it, and it ended when the successor died.
    Lost,
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
    /// The runtime could not take its socket.
    Failed,
    /// It was open when the process ended: its handler blocked its thread, an upgraded connection stayed, or a second
    /// signal to stop came.
    Exit,
}

impl ConnectionEnd {
    pub(crate) const ALL: [Self; 13] = [
        Self::Moved,
        Self::AnsweredAndMoved,
        Self::ToldToClose,
        Self::Cut(CutReason::Deadline),
        Self::Cut(CutReason::Idle),
        Self::Cut(CutReason::TimedOut),
        Self::Cut(CutReason::FullServer),
        Self::Finished,
        Self::Upgraded,
        Self::TakenBack,
        Self::Lost,
        Self::Cut(CutReason::Failed),
        Self::Cut(CutReason::Exit),
    ];

    /// Its place in [`ALL`](Self::ALL).
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Moved => 0,
            Self::AnsweredAndMoved => 1,
            Self::ToldToClose => 2,
            Self::Cut(CutReason::Deadline) => 3,
            Self::Cut(CutReason::Idle) => 4,
            Self::Cut(CutReason::TimedOut) => 5,
            Self::Cut(CutReason::FullServer) => 6,
            Self::Finished => 7,
            Self::Upgraded => 8,
            Self::TakenBack => 9,
            Self::Lost => 10,
            Self::Cut(CutReason::Failed) => 11,
            Self::Cut(CutReason::Exit) => 12,
        }
    }

    /// Its name in receipts: it stays the same in all releases.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::AnsweredAndMoved => "answered_and_moved",
            Self::ToldToClose => "told_to_close",
            Self::Cut(CutReason::Deadline) => "cut_at_deadline",
            Self::Cut(CutReason::Idle) => "closed_idle",
            Self::Cut(CutReason::TimedOut) => "timed_out",
            Self::Cut(CutReason::FullServer) => "closed_to_make_room",
            Self::Finished => "finished",
            Self::Upgraded => "upgraded",
            Self::TakenBack => "taken_back",
            Self::Lost => "lost",
            Self::Cut(CutReason::Failed) => "failed",
            Self::Cut(CutReason::Exit) => "cut_at_exit",
        }
    }
}

/// In the log's words.
impl fmt::Display for ConnectionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moved => "moved",
            Self::AnsweredAndMoved => "answered and moved",
            Self::ToldToClose => "told to close",
            Self::Cut(CutReason::Deadline) => "cut at the deadline",
            Self::Cut(CutReason::Idle) => "closed idle",
            Self::Cut(CutReason::TimedOut) => "timed out",
            Self::Cut(CutReason::FullServer) => "closed to make room",
            Self::Finished => "finished",
            Self::Upgraded => "upgraded and finished",
            Self::TakenBack => "taken back",
            Self::Lost => "lost with the successor",
            Self::Cut(CutReason::Failed) => "failed",
            Self::Cut(CutReason::Exit) => "cut at the exit",
        })
    }
}

/// Counts the ends of connections in a place that outlives the process.
pub(crate) trait EndCounter: fmt::Debug + Send + Sync {
    /// That many connections have ended, or moved, in this way.
    fn count_ends(&self, end: ConnectionEnd, count: u64);
}

/// How many connections one server has had, and how they ended.
///
/// A permit notes both, so that no connection is left out: see `Permit` in `server/permits.rs`.
#[derive(Debug, Default)]
pub(crate) struct ConnectionEnds {
    opened: AtomicU64,
    counts: [AtomicU64; ConnectionEnd::ALL.len()],
    cuts: Mutex<Cuts>,
    /// Present if anything asks for metrics.
    also: Option<&'static dyn EndCounter>,
}

impl ConnectionEnds {
    /// Each end is also counted elsewhere, in the moment in which it is noted.
    pub(crate) fn counted_by(counter: Option<&'static dyn EndCounter>) -> Self {
        Self { also: counter, ..Self::default() }
    }

    /// The server has one more connection.
    pub(crate) fn open(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// One of its connections has ended.
    pub(crate) fn note(&self, end: ConnectionEnd) {
        self.add(end, 1);
    }

    fn add(&self, end: ConnectionEnd, count: u64) {
        self.counts[end.index()].fetch_add(count, Ordering::Relaxed);
        if let Some(counter) = self.also {
            counter.count_ends(end, count);
        }
    }

    /// A connection that had moved in one way has come back.
    pub(crate) fn take_back(&self, had_answered: bool) {
        self.counts[moved(had_answered).index()].fetch_sub(1, Ordering::Relaxed);
        self.note(ConnectionEnd::TakenBack);
    }

    /// All connections that have moved since these counts have ended with the successor.
    pub(crate) fn lose_moved(&self, since: &EndCounts) {
        for end in [ConnectionEnd::Moved, ConnectionEnd::AnsweredAndMoved] {
            let lost = self.count(end) - since.count(end);
            self.counts[end.index()].fetch_sub(lost, Ordering::Relaxed);
            self.add(ConnectionEnd::Lost, lost);
        }
    }

    fn count(&self, end: ConnectionEnd) -> u64 {
        self.counts[end.index()].load(Ordering::Relaxed)
    }

    /// All counts so far.
    pub(crate) fn counts(&self) -> EndCounts {
        // First the ends: a connection whose end is counted was counted when it was opened.
        let ends = self.counts.each_ref().map(|count| count.load(Ordering::Acquire));
        EndCounts { opened: self.opened.load(Ordering::Relaxed), ends }
    }

    /// Notes what a connection was doing that is cut at the deadline.
    pub(crate) fn note_cut(&self, cut: Cut) {
        self.cuts.lock().add(cut);
    }

    /// The connections that were cut at the deadline.
    pub(crate) fn take_cuts(&self) -> Vec<Cut> {
        std::mem::take(&mut self.cuts.lock().0)
    }
}

/// How a connection ends that moves.
pub(crate) fn moved(has_answered: bool) -> ConnectionEnd {
    if has_answered { ConnectionEnd::AnsweredAndMoved } else { ConnectionEnd::Moved }
}

/// How many connections one server has had, and how many of them ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndCounts {
    opened: u64,
    ends: [u64; ConnectionEnd::ALL.len()],
}

impl EndCounts {
    /// How many ended in this way.
    pub(crate) fn count(&self, end: ConnectionEnd) -> u64 {
        self.ends[end.index()]
    }

    /// How many connections there were.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// How many have not ended.
    pub(crate) fn open(&self) -> u64 {
        self.opened.saturating_sub(self.ends.iter().sum())
    }

    /// The ways in which connections ended, and how many did.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (ConnectionEnd, u64)> {
        ConnectionEnd::ALL.into_iter().map(|end| (end, self.count(end))).filter(|(_, count)| *count > 0)
    }

    /// What was added since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        since.opened -= earlier.opened;
        since.ends.iter_mut().zip(&earlier.ends).for_each(|(count, earlier)| *count -= earlier);
        since
    }
}

/// A connection's request, as it can be told after the connection was cut.
pub(crate) trait CutRequest: fmt::Debug + Send + Sync {
    /// Method and path, if a request was in flight.
    fn request(&self) -> Option<String>;
}

/// A request that was known when the connection was cut.
impl CutRequest for String {
    fn request(&self) -> Option<String> {
        Some(self.clone())
    }
}

/// A connection that was cut at the deadline, or that is open when the process ends.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The client's address; none over a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) doing: CutWhile,
    /// For how long it had been doing that.
    pub(crate) age: Duration,
    /// Told only later: the streams of HTTP/2 end in tasks of their own.
    pub(crate) request: Arc<dyn CutRequest>,
}

/// What a connection was doing when it was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CutWhile {
    /// It waited for a request.
    Idle,
    /// The head of a request was coming in.
    Head,
    /// The body of a request was coming in.
    Body,
    /// Its handler was at work.
    Handler,
    /// The response was on its way to the client.
    Response,
    /// It had HTTP/2 streams.
    Streams,
    /// A handler had taken it over for another protocol, such as WebSocket, or as a tunnel.
    Upgraded,
}

impl fmt::Display for CutWhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Head => "reading a request's head",
            Self::Body => "reading a request's body",
            Self::Handler => "its handler at work",
            Self::Response => "sending a response",
            Self::Streams => "in the middle of HTTP/2 streams",
            Self::Upgraded => "upgraded",
        })
    }
}

/// How many cut connections of a server are remembered.
pub(crate) const MAX_CUTS: usize = 100;

#[derive(Debug, Default)]
struct Cuts(Vec<Cut>);

impl Cuts {
    fn add(&mut self, cut: Cut) {
        if self.0.len() < MAX_CUTS {
            self.0.push(cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_by_itself() {
        let ends = ConnectionEnds::default();
        (0..4).for_each(|_| ends.open());
        ends.note(ConnectionEnd::Moved);
        let before = ends.counts();
        assert_eq!((before.opened(), before.open()), (4, 3));
        ends.note(ConnectionEnd::Moved);
        ends.note(ConnectionEnd::Cut(CutReason::Idle));
        let counts = ends.counts().since(&before);
        assert_eq!(counts.count(ConnectionEnd::Moved), 1);
        assert_eq!(counts.count(ConnectionEnd::Cut(CutReason::Idle)), 1);
        assert_eq!(counts.count(ConnectionEnd::Cut(CutReason::Deadline)), 0);
        assert_eq!(ends.counts().count(ConnectionEnd::Moved), 2);
        assert_eq!(ends.counts().open(), 1);
    }

    #[test]
    fn what_moved_comes_back_or_is_lost() {
        let ends = ConnectionEnds::default();
        (0..5).for_each(|_| ends.open());
        // From an earlier restart.
        ends.note(ConnectionEnd::Moved);
        let before = ends.counts();
        [true, false, false].into_iter().for_each(|has_answered| ends.note(moved(has_answered)));
        ends.take_back(true);
        ends.open();
        ends.lose_moved(&before);
        let since = ends.counts().since(&before);
        assert_eq!((since.count(ConnectionEnd::TakenBack), since.count(ConnectionEnd::Lost)), (1, 2));
        assert_eq!((since.count(ConnectionEnd::Moved), since.count(ConnectionEnd::AnsweredAndMoved)), (0, 0));
        assert_eq!(ends.counts().open(), 2, "the one that came back, and the one that stayed");
    }

    #[test]
    fn every_end_has_its_place_and_its_name() {
        for (place, end) in ConnectionEnd::ALL.into_iter().enumerate() {
            assert_eq!(end.index(), place);
            assert!(ConnectionEnd::ALL[..place].iter().all(|other| other.name() != end.name()));
        }
    }
}
