//! The access log's lines about requests that are open when the process ends.

use std::sync::Arc;
use std::time::Duration;

use crate::access_log;
use crate::app::servers::Servers;
use crate::app::workers::Workers;
use crate::conn::{Context, log_handlers_at_work, note_exit};

/// How long the worker threads may take to drop their tasks. A thread that a handler blocks drops none.
const PATIENCE: Duration = Duration::from_millis(100);

/// The servers whose open requests are to have a line.
#[derive(Default)]
pub(super) struct LastLines(Vec<Arc<Context>>);

impl LastLines {
    pub(super) fn of(servers: &Servers) -> Self {
        let contexts = servers.contexts().into_iter();
        Self(contexts.filter(|context| context.access_log.is_some() && context.permits.held() > 0).collect())
    }

    /// Ends the workers, so that their requests get their lines, and writes the lines of those that handlers keep.
    pub(super) fn write(self, workers: Option<Workers>) {
        if self.0.is_empty() {
            return;
        }
        note_exit();
        if let Some(workers) = workers {
            workers.end_within(PATIENCE);
        }
        // A handler that comes back from now on logs nothing, so that no request has two lines.
        access_log::close();
        self.0.iter().for_each(log_handlers_at_work);
    }
}
