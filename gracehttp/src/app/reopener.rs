//! Log files opened anew: those of this process, and those of the predecessors that still drain.

use std::sync::{Arc, OnceLock};

use crate::access_log;
use crate::app::parcels::Handlers;
use crate::error::Error;
use crate::handoff::{PredecessorParcels, REOPEN_LOGS};
use crate::lifecycle::{aside, start};
use crate::log;

/// Opens log files anew. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Reopener {
    predecessor: Arc<OnceLock<PredecessorParcels>>,
}

impl Reopener {
    /// From now on the predecessor, which may drain for long, is asked, too.
    pub(super) fn pass_on_to(&self, predecessor: PredecessorParcels) {
        // A process has one predecessor.
        let _ = self.predecessor.set(predecessor);
    }

    /// Does so when the successor asks.
    pub(super) fn obey_successor(&self, handlers: &Handlers) {
        let reopener = self.clone();
        handlers.of_successor.on(REOPEN_LOGS, move |_| {
            let reopener = reopener.clone();
            start(async move {
                if let Err(error) = reopener.reopen().await {
                    log::errors("", &error);
                }
            });
        });
    }

    /// Opens all files anew, and says how many they are in this process.
    pub(super) async fn reopen(&self) -> Result<usize, Error> {
        if let Some(predecessor) = self.predecessor.get() {
            predecessor.offer(REOPEN_LOGS);
        }
        aside("reopen", "opening the log files anew", access_log::reopen).await?
    }
}
