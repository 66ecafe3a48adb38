//! The runtime of the connections and handlers.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::config::Settings;
use crate::error::Error;
use crate::lifecycle::{Pulse, Stalls, note_serving_threads, start};

/// The runtime of the connections and handlers.
///
/// Handlers that still block their threads at the end are not waited for: they end with the process.
pub(super) struct Workers {
    /// Empty only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    pulse: Arc<Pulse>,
}

impl Workers {
    /// Has to be called on the control runtime, which then watches for blocked threads.
    pub(super) fn start(settings: &Settings) -> Result<Self, Error> {
        let stalls = Arc::new(Stalls::default());
        let (waiting, working) = (stalls.clone(), stalls.clone());
        let mut builder = Builder::new_multi_thread();
        if let Some(threads) = settings.worker_threads {
            builder.worker_threads(threads);
        }
        let runtime = builder
            .enable_all()
            .thread_name("gracehttp")
            .on_thread_park(move || waiting.note_wait())
            .on_thread_unpark(move || working.note_work())
            .build()
            .map_err(|error| Error::caused_by(format!("no runtime for the servers: {error}"), error))?;
        let handle = runtime.handle().clone();
        start(stalls.relieve(handle.clone()));
        note_serving_threads(handle.metrics().num_workers());
        let pulse = Arc::new(Pulse::new(handle.clone()));
        Ok(Self { runtime: Some(runtime), handle, pulse })
    }

    /// Tells whether they answer.
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Ends the threads, which get so much time to drop their tasks.
    pub(super) fn end_within(mut self, patience: Duration) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(patience);
        }
    }
}

impl Deref for Workers {
    type Target = Handle;

    fn deref(&self) -> &Self::Target {
        &self.handle
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
