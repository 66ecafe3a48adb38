//! The last report of each earlier generation that still drains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::status::drain_report::{DrainReport, MOST_BYTES};

/// A process that has told nothing for so long is not shown any more. It tells something each second.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// The most generations that are shown. Any program may have sent the reports, so their number needs a limit.
const MOST: usize = 4;

/// The last report of each generation before this one. Clones are the same reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Predecessors {
    reports: Arc<Mutex<BTreeMap<u64, Told>>>,
}

/// A report, and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    at: Instant,
    report: Arc<DrainReport>,
    /// The bytes as they came: another release may have sent more fields than this one knows.
    data: Arc<[u8]>,
}

impl Predecessors {
    /// Keeps a report. `generation` is that of this process: a report of itself or of a later one makes no sense.
    pub(crate) fn add(&self, report: DrainReport, data: Vec<u8>, generation: u64) {
        let number = report.generation;
        if number >= generation || data.len() > MOST_BYTES {
            return;
        }
        let mut reports = self.reports.lock();
        // The sender names the generations before it that still drain. All other earlier ones have ended.
        reports
            .retain(|other, told| *other >= number || report.before_it.contains(other) && !told.is_silent());
        reports.insert(number, Told { at: Instant::now(), report: Arc::new(report), data: data.into() });
        while reports.len() > MOST {
            reports.pop_first();
        }
    }

    /// The reports of the generations that drain, the newest first. `is_connected` says whether the direct predecessor is
    /// still there.
    pub(crate) fn list(&self, is_connected: bool) -> Vec<Told> {
        let mut reports = self.reports.lock();
        // Without it no report comes: it also passes on the reports of those before it.
        reports.retain(|_, told| is_connected && !told.is_silent());
        reports.values().rev().cloned().collect()
    }
}

impl Told {
    fn is_silent(&self) -> bool {
        self.at.elapsed() > SILENT_AFTER
    }

    pub(crate) fn report(&self) -> &DrainReport {
        &self.report
    }

    pub(crate) fn came_at(&self) -> Instant {
        self.at
    }

    /// The report as it came, for the successor.
    pub(crate) fn data(&self) -> Vec<u8> {
        self.data.to_vec()
    }

    /// How long ago the drain began, by now.
    pub(crate) fn began_ago(&self) -> Duration {
        Duration::from_millis(self.report.began_ms_ago).saturating_add(self.at.elapsed())
    }

    /// How long the process may still drain, by now.
    pub(crate) fn deadline_in(&self) -> Option<Duration> {
        let deadline_in = Duration::from_millis(self.report.deadline_in_ms?);
        Some(deadline_in.saturating_sub(self.at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(predecessors: &Predecessors, generation: u64, before_it: &[u64]) {
        let report = DrainReport { generation, before_it: before_it.to_vec(), ..DrainReport::default() };
        predecessors.add(report, Vec::new(), 9);
    }

    fn shown(predecessors: &Predecessors) -> Vec<u64> {
        predecessors.list(true).iter().map(|told| told.report().generation).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_drain_are_shown_until_they_are_silent_or_gone() {
        let predecessors = Predecessors::default();
        add(&predecessors, 8, &[7]);
        add(&predecessors, 7, &[]);
        assert_eq!(shown(&predecessors), [8, 7]);
        add(&predecessors, 9, &[]);
        assert_eq!(shown(&predecessors), [8, 7], "no process is its own predecessor");
        tokio::time::advance(SILENT_AFTER / 2).await;
        add(&predecessors, 8, &[]);
        assert_eq!(shown(&predecessors), [8], "the older one has ended");
        tokio::time::advance(SILENT_AFTER).await;
        assert_eq!(shown(&predecessors), [8]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(shown(&predecessors), [0; 0]);
        add(&predecessors, 8, &[]);
        assert!(predecessors.list(false).is_empty() && predecessors.list(true).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_few_and_small_whatever_is_sent() {
        let predecessors = Predecessors::default();
        (0..8).for_each(|generation| add(&predecessors, generation, &(0..8).collect::<Vec<_>>()));
        (0..8).rev().for_each(|generation| add(&predecessors, generation, &(0..8).collect::<Vec<_>>()));
        assert_eq!(shown(&predecessors), [7, 6, 5, 4]);
        let report = DrainReport { generation: 8, ..DrainReport::default() };
        predecessors.add(report, vec![0; MOST_BYTES + 1], 9);
        assert_eq!(shown(&predecessors), [7, 6, 5, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn its_times_go_on() {
        let predecessors = Predecessors::default();
        let report = DrainReport { began_ms_ago: 500, deadline_in_ms: Some(900), ..DrainReport::default() };
        predecessors.add(report, Vec::new(), 9);
        tokio::time::advance(Duration::from_millis(700)).await;
        let told = predecessors.list(true).remove(0);
        assert_eq!(told.began_ago(), Duration::from_millis(1200));
        assert_eq!(told.deadline_in(), Some(Duration::from_millis(200)));
        tokio::time::advance(Duration::from_millis(700)).await;
        assert_eq!(told.deadline_in(), Some(Duration::ZERO));
    }
}
