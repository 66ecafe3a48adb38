//! Tells the predecessor which of the connections that it gave away are idle, while it could still take them back.
//!
//! A connection may go back only if it is idle: the bytes of a request that this process has read would be missing
//! there. So each one is marked as busy in the ledger *before* a byte of it is read, and as idle once all that was read
//! is answered. A predecessor without a ledger is told the same by messages.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ledger::{Entry, Ledger, Mark};
use crate::socket::{Origin, Stage};
use crate::sync::{AtomicBool, Ordering, RwLock};

/// The pause between two attempts to report to a predecessor that does not listen at the moment.
const RETRY: Duration = Duration::from_millis(1);

/// How long to wait for a predecessor that does not listen. A stopped process can't take anything back.
const GIVE_UP: Duration = Duration::from_secs(1);

/// A report about one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Busy(Origin),
    Idle(Origin),
}

/// Says it; false if it has to be said again later.
type Reporter = Box<dyn Fn(Report) -> bool + Send + Sync>;

/// The connections that came from the predecessor and could go back.
#[derive(Default)]
pub(crate) struct Moved {
    /// Spares the lock outside of a standby.
    watched: AtomicBool,
    ways: RwLock<Ways>,
}

/// How the predecessor learns about a connection.
#[derive(Default)]
struct Ways {
    ledger: Option<Arc<Ledger>>,
    /// For connections without an entry.
    send: Option<Reporter>,
}

impl Moved {
    /// Begins to tell the predecessor, by its ledger if it has sent one.
    pub(crate) fn watch(
        &self,
        ledger: Option<Ledger>,
        send: impl Fn(Report) -> bool + Send + Sync + 'static,
    ) {
        let ledger = ledger.inspect(Ledger::begin).map(Arc::new);
        *self.ways.write() = Ways { ledger, send: Some(Box::new(send)) };
        self.watched.store(true, Ordering::Release);
    }

    /// Ends it: nothing goes back any more.
    pub(crate) fn forget(&self) {
        self.watched.store(false, Ordering::Release);
        if let Some(ledger) = std::mem::take(&mut *self.ways.write()).ledger {
            ledger.close();
        }
    }

    /// Whether the predecessor has a ledger, which it can read even if it was suspended.
    pub(crate) fn has_ledger(&self) -> bool {
        self.ways.read().ledger.is_some()
    }

    /// The entry of a connection that could go back; none if the predecessor has no ledger, or no room in it.
    pub(crate) fn entry(&self, origin: Option<Origin>) -> Option<Entry> {
        let origin = origin.filter(|_| self.watched.load(Ordering::Acquire))?;
        self.ways.read().ledger.as_ref()?.entry(origin)
    }

    /// Whether this connection could still go back, and the predecessor learns by messages whether it is idle.
    pub(crate) fn is_reported(&self, origin: Option<Origin>) -> bool {
        origin.is_some() && self.watched.load(Ordering::Acquire) && self.entry(origin).is_none()
    }

    /// A connection is about to be read. Returns once the predecessor can know.
    pub(crate) async fn busy(&self, origin: Option<Origin>) {
        if let Some(entry) = self.entry(origin) {
            return entry.set(Mark::Busy);
        }
        let begun = Instant::now();
        while let Some(origin) = origin
            && !self.try_report(Report::Busy(origin))
        {
            if begun.elapsed() > GIVE_UP {
                return self.stop_reports();
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// A connection rests again, and no byte of its next request was read. If that can't be said it counts as busy, which
    /// is the safe side.
    pub(crate) fn idle(&self, origin: Option<Origin>, stage: Stage) {
        match (self.entry(origin), origin) {
            (Some(entry), _) => entry.set(match stage {
                Stage::Fresh => Mark::Untouched,
                Stage::Idle => Mark::Idle,
            }),
            (None, Some(origin)) => _ = self.try_report(Report::Idle(origin)),
            (None, None) => {}
        }
    }

    /// The predecessor does not listen. What it has missed it takes for busy; its ledger it can still read.
    fn stop_reports(&self) {
        self.ways.write().send = None;
        if !self.has_ledger() {
            self.forget();
        }
    }

    fn try_report(&self, report: Report) -> bool {
        if !self.watched.load(Ordering::Acquire) {
            return true;
        }
        let ways = self.ways.read();
        ways.send.as_ref().is_none_or(|send| send(report))
    }
}

impl fmt::Debug for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moved").field("watched", &self.watched).finish_non_exhaustive()
    }
}
