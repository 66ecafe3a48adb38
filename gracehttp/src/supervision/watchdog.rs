//! The watchdog of the service manager: it is fed only while the event loop and the worker threads answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::lifecycle::Pulse;
use crate::supervision::ServiceManager;
use crate::sys;

/// What the service manager expects: a sign of life within each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watchdog {
    period: Duration,
}

impl Watchdog {
    /// Reads it from the environment. `WATCHDOG_PID` is taken out, since it names this process alone. `WATCHDOG_USEC` stays
    /// for the successor, from which the service manager expects signs of life, too. Has to be called before the process
    /// has a second thread.
    pub(crate) fn take() -> Option<Self> {
        let is_ours = match sys::take_var("WATCHDOG_PID".as_ref()) {
            Some(pid) => pid.to_str() == Some(std::process::id().to_string().as_str()),
            None => true,
        };
        if !is_ours {
            // It is not for the successor either.
            sys::take_var("WATCHDOG_USEC".as_ref());
            return None;
        }
        let period = std::env::var("WATCHDOG_USEC").ok()?.parse().ok().filter(|period| *period > 0)?;
        Some(Self { period: Duration::from_micros(period) })
    }

    /// Feeds it for as long as both runtimes answer: the event loop, which runs this, and the worker threads.
    pub(crate) async fn feed(self, manager: Arc<ServiceManager>, pulse: Arc<Pulse>) {
        let beats = pulse.watch();
        let mut ticks = interval(self.period / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Half a period of silence and the third between two messages are less than a period. So a process whose
            // workers answer again within half a period is never ended.
            let silence = beats.borrow().workers.silence();
            if silence < self.period / 2 {
                manager.feed_watchdog();
            }
        }
    }
}
