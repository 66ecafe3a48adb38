//! Whether this process was awake all the time, or stopped for a while (`SIGSTOP`, a debugger, a paused machine).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often it is seen to that we are awake.
const LOOK: Duration = Duration::from_millis(200);

/// A gap of this length is sleep. A successor that can't make itself heard goes on without us after a second.
const ASLEEP: Duration = Duration::from_millis(700);

#[derive(Debug)]
pub(super) struct SuspensionWatch {
    kept: Arc<Mutex<Kept>>,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Kept {
    awake_at: Instant,
    /// The beginning, or the end of the last sleep.
    awake_since: Instant,
    slept: bool,
}

impl Kept {
    fn look(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.awake_at) > ASLEEP {
            self.slept = true;
            self.awake_since = now;
        }
        self.awake_at = now;
    }
}

impl SuspensionWatch {
    /// Has to be called within a runtime.
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        let kept = Arc::new(Mutex::new(Kept { awake_at: now, awake_since: now, slept: false }));
        let looked_at = kept.clone();
        let keeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                lock(&looked_at).look();
            }
        });
        Self { kept, keeper }
    }

    /// Whether there was a moment of sleep, be it the one that has just ended.
    pub(super) fn has_slept(&self) -> bool {
        let mut kept = lock(&self.kept);
        kept.look();
        kept.slept
    }

    /// When the last sleep ended, or when the suspension began.
    pub(super) fn awake_since(&self) -> Instant {
        let mut kept = lock(&self.kept);
        kept.look();
        kept.awake_since
    }
}

impl Drop for SuspensionWatch {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gap_is_sleep_even_before_the_keeper_has_looked() {
        let suspension = SuspensionWatch::begin();
        tokio::time::sleep(2 * LOOK).await;
        assert!(!suspension.has_slept());
        // Nothing else runs on this thread meanwhile.
        let before = Instant::now();
        std::thread::sleep(ASLEEP + LOOK);
        assert!(suspension.has_slept() && suspension.awake_since() >= before + ASLEEP);
        tokio::time::sleep(2 * LOOK).await;
        assert!(suspension.has_slept(), "it does not forget");
    }
}
