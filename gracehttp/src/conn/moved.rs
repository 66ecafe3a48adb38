//! What the predecessor hears, while it could still take connections back, of those that it gave away.
//!
//! A connection may go back only if it is idle: the bytes of a request that this process has read would be
//! missing there. So each one that wakes is reported as busy *before* a byte of it is read, and as idle
//! once it rests again.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::conn::Socket;

/// Between two attempts to say something to a predecessor that does not listen at the moment.
const RETRY: Duration = Duration::from_millis(1);

/// How long a predecessor that does not listen is waited for. One that is stopped can take nothing back.
const GIVE_UP: Duration = Duration::from_secs(1);

/// What there is to say about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Busy(u64),
    Idle(u64),
}

/// Says it; false if it has to be said again later.
type Tell = Box<dyn Fn(Told) -> bool + Send + Sync>;

/// The connections that came from the predecessor and could go back.
#[derive(Default)]
pub(crate) struct Moved {
    /// Spares everybody the lock outside of a standby.
    watched: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tell: Option<Tell>,
    /// By descriptor: the predecessor's number of the connection, and whether it is busy.
    connections: HashMap<RawFd, (u64, bool)>,
}

impl Moved {
    /// Begins to report.
    pub(crate) fn watch(&self, tell: impl Fn(Told) -> bool + Send + Sync + 'static) {
        self.inner().tell = Some(Box::new(tell));
        self.watched.store(true, Ordering::Release);
    }

    /// Ends it: nothing goes back any more.
    pub(crate) fn forget(&self) {
        self.watched.store(false, Ordering::Release);
        *self.inner() = Inner::default();
    }

    /// A connection came, idle.
    pub(crate) fn arrived(&self, socket: &Socket, id: u64) {
        if self.is_watched() {
            self.inner().connections.insert(socket.fd.as_raw_fd(), (id, false));
        }
    }

    /// A connection is about to be read. Returns once the predecessor can know.
    pub(crate) async fn busy(&self, fd: RawFd) {
        let begun = Instant::now();
        while self.is_watched() && !self.try_tell(fd, true) {
            if begun.elapsed() > GIVE_UP {
                return self.forget();
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// A connection rests again. If that can't be said it counts as busy, which is the safe side.
    pub(crate) fn idle(&self, socket: &Socket) {
        if self.is_watched() {
            self.try_tell(socket.fd.as_raw_fd(), false);
        }
    }

    /// The task of a connection has ended: unless the connection rests it is closed, and its descriptor's
    /// number may come again.
    pub(crate) fn ended(&self, fd: RawFd) {
        if self.is_watched() {
            let mut inner = self.inner();
            if inner.connections.get(&fd).is_some_and(|(_, busy)| *busy) {
                inner.connections.remove(&fd);
            }
        }
    }

    fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    fn try_tell(&self, fd: RawFd, now_busy: bool) -> bool {
        let mut inner = self.inner();
        let Inner { tell, connections } = &mut *inner;
        let (Some(tell), Some((id, busy))) = (tell, connections.get_mut(&fd)) else { return true };
        if *busy == now_busy {
            return true;
        }
        let told = tell(if now_busy { Told::Busy(*id) } else { Told::Idle(*id) });
        *busy = if told { now_busy } else { *busy };
        told
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moved").field("watched", &self.watched).finish_non_exhaustive()
    }
}
