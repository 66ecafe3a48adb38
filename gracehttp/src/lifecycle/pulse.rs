//! The pulse of a process: whether its two runtimes still answer.
//!
//! The control runtime beats by itself. With each beat it looks whether a task that it has sent to the worker threads has
//! come to run, and sends the next one. Handlers that block all of these threads leave it waiting.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::lifecycle::{show, start, start_on};

/// The time between two beats.
const PERIOD: Duration = Duration::from_millis(250);

/// Worker threads that have been silent for so long count as blocked. A busy machine can keep them waiting for a while.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// Tells whether the runtimes of a process answer. Nothing beats until the first [`watch`](Self::watch).
pub(crate) struct Pulse {
    workers: Handle,
    has_begun: AtomicBool,
    beats: watch::Sender<Beat>,
}

/// What is known at one beat of the control runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    /// How many beats there have been. A number that stands still is a control runtime that is blocked.
    pub(crate) number: u64,
    pub(crate) workers: Answering,
}

/// Whether the worker threads answer, and for how long they have not.
///
/// The time is counted in beats. So a process that was stopped as a whole, or a machine that slept, blames none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answering {
    silence: Duration,
}

impl Pulse {
    pub(crate) fn new(workers: Handle) -> Self {
        let beat = Beat { number: 0, workers: Answering { silence: Duration::ZERO } };
        Self { workers, has_begun: AtomicBool::new(false), beats: watch::Sender::new(beat) }
    }

    /// The beats. The first call begins them, and has to come from the control runtime.
    pub(crate) fn watch(self: &Arc<Self>) -> watch::Receiver<Beat> {
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            start(self.clone().run());
        }
        self.beats.subscribe()
    }

    async fn run(self: Arc<Self>) {
        let answered = Arc::new(AtomicU64::new(0));
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The beat at which the worker threads were asked last.
        let mut asked = 0;
        for number in 1_u64.. {
            ticks.tick().await;
            if answered.load(Ordering::Acquire) == asked {
                asked = number;
                let answered = answered.clone();
                drop(start_on(&self.workers, async move { answered.store(number, Ordering::Release) }));
            }
            let waits = u32::try_from(number - asked).unwrap_or(u32::MAX);
            let workers = Answering { silence: PERIOD.saturating_mul(waits) };
            self.beats.send_replace(Beat { number, workers });
        }
    }
}

impl Answering {
    /// Whether they do.
    pub(crate) fn is_live(self) -> bool {
        self.silence < SILENT_AFTER
    }

    /// How long they have not answered.
    pub(crate) fn silence(self) -> Duration {
        self.silence
    }
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_live() {
            return f.write_str("answer");
        }
        let whole = Duration::from_secs(self.silence.as_secs());
        write!(f, "have not answered for {}", show(whole))
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pulse").field(&*self.beats.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tokio::runtime::Builder;

    #[tokio::test]
    async fn it_notices_workers_that_are_all_blocked_and_that_answer_again() {
        let workers = Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let pulse = Arc::new(Pulse::new(workers.handle().clone()));
        let mut beats = pulse.watch();
        assert!(beats.wait_for(|beat| beat.number >= 2).await.unwrap().workers.is_live());

        let gates: Vec<mpsc::Sender<()>> = (0..2)
            .map(|_| {
                let (opens, opened) = mpsc::channel::<()>();
                workers.spawn(async move { opened.recv() });
                opens
            })
            .collect();
        let blocked = beats.wait_for(|beat| !beat.workers.is_live()).await.unwrap().workers;
        assert_eq!(blocked.to_string(), "have not answered for 1s");
        let still = beats.wait_for(|beat| beat.workers > blocked).await.unwrap().workers;
        assert_eq!(still.silence() - blocked.silence(), PERIOD);

        // One that answers is enough: it serves all connections.
        drop(gates.into_iter().next());
        let live = beats.wait_for(|beat| beat.workers.is_live()).await.unwrap().workers;
        assert_eq!(live.to_string(), "answer");
        workers.shutdown_background();
    }

    #[tokio::test]
    async fn there_is_one_series_of_beats_and_none_that_is_not_watched() {
        let pulse = Arc::new(Pulse::new(Handle::current()));
        assert_eq!(pulse.beats.borrow().number, 0);
        let (mut one, mut other) = (pulse.watch(), pulse.watch());
        one.wait_for(|beat| beat.number >= 3).await.unwrap();
        assert_eq!(other.borrow_and_update().number, 3);
    }
}
