//! What the predecessor hears, while it could still take connections back, of those that it gave away.
//!
//! A connection may go back only if it is idle: the bytes of a request that this process has read would be
//! missing there. So each one that wakes is reported as busy *before* a byte of it is read, and as idle
//! once it rests again.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::conn::socket::Origin;

/// Between two attempts to say something to a predecessor that does not listen at the moment.
const RETRY: Duration = Duration::from_millis(1);

/// How long a predecessor that does not listen is waited for. One that is stopped can take nothing back.
const GIVE_UP: Duration = Duration::from_secs(1);

/// What there is to say about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Busy(Origin),
    Idle(Origin),
}

/// Says it; false if it has to be said again later.
type Tell = Box<dyn Fn(Told) -> bool + Send + Sync>;

/// The connections that came from the predecessor and could go back.
#[derive(Default)]
pub(crate) struct Moved {
    /// Spares everybody the lock outside of a standby.
    watched: AtomicBool,
    tell: RwLock<Option<Tell>>,
}

impl Moved {
    /// Begins to report.
    pub(crate) fn watch(&self, tell: impl Fn(Told) -> bool + Send + Sync + 'static) {
        *self.tell.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tell));
        self.watched.store(true, Ordering::Release);
    }

    /// Ends it: nothing goes back any more.
    pub(crate) fn forget(&self) {
        self.watched.store(false, Ordering::Release);
        *self.tell.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether this connection could still go back, if it is idle.
    pub(crate) fn could_go_back(&self, origin: Option<Origin>) -> bool {
        origin.is_some() && self.watched.load(Ordering::Acquire)
    }

    /// A connection is about to be read. Returns once the predecessor can know.
    pub(crate) async fn busy(&self, origin: Option<Origin>) {
        let begun = Instant::now();
        while let Some(origin) = origin
            && !self.try_tell(Told::Busy(origin))
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
            self.try_tell(Told::Idle(origin));
        }
    }

    fn try_tell(&self, told: Told) -> bool {
        if !self.watched.load(Ordering::Acquire) {
            return true;
        }
        let tell = self.tell.read().unwrap_or_else(PoisonError::into_inner);
        tell.as_ref().is_none_or(|tell| tell(told))
    }
}

impl fmt::Debug for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moved").field("watched", &self.watched).finish_non_exhaustive()
    }
}
