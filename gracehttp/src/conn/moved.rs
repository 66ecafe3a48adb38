//! Reports to the predecessor about the connections that it gave away, while it could still take them back.
//!
//! A connection may go back only if it is idle: the bytes of a request that this process has read would be
//! missing there. So each one that wakes is reported as busy *before* a byte of it is read, and as idle
//! once it rests again.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::socket::Origin;

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
    send: RwLock<Option<Reporter>>,
}

impl Moved {
    /// Begins to report.
    pub(crate) fn watch(&self, send: impl Fn(Report) -> bool + Send + Sync + 'static) {
        *self.send.write() = Some(Box::new(send));
        self.watched.store(true, Ordering::Release);
    }

    /// Ends it: nothing goes back any more.
    pub(crate) fn forget(&self) {
        self.watched.store(false, Ordering::Release);
        *self.send.write() = None;
    }

    /// Whether this connection could still go back, if it is idle.
    pub(crate) fn could_go_back(&self, origin: Option<Origin>) -> bool {
        origin.is_some() && self.watched.load(Ordering::Acquire)
    }

    /// A connection is about to be read. Returns once the predecessor can know.
    pub(crate) async fn busy(&self, origin: Option<Origin>) {
        let begun = Instant::now();
        while let Some(origin) = origin
            && !self.try_report(Report::Busy(origin))
        {
            if begun.elapsed() > GIVE_UP {
                return self.forget();
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// A connection rests again. If that can't be said it counts as busy, which is the safe side.
    pub(crate) fn idle(&self, origin: Option<Origin>) {
        if let Some(origin) = origin {
            self.try_report(Report::Idle(origin));
        }
    }

    fn try_report(&self, report: Report) -> bool {
        if !self.watched.load(Ordering::Acquire) {
            return true;
        }
        let send = self.send.read();
        send.as_ref().is_none_or(|send| send(report))
    }
}

impl fmt::Debug for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moved").field("watched", &self.watched).finish_non_exhaustive()
    }
}
