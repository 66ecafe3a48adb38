//! Whether the worker that counts still answers.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::supervision::page::{Page, nanos, now};

/// A worker that does not end by SIGABRT is killed after this time.
const KILLED_AFTER: Duration = Duration::from_secs(5);

/// A wait that lasted so much longer than was asked for means that this process was stopped, and the worker with it.
const OVERSLEPT: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct HangWatch {
    /// Since when this process has not been stopped.
    awake_since: u64,
    /// The worker that was told to end, and when.
    aborted: Option<(Pid, u64)>,
}

impl HangWatch {
    /// This process has waited since `begun`, for `limit` at most.
    pub(super) fn note_wait(&mut self, begun: u64, limit: Duration) {
        let ended = now();
        if ended.saturating_sub(begun) > nanos(limit + OVERSLEPT) {
            self.awake_since = ended;
        }
    }

    /// Whether this worker was told to end.
    pub(super) fn is_ending(&self, worker: Pid) -> bool {
        self.aborted.is_some_and(|(aborted, _)| aborted == worker)
    }

    /// When to look again.
    pub(super) fn due_at(&self, page: &Page) -> Option<u64> {
        let (limit, beat) = (page.hang_timeout()?, page.last_beat()?);
        match self.aborted {
            Some((_, at)) => Some(at.saturating_add(nanos(KILLED_AFTER))),
            None => Some(beat.max(self.awake_since).saturating_add(nanos(limit))),
        }
    }

    /// The signal for a worker that has been silent for too long, and the time of its silence.
    pub(super) fn verdict(&mut self, worker: Pid, page: &Page) -> Option<(Signal, Duration)> {
        let (limit, beat) = (page.hang_timeout()?, page.last_beat()?);
        let now = now();
        let silence = Duration::from_nanos(now.saturating_sub(beat.max(self.awake_since)));
        self.aborted = self.aborted.filter(|(aborted, _)| *aborted == worker);
        match self.aborted {
            Some((_, at)) if now.saturating_sub(at) >= nanos(KILLED_AFTER) => {
                self.aborted = Some((worker, now));
                Some((Signal::SIGKILL, silence))
            }
            Some(_) => None,
            None if silence >= limit => {
                self.aborted = Some((worker, now));
                Some((Signal::SIGABRT, silence))
            }
            None => None,
        }
    }
}
