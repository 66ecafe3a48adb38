//! The rehearsal of a restart: a successor is started up to ready and then discarded. For this process nothing changes.

use tokio::time::Instant;

use crate::app::life::{Next, Process};
use crate::app::restart::{Again, Readiness};
use crate::handoff::{Purpose, Successor};
use crate::lifecycle::{Event, Events, Request, SuccessorFault, Trigger};

impl Process {
    /// Rehearses. What is asked for meanwhile is done afterwards.
    pub(super) async fn rehearse(&mut self, trigger: Trigger) -> Next {
        self.events.emit(&Event::RehearsalRequested { trigger });
        let begun = Instant::now();
        let mut successor = match self.start_successor() {
            Ok(successor) => successor,
            Err(reason) => {
                let last_lines = Vec::new();
                self.events.emit(&Event::RehearsalFailed { successor: None, reason, last_lines });
                return Next::ServeOn;
            }
        };
        let (pid, mut again) = (successor.pid(), Again::default());
        self.events.emit(&Event::RehearsalStarted { successor: pid });
        let stop = match self.readiness(&mut successor, Purpose::Rehearsal, &mut again).await {
            Readiness::Ready(_) => {
                self.events.emit(&Event::RehearsalReady { successor: pid, within: begun.elapsed() });
                let stop = self.discard(successor).await;
                self.events.emit(&Event::RehearsalDone { successor: pid });
                stop
            }
            Readiness::Failed(reason) => {
                let last_lines = successor.kill().await;
                self.events.emit(&Event::RehearsalFailed { successor: Some(pid), reason, last_lines });
                None
            }
            Readiness::Stopped(trigger) => {
                self.stop_successor(successor).await;
                let (reason, last_lines) = (SuccessorFault::Busy, Vec::new());
                self.events.emit(&Event::RehearsalFailed { successor: Some(pid), reason, last_lines });
                Some(trigger)
            }
        };
        if let Some(trigger) = stop {
            self.ignore_restart(again.restart);
            return self.stop(trigger).await;
        }
        let later = [again.restart.map(Request::Restart), again.rehearsal.map(Request::Rehearse)];
        later.into_iter().flatten().for_each(|request| self.requests.keep(request));
        Next::ServeOn
    }

    /// Ends a successor that has become ready. A request to stop that comes meanwhile does not wait for its clean-up.
    async fn discard(&mut self, successor: Successor) -> Option<Trigger> {
        let mut stop = None;
        let hurry = async { stop = Some(self.requests.next_stop().await) };
        successor.discard(hurry).await;
        stop
    }
}

/// There is no rehearsal while this process leaves, or gets a successor in earnest.
pub(super) fn refuse_rehearsal(events: &Events) {
    let (reason, last_lines) = (SuccessorFault::Busy, Vec::new());
    events.emit(&Event::RehearsalFailed { successor: None, reason, last_lines });
}
