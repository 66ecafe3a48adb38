//! Detects whether this process was suspended for a while (`SIGSTOP`, a debugger, a paused machine).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::lifecycle::start;

/// How often a task notes that this process runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// A gap of this length between two checks is a suspension. A successor that can't reach us goes on without us after a
/// second.
const SUSPENDED_AFTER: Duration = Duration::from_millis(700);

/// Checks from its beginning until it is dropped.
#[derive(Debug)]
pub(super) struct SuspensionWatch {
    state: Arc<Mutex<State>>,
    checks: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    checked_at: Instant,
    /// The beginning of the watch, or the end of the last suspension.
    awake_since: Instant,
    was_suspended: bool,
}

impl State {
    fn check(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.checked_at) > SUSPENDED_AFTER {
            self.was_suspended = true;
            self.awake_since = now;
        }
        self.checked_at = now;
    }
}

impl SuspensionWatch {
    /// Has to be called within a runtime.
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        let state = State { checked_at: now, awake_since: now, was_suspended: false };
        let state = Arc::new(Mutex::new(state));
        let checked = state.clone();
        let checks = start(async move {
            loop {
                tokio::time::sleep(CHECK_INTERVAL).await;
                checked.lock().check();
            }
        });
        Self { state, checks }
    }

    /// Whether there was a suspension, even one that has just ended.
    pub(super) fn was_suspended(&self) -> bool {
        let mut state = self.state.lock();
        state.check();
        state.was_suspended
    }

    /// When the last suspension ended, or when the watch began.
    pub(super) fn awake_since(&self) -> Instant {
        let mut state = self.state.lock();
        state.check();
        state.awake_since
    }
}

impl Drop for SuspensionWatch {
    fn drop(&mut self) {
        self.checks.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gap_counts_as_suspension_even_before_the_next_check() {
        let watch = SuspensionWatch::begin();
        tokio::time::sleep(2 * CHECK_INTERVAL).await;
        assert!(!watch.was_suspended());
        // Nothing else runs on this thread meanwhile.
        let before = Instant::now();
        std::thread::sleep(SUSPENDED_AFTER + CHECK_INTERVAL);
        assert!(watch.was_suspended() && watch.awake_since() >= before + SUSPENDED_AFTER);
        tokio::time::sleep(2 * CHECK_INTERVAL).await;
        assert!(watch.was_suspended(), "it does not forget");
    }
}
