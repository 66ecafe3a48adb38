//! A process that drains tells its successor what it still holds, so that an operator sees both generations at one place.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::app::parcels::{self, Handlers};
use crate::handoff::{ParcelSender, STATUS};
use crate::lifecycle::{generation, start};
use crate::status::{DrainReport, Observed};

/// How often a report is sent if something has changed.
const PERIOD: Duration = Duration::from_millis(250);

/// How often it is sent in any case: the successor does not show a process that is silent.
const AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// Keeps what the predecessor tells, also of those before it.
pub(super) fn follow(handlers: &Handlers) {
    let predecessors = handlers.predecessors.clone();
    handlers.of_predecessor.on(STATUS, move |parcel| {
        if let Some(report) = parcels::unpack::<DrainReport>(&parcel.data) {
            predecessors.add(report, parcel.data, generation());
        }
    });
}

/// The reports to one successor. They end when this is dropped.
pub(super) struct DrainReports {
    task: JoinHandle<()>,
}

impl DrainReports {
    /// For a drain that began at this moment.
    pub(super) fn begin(
        observed: Arc<Observed>,
        successor: ParcelSender,
        began_at: Instant,
        deadline: Instant,
    ) -> Self {
        let reporter =
            Reporter { observed, successor, began_at, deadline, last: None, passed_on_at: began_at };
        Self { task: start(reporter.run()) }
    }
}

impl Drop for DrainReports {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Reporter {
    observed: Arc<Observed>,
    successor: ParcelSender,
    began_at: Instant,
    deadline: Instant,
    /// What was sent last, and when.
    last: Option<(Instant, DrainReport)>,
    /// Reports of earlier generations that came before this moment were passed on.
    passed_on_at: Instant,
}

impl Reporter {
    async fn run(mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.report();
        }
    }

    /// Sends the reports that are due, of this process and of those before it. A report of this process for which there
    /// is no room is tried again.
    fn report(&mut self) {
        let now = Instant::now();
        let before_it = self.observed.predecessors();
        let report = DrainReport {
            before_it: before_it.iter().map(|told| told.report().generation).collect(),
            ..DrainReport::of(
                &self.observed,
                now - self.began_at,
                self.deadline.saturating_duration_since(now),
            )
        };
        let is_due = self
            .last
            .as_ref()
            .is_none_or(|(at, last)| now - *at >= AT_LEAST_EVERY || report.differs_from(last));
        if is_due && self.successor.offer(STATUS, report.clone().encode()) {
            self.last = Some((now, report));
        }
        for told in before_it.iter().filter(|told| told.came_at() >= self.passed_on_at) {
            self.successor.offer(STATUS, told.data());
        }
        self.passed_on_at = now;
    }
}
