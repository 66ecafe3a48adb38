//! A health check that can be run.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinError};
use tokio::time::timeout;

use crate::error::{Error, panic_message};
use crate::lifecycle::show;

/// Begins one run of a check.
pub(super) type Ask = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// One check of the application, with its state.
pub(crate) struct Probe {
    name: Arc<str>,
    timeout: Duration,
    ask: Ask,
    latest: Mutex<Option<Run>>,
}

/// A run, which may still block its thread after it was given up.
struct Run {
    begun: Instant,
    task: AbortHandle,
}

/// What one run of a check has said.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) name: Arc<str>,
    /// The reason if it has failed.
    pub(crate) result: Result<(), String>,
    #[cfg_attr(
        not(any(feature = "admin", feature = "cli")),
        expect(dead_code, reason = "operators read it")
    )]
    pub(crate) took: Duration,
}

impl Probe {
    pub(super) fn new(name: String, timeout: Duration, ask: Ask) -> Self {
        Self { name: name.into(), timeout, ask, latest: Mutex::new(None) }
    }

    /// Runs the check on the worker threads. The caller's runtime, which no handler blocks, keeps the time.
    pub(crate) async fn run(&self, workers: &Handle) -> Outcome {
        let begun = Instant::now();
        let result = match self.unfinished() {
            Some(since) => {
                let whole = Duration::from_secs(since.as_secs());
                Err(format!("an earlier run has not ended for {}", show(whole)))
            }
            None => self.run_within_limit(workers, begun).await,
        };
        Outcome { name: self.name.clone(), result, took: begun.elapsed() }
    }

    /// How long the latest run has been going on, if it blocks its thread and can't be ended. One more would block one
    /// more thread.
    fn unfinished(&self) -> Option<Duration> {
        let latest = self.latest.lock();
        latest.as_ref().filter(|run| !run.task.is_finished()).map(|run| run.begun.elapsed())
    }

    async fn run_within_limit(&self, workers: &Handle, begun: Instant) -> Result<(), String> {
        let mut task = workers.spawn((self.ask)());
        *self.latest.lock() = Some(Run { begun, task: task.abort_handle() });
        match timeout(self.timeout, &mut task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(ended(error)),
            Err(_) => {
                task.abort();
                Err(format!("it took longer than {}", show(self.timeout)))
            }
        }
    }
}

impl Probe {
    /// The outcome of a run that could not take place.
    pub(super) fn given_up(&self) -> Outcome {
        Outcome { name: self.name.clone(), result: Err("the process ends".to_owned()), took: Duration::ZERO }
    }
}

impl Outcome {
    /// The failure, with the name of the check.
    pub(super) fn fault(&self) -> Option<Error> {
        let Self { name, result, .. } = self;
        result.as_ref().err().map(|reason| Error::new(format!("health check `{name}`: {reason}")))
    }
}

/// Why a task has no result.
fn ended(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => format!("it panicked: {}", panic_message(&*panic)),
        Err(_) => "the process ends".to_owned(),
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
